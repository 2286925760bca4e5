import { taskLogResponse, taskLogsResponse } from '@stadion/contracts';
import fc from 'fast-check';
import {
  authToken,
  base,
  startSchedulerHarness,
  type SchedulerHarness,
} from '../testing/scheduler-harness.js';

jest.setTimeout(30_000);

let scheduler: SchedulerHarness;
beforeEach(async () => {
  scheduler = await startSchedulerHarness();
});
afterEach(() => scheduler.stop());

const logs = (query = '', script = 'hello.py', uuid = base) =>
  scheduler.get(`/tasks/${uuid}/${encodeURIComponent(script)}/logs/${query}`);
const idsOf = (answer: { body: unknown }) =>
  taskLogsResponse.parse(answer.body).task_logs.map((entry) => entry.id);

describe('GET /tasks/<uuid>/<script_name>/logs/', () => {
  it('shows each run as GET /run-script/ does, newest first, in the host format', async () => {
    const id = await scheduler.finished({ org_id: 7, context_data: { row: { Name: 'ü' } } });
    const answer = await logs();
    const run = await scheduler.get(`/run-script/${id}/?dtable_uuid=${base}&script_name=hello.py`);
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    const { script } = JSON.parse(run.text) as { script: object };
    expect(JSON.parse(answer.text)).toEqual({ count: 1, task_logs: [script] });
    expect(answer.text).toMatch(
      /^\{"count":1,"task_logs":\[\{"context_data":\{"row":\{"Name":"\\u00fc"\}\},"created_at":.*\}\]\}\n$/,
    );
  });

  it.each(['/logs/', '/logs', '/logs/?page=1&per_page=20&org_by=-id', '/logs?page=1'])(
    'answers at %s',
    async (path) => {
      const id = await scheduler.finished();
      expect(idsOf(await scheduler.get(`/tasks/${base}/hello.py${path}`))).toEqual([id]);
    },
  );

  it('pages and sorts by id, and holds nothing on page 0', async () => {
    const ids = [await scheduler.finished(), await scheduler.finished(), await scheduler.finished()];
    const [first, second, third] = ids;
    expect(idsOf(await logs('?org_by=id'))).toEqual([first, second, third]);
    expect(idsOf(await logs('?org_by=-id'))).toEqual([third, second, first]);
    expect(idsOf(await logs('?org_by='))).toEqual([third, second, first]);
    expect(idsOf(await logs('?page=2&per_page=2'))).toEqual([first]);
    for (const query of ['?page=0', '?per_page=0', '?page=3&per_page=2', '?page=1000000000']) {
      expect((await logs(query)).body).toEqual({ count: 3, task_logs: [] });
    }
  });

  it('gives at most 100 entries at once, whatever is asked for', async () => {
    for (let index = 0; index < 101; index += 1) await scheduler.submit();
    expect(idsOf(await logs('?per_page=1000000'))).toHaveLength(100);
  });

  it('sends a hundred outputs that together are longer than a string can be', async () => {
    // Six bytes each as JSON; the longest string of V8 has 512 MiB.
    const output = '\u0001'.repeat(1_000_000);
    for (let index = 0; index < 100; index += 1) await scheduler.finished({}, { output });
    const answer = await fetch(`${scheduler.url}/tasks/${base}/hello.py/logs/?per_page=100`, {
      headers: { Authorization: `Token ${authToken}` },
    });
    let bytes = 0;
    let end = Buffer.alloc(0);
    for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      end = Buffer.concat([end, chunk.subarray(-20)]).subarray(-20);
    }
    expect(bytes).toBeGreaterThan(600_000_000);
    expect(end.toString()).toMatch(/"success":true\}\]\}\n$/);
  }, 60_000);

  it.each([
    ['?org_by=name', 'order_by invalid.'],
    ['?org_by=--id', 'order_by invalid.'],
    ['?page=x', 'page invalid.'],
    ['?page=-1', 'page invalid.'],
    ['?page=1.5', 'page invalid.'],
    ['?page=1&page=2', 'page invalid.'],
    ['?page=99999999999999999999', 'page invalid.'],
    ['?per_page=x', 'per_page invalid.'],
    ['?per_page=-5', 'per_page invalid.'],
  ])('answers %s with 400 and "%s" (R21)', async (query, message) => {
    const answer = await logs(query);
    expect([answer.status, answer.text, answer.headers['content-type']]).toEqual([
      400,
      message,
      'text/html; charset=utf-8',
    ]);
  });

  it.each([
    'a/b c.py',
    '🏟 ü.py',
    '100%.py',
    '..',
    '%2e%2e%2f',
    'a?b#c',
    'x\u0000y',
    "'; --",
    'q'.repeat(255),
  ])('finds a script called %j, and only that', async (script_name) => {
    const id = await scheduler.finished({ script_name });
    // A path is sent as it is only when no client tidies it up, as it does with "..".
    if (script_name !== '..') expect(idsOf(await logs('', script_name))).toEqual([id]);
    expect(idsOf(await logs('', 'another.py'))).toEqual([]);
  });

  it('takes the UUID with dashes, without, and what is none', async () => {
    const id = await scheduler.finished();
    for (const uuid of [base, base.replaceAll('-', ''), base.toUpperCase()]) {
      expect(idsOf(await logs('', 'hello.py', uuid))).toEqual([id]);
    }
    const none = await logs('', 'hello.py', 'no-uuid');
    expect([none.status, none.body]).toEqual([200, { count: 0, task_logs: [] }]);
  });

  it.each([{}, { Authorization: 'Token wrong' }, { Authorization: `Basic ${authToken}` }])(
    'refuses %j with the words of the original',
    async (headers) => {
      for (const path of ['logs/', 'logs/1/']) {
        const answer = await scheduler.get(`/tasks/${base}/hello.py/${path}`, headers);
        expect([answer.status, answer.text]).toEqual([403, 'Forbidden']);
        expect(answer.headers['content-type']).toBe('text/html; charset=utf-8');
      }
    },
  );

  it('takes the other scheme too', async () => {
    const answer = await scheduler.get(`/tasks/${base}/hello.py/logs/`, {
      Authorization: `Bearer ${authToken}`,
    });
    expect(answer.status).toBe(200);
  });

  it('never answers 5xx, whatever the query', async () => {
    await scheduler.finished();
    const value = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.integer().map(String));
    const query = fc.array(fc.tuple(fc.constantFrom('page', 'per_page', 'org_by', '__proto__'), value), {
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(query, fc.string({ minLength: 1 }), async (pairs, name) => {
        const search = pairs
          .map(([key, text]) => `${key}=${encodeURIComponent(text.toWellFormed())}`)
          .join('&');
        const answer = await logs(`?${search}`, name.toWellFormed());
        expect(answer.status).toBeLessThan(500);
      }),
      { numRuns: 200 },
    );
  });
});

describe('GET /tasks/<uuid>/<script_name>/logs/<id>/', () => {
  const log = (id: number | string, script = 'hello.py', uuid = base) =>
    scheduler.get(`/tasks/${uuid}/${encodeURIComponent(script)}/logs/${id}/`);

  it('shows one run', async () => {
    const id = await scheduler.finished();
    const answer = await log(id);
    expect(taskLogResponse.parse(answer.body).task_log).toMatchObject({
      id,
      output: 'hello\n',
      success: true,
    });
    const noSlash = await scheduler.get(`/tasks/${base.replaceAll('-', '')}/hello.py/logs/${id}`);
    expect(noSlash.text).toBe(answer.text);
  });

  it.each(['999999', '0', '-1', 'abc', '1.5', '9'.repeat(30), '%00'])(
    'knows no log with the id %s (R21)',
    async (id) => {
      await scheduler.finished();
      const answer = await log(id);
      expect([answer.status, answer.text]).toEqual([404, '{"error_msg":"Script log not found"}\n']);
    },
  );

  it('knows no log of another script or base', async () => {
    const id = await scheduler.finished();
    for (const answer of [await log(id, 'other.py'), await log(id, 'hello.py', 'other')]) {
      expect([answer.status, answer.body]).toEqual([404, { error_msg: 'Script log not found' }]);
    }
  });
});
