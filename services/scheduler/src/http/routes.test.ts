import { createLogger, createRegistry, deriveKey, signToken } from '@stadion/service-kit';
import fc from 'fast-check';
import { fakeHostApp, type FakeHostApp } from '@stadion/testkit';
import request from 'supertest';
import { createScheduler, type SchedulerAppSettings } from '../app.js';
import { openSqlite } from '../store/connect.js';
import { StoreUnavailableError } from '../store/errors.js';
import type { Store } from '../store/store.js';
import { signRunToken } from '../tokens.js';

const authToken = 'a-shared-secret-for-these-tests';
const runKey = deriveKey(authToken, 'run');
const starterKey = deriveKey(authToken, 'starter');
const base = '5c264e76-0e5a-448a-9f34-580b551364ca';
const starterId = '11111111-1111-4111-8111-111111111111';

const settings: SchedulerAppSettings = {
  authToken,
  starterSecret: undefined,
  hostUrl: 'http://127.0.0.1:9',
  timeLimitS: 900,
  timeZone: 'UTC',
  starterUrls: [],
  overdueGraceS: 60,
  starterSilentS: 30,
  starterLostS: 60,
  keepTasksDays: 30,
  keepStatisticsDays: 90,
};

let hostApp: FakeHostApp;
beforeAll(async () => {
  hostApp = await fakeHostApp();
  settings.hostUrl = hostApp.url;
});
afterAll(() => hostApp.close());

let store: Store;
let app: ReturnType<typeof createScheduler>['app'];
let stop: () => Promise<void>;

beforeEach(async () => {
  store = openSqlite({ file: ':memory:' });
  const scheduler = createScheduler(settings, {
    store,
    logger: createLogger({ service: 'test', level: 'silent' }),
    registry: createRegistry('test', { withProcess: false }),
  });
  await scheduler.start({ host: '127.0.0.1', port: 0 });
  app = scheduler.app;
  stop = () => scheduler.stop('test');
});
afterEach(() => stop());

const host = { Authorization: `Token ${authToken}` };
const validRun = {
  dtable_uuid: base,
  script_name: 'hello.py',
  owner: 'alice@example.com',
  org_id: 7,
  context_data: { table: 'T1', row: { _id: 'abc', Name: 'ü' } },
  script_url: 'http://127.0.0.1:9/hello.py',
  temp_api_token: 'tok',
  scripts_running_limit: -1,
  operate_from: 'automation-rule',
};

const submit = (body: unknown, headers: Record<string, string> = host) =>
  request(app)
    .post('/run-script/')
    .set(headers)
    .send(typeof body === 'string' ? body : JSON.stringify(body));
const read = (id: number | string, query = `dtable_uuid=${base}&script_name=hello.py`) =>
  request(app).get(`/run-script/${id}/?${query}`).set(host);

async function submitted(body: object = validRun): Promise<number> {
  return (await submit(body)).body.script_id as number;
}

/** Submits a run and gives it to a starter. */
async function claimed() {
  const id = await submitted();
  await store.recordStarter(
    {
      starter_id: starterId,
      version: '1',
      executor: 'process',
      isolation: 'none',
      slots: 4,
      busy: 0,
      draining: false,
      attempts: [],
    },
    { url: 'http://127.0.0.1:9', configured: true },
  );
  const [claim] = await store.claimForStarters({ limit: 1, liveWithinMs: 60_000 });
  const token = signRunToken(runKey, { taskId: id, attemptId: claim!.attemptId });
  const report = (path: string, body: object, bearer: string | undefined = token) => {
    const post = request(app).post(path);
    if (bearer) post.set('Authorization', `Bearer ${bearer}`);
    return post.send({ script_id: id, ...body });
  };
  return { id, attemptId: claim!.attemptId, report };
}

const goodResult = {
  success: true,
  return_code: 0,
  output: 'hello ü\n',
  spend_time: 0.67,
  started_at: 1_795_293_892.5,
};

describe('GET /ping/', () => {
  it.each(['/ping/', '/ping'])('answers Pong to everybody at %s', async (path) => {
    const answer = await request(app).get(path);
    expect([answer.status, answer.text, answer.headers['content-type']]).toEqual([
      200,
      'Pong',
      'text/html; charset=utf-8',
    ]);
  });
});

describe('POST /run-script/', () => {
  it.each(['Token', 'Bearer'])('records a task and answers its id, with scheme %s', async (scheme) => {
    const answer = await submit(validRun, { Authorization: `${scheme} ${authToken}` });
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.text).toMatch(/^\{"script_id":\d+\}\n$/);
  });

  it('takes a request without a trailing slash and with a content type of plain text', async () => {
    const answer = await request(app)
      .post('/run-script')
      .set(host)
      .type('text/plain')
      .send(JSON.stringify(validRun));
    expect(answer.status).toBe(200);
  });

  it('needs only base, name and owner, and takes null for what is optional', async () => {
    const { dtable_uuid, script_name, owner } = validRun;
    const id = await submitted({
      dtable_uuid,
      script_name,
      owner,
      org_id: null,
      context_data: null,
      script_url: null,
      temp_api_token: null,
      scripts_running_limit: null,
      operate_from: null,
    });
    expect((await read(id)).body.script).toMatchObject({
      org_id: -1,
      context_data: null,
      operate_from: 'manualy',
    });
  });

  it.each(['Token wrong', 'Bearer wrong', 'Basic x', authToken, '', undefined])(
    'refuses the credential %j with 403 and the text of the original',
    async (authorization) => {
      const answer = await submit(
        validRun,
        authorization === undefined ? {} : { Authorization: authorization },
      );
      expect([answer.status, answer.text]).toEqual([403, 'Forbidden: the auth token is not correct.']);
      expect(answer.headers['content-type']).toBe('text/html; charset=utf-8');
    },
  );

  it.each([
    ['', 'Bad request'],
    ['hello', 'Bad request'],
    ['[]', 'Bad request'],
    ['null', 'Bad request'],
    [{}, 'Parameters invalid: dtable_uuid is required'],
    [{ ...validRun, dtable_uuid: '' }, 'dtable_uuid'],
    [{ ...validRun, dtable_uuid: 'x'.repeat(37) }, 'dtable_uuid'],
    [{ ...validRun, dtable_uuid: 7 }, 'dtable_uuid'],
    [{ ...validRun, script_name: undefined }, 'script_name'],
    [{ ...validRun, script_name: 'x'.repeat(256) }, 'script_name'],
    [{ ...validRun, script_name: { $ne: '' } }, 'script_name'],
    [{ ...validRun, owner: ['a'] }, 'owner'],
    [{ ...validRun, owner: '\ud800' }, 'owner'],
    [{ ...validRun, org_id: 'abc' }, 'org_id'],
    [{ ...validRun, org_id: 1.5 }, 'org_id'],
    [{ ...validRun, org_id: {} }, 'org_id'],
    [{ ...validRun, org_id: 1e300 }, 'org_id'],
    [{ ...validRun, script_url: {} }, 'script_url'],
    [{ ...validRun, temp_api_token: [] }, 'temp_api_token'],
    [{ ...validRun, scripts_running_limit: 'many' }, 'scripts_running_limit'],
    [{ ...validRun, operate_from: 'x'.repeat(51) }, 'operate_from'],
    ['{"owner":"a","__proto__":{"admin":true}}', 'Bad request'],
  ])('answers bad input %j with 400 and names the field (R21)', async (body, message) => {
    const answer = await submit(body as string | object);
    expect(answer.status).toBe(400);
    expect(answer.text).toContain(message);
  });

  it('keeps long names and emoji, and reads org_id "12" as 12 (R21)', async () => {
    const name = '🏟'.repeat(255);
    const id = await submitted({ ...validRun, script_name: name, owner: '名前@example.com', org_id: '12' });
    const answer = await read(id, `dtable_uuid=${base}&script_name=${encodeURIComponent(name)}`);
    expect(answer.body.script).toMatchObject({ script_name: name, owner: '名前@example.com', org_id: 12 });
  });

  it('takes 4 MiB of context, and refuses 6 MiB with 413 as JSON', async () => {
    expect((await submit({ ...validRun, context_data: { text: 'x'.repeat(4 * 1024 * 1024) } })).status).toBe(
      200,
    );
    const tooLarge = await submit({ ...validRun, context_data: { text: 'x'.repeat(6 * 1024 * 1024) } });
    expect([tooLarge.status, tooLarge.body.code]).toEqual([413, 'too_large']);
  });

  it('refuses context that is small as it was sent and large as it is stored', async () => {
    const swollen = `[${Array(900_000).fill('1e20').join(',')}]`;
    const { dtable_uuid, script_name, owner } = validRun;
    const names = JSON.stringify({ dtable_uuid, script_name, owner }).slice(1, -1);
    const answer = await submit(`{${names},"context_data":${swollen}}`);
    expect([answer.status, answer.body.field]).toEqual([413, 'context_data']);
  });

  it('never answers 5xx, and changes no other run, whatever it is sent', async () => {
    const neighbour = await submitted();
    const before = (await read(neighbour)).text;
    const anything = fc.oneof(
      fc.json(),
      fc.string({ unit: 'binary' }),
      fc
        .record(
          Object.fromEntries(Object.keys(validRun).map((name) => [name, fc.jsonValue({ maxDepth: 2 })])),
          { requiredKeys: [] },
        )
        .map((fields) => JSON.stringify({ ...validRun, ...fields })),
    );
    await fc.assert(
      fc.asyncProperty(anything, async (body) => {
        const answer = await submit(body);
        expect(answer.status).toBeLessThan(500);
      }),
      { numRuns: 300 },
    );
    expect((await read(neighbour)).text).toBe(before);
  }, 60_000);
});

describe('GET /run-script/<id>/', () => {
  it('shows a run that waits: sorted keys, ASCII only, empty start, a newline at the end', async () => {
    const id = await submitted();
    const { text } = await read(id);
    const created = /"created_at":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00)"/.exec(text)?.[1];
    expect(text).toBe(
      `{"script":{"context_data":{"row":{"Name":"\\u00fc","_id":"abc"},"table":"T1"},"created_at":"${created}",` +
        `"dtable_uuid":"${base}","finished_at":null,"id":${id},"operate_from":"automation-rule","org_id":7,` +
        `"output":null,"owner":"alice@example.com","return_code":null,"script_name":"hello.py","started_at":"",` +
        `"state":"pending","success":null}}\n`,
    );
  });

  it('shows pending while starting, running while running, and the result at the end', async () => {
    const run = await claimed();
    expect((await read(run.id)).body.script).toMatchObject({ state: 'pending', started_at: '' });
    const startedAt = Date.now() / 1_000;
    await run.report('/script-running-callback/', { started_at: startedAt });
    const running = (await read(run.id)).body.script;
    expect(running).toMatchObject({ state: 'running', success: null, output: null, finished_at: null });
    expect(running.started_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$/);
    await run.report('/script-result/', { ...goodResult, started_at: startedAt });
    const finished = (await read(run.id)).body.script;
    expect(finished).toMatchObject({ state: 'finished', success: true, return_code: 0, output: 'hello ü\n' });
    expect(finished.finished_at).toMatch(/\+00:00$/);
  });

  it('never shows the API token', async () => {
    const id = await submitted({ ...validRun, temp_api_token: 'very-secret-token' });
    expect((await read(id)).text).not.toContain('very-secret-token');
  });

  it('accepts the UUID without dashes and in capitals', async () => {
    const id = await submitted();
    const bare = base.replaceAll('-', '').toUpperCase();
    expect((await read(id, `dtable_uuid=${bare}&script_name=hello.py`)).status).toBe(200);
  });

  it.each([
    ['abc', undefined, 400, 'run id'],
    ['1e3', undefined, 400, 'run id'],
    ['-1', undefined, 400, 'run id'],
    ['999999', undefined, 404, 'Not found'],
    ['9'.repeat(40), undefined, 404, 'Not found'],
    ['1', '', 400, 'dtable_uuid is required'],
    ['1', `dtable_uuid=${base}`, 400, 'script_name is required'],
    ['1', `dtable_uuid=${base}&script_name=other.py`, 400, 'script_name'],
    ['1', 'dtable_uuid=other&script_name=hello.py', 400, 'dtable_uuid'],
    ['1', `dtable_uuid=${base}&dtable_uuid=x&script_name=hello.py`, 400, 'given once'],
    ['1', `dtable_uuid[a]=${base}&script_name=hello.py`, 400, 'dtable_uuid'],
  ])('answers id %s with query %s: %i', async (id, query, status, message) => {
    await submitted();
    const answer = await read(id, query);
    expect([answer.status, answer.text]).toEqual([status, expect.stringContaining(message)]);
  });

  it('answers nobody without the secret', async () => {
    const id = await submitted();
    const answer = await request(app).get(`/run-script/${id}/?dtable_uuid=${base}&script_name=hello.py`);
    expect(answer.status).toBe(403);
  });

  it('changes nothing (R17)', async () => {
    const run = await claimed();
    await run.report('/script-result/', goodResult);
    const first = (await read(run.id)).text;
    expect((await read(run.id)).text).toBe(first);
  });
});

describe('POST /script-result/ and /script-running-callback/', () => {
  it('answer as the original does', async () => {
    const run = await claimed();
    const begun = await run.report('/script-running-callback/', { started_at: 1_795_295_723.4 });
    expect([begun.status, begun.text]).toEqual([200, '{"success":true}\n']);
    const ended = await run.report('/script-result', goodResult);
    expect([ended.status, ended.text]).toEqual([200, '{"success":true}\n']);
  });

  it.each(['/script-result/', '/script-running-callback/'])(
    '%s takes nobody at their word (R4)',
    async (path) => {
      const run = await claimed();
      const none = await request(app)
        .post(path)
        .send({ script_id: run.id, ...goodResult });
      expect(none.status).toBe(401);
      const anotherRun = signRunToken(runKey, { taskId: run.id + 1, attemptId: run.attemptId });
      expect((await run.report(path, goodResult, anotherRun)).status).toBe(403);
      for (const forged of [
        authToken,
        signRunToken(starterKey, { taskId: run.id, attemptId: run.attemptId }),
        signToken(runKey, { audience: 'starter', subject: `run:${run.id}:${run.attemptId}`, expiresInS: 60 }),
        signToken(runKey, {
          audience: 'scheduler',
          subject: `run:${run.id}:${run.attemptId}`,
          expiresInS: -3_600,
        }),
      ]) {
        expect((await run.report(path, goodResult, forged)).status).toBe(401);
      }
      const otherSubject = signToken(runKey, { audience: 'scheduler', subject: 'scheduler', expiresInS: 60 });
      expect((await run.report(path, goodResult, otherSubject)).status).toBe(403);
      expect((await read(run.id)).body.script.state).toBe('pending');
    },
  );

  it('ignore a result of another attempt of the same run, and a second result (R5)', async () => {
    const run = await claimed();
    const stale = signRunToken(runKey, { taskId: run.id, attemptId: '22222222-2222-4222-8222-222222222222' });
    expect((await run.report('/script-result/', { ...goodResult, output: 'stale' }, stale)).status).toBe(200);
    await run.report('/script-result/', goodResult);
    const second = await run.report('/script-result/', { ...goodResult, success: false, output: 'again' });
    expect(second.status).toBe(200);
    expect((await read(run.id)).body.script).toMatchObject({ success: true, output: goodResult.output });
  });

  it('do not bring a finished run back to running (R5)', async () => {
    const run = await claimed();
    await run.report('/script-result/', goodResult);
    await run.report('/script-running-callback/', { started_at: 1_795_295_723 });
    expect((await read(run.id)).body.script.state).toBe('finished');
  });

  it('answer 404 for a run that is no more', async () => {
    const token = signRunToken(runKey, { taskId: 4_711, attemptId: starterId });
    const answer = await request(app)
      .post('/script-result/')
      .set('Authorization', `Bearer ${token}`)
      .send({ ...goodResult, script_id: 4_711 });
    expect([answer.status, answer.body.error_msg]).toEqual([404, 'Script not found']);
  });

  it.each([
    [{ success: 'yes' }, 'success'],
    [{ return_code: 'x' }, 'return_code'],
    [{ return_code: 1e20 }, 'return_code'],
    [{ output: {} }, 'output'],
    [{ spend_time: -1 }, 'spend_time'],
    [{ started_at: 1e300 }, 'started_at'],
    [{ script_id: {} }, 'script_id'],
    [{ cause: 'magic' }, 'cause'],
  ])('answer the bad report %j with 400 and name the field', async (wrong, field) => {
    const run = await claimed();
    const answer = await run.report('/script-result/', { ...goodResult, ...wrong });
    expect([answer.status, answer.body.field]).toEqual([400, field]);
  });

  it.each([
    ['control characters', '\u0001'.repeat(1_000_000)],
    ['emoji', '🏟'.repeat(1_000_000)],
    ['quotes', '"\\'.repeat(500_000)],
  ])('take a million characters of %s as output and give them back (R16)', async (_kind, output) => {
    const run = await claimed();
    expect((await run.report('/script-result/', { ...goodResult, output })).status).toBe(200);
    expect((await read(run.id)).body.script.output === output).toBe(true);
  });

  it('tell a time limit by its cause, or by the text of an original starter', async () => {
    const run = await claimed();
    const output = "The script's running time exceeded the limit and the execution was aborted.";
    await run.report('/script-result/', { success: false, return_code: -1, output, spend_time: 900 });
    expect((await store.getTask(run.id))?.state).toBe('timed_out');
    expect((await read(run.id)).body.script).toMatchObject({
      state: 'finished',
      success: false,
      return_code: -1,
      output,
    });
  });
});

describe('POST /v1/starters/heartbeat', () => {
  const status = {
    starter_id: starterId,
    version: '1',
    executor: 'docker',
    isolation: 'a container',
    url: 'http://127.0.0.1:9',
    slots: 3,
    busy: 0,
    draining: false,
    attempts: [],
  };
  const beat = (subject: string, body: object = status) =>
    request(app)
      .post('/v1/starters/heartbeat')
      .set(
        'Authorization',
        `Bearer ${signToken(starterKey, { audience: 'scheduler', subject, expiresInS: 60 })}`,
      )
      .send(body);

  it('registers the starter that it speaks for', async () => {
    expect((await beat(`starter:${starterId}`)).status).toBe(200);
    expect(await store.listStarters()).toMatchObject([
      { id: starterId, url: status.url, slots: 3, configured: false },
    ]);
  });

  it('refuses one for another starter, and one without an address', async () => {
    expect((await beat('starter:someone-else')).status).toBe(403);
    expect((await beat(`starter:${starterId}`, { ...status, url: undefined })).body.field).toBe('url');
    expect(await store.listStarters()).toEqual([]);
  });
});

describe('health pages', () => {
  it('say that the scheduler is alive and which part is ready', async () => {
    expect((await request(app).get('/health/live')).status).toBe(200);
    const ready = await request(app).get('/health/ready');
    expect([ready.status, ready.body.parts.database]).toEqual([200, { ready: true }]);
  });

  it('show metrics in the text format of Prometheus', async () => {
    await submitted();
    const { text } = await request(app).get('/metrics');
    expect(text).toMatch(/stadion_http_request_seconds_count\{.*route="\/run-script\/",status="200"\} 1/);
  });
});

it('answers 503 until the database has come up, then serves', async () => {
  let isUp = false;
  const sqlite = openSqlite({ file: ':memory:' });
  const late: Store = Object.assign(Object.create(sqlite) as Store, {
    migrate: () => (isUp ? sqlite.migrate() : Promise.reject(new StoreUnavailableError(new Error('not up')))),
  });
  const scheduler = createScheduler(settings, {
    store: late,
    logger: createLogger({ service: 'test', level: 'silent' }),
    registry: createRegistry('test', { withProcess: false }),
  });
  const started = scheduler.start({ host: '127.0.0.1', port: 0 });
  const ask = () => request(scheduler.app).post('/run-script/').set(host).send(validRun);
  expect((await ask()).status).toBe(503);
  expect((await request(scheduler.app).get('/health/live')).status).toBe(200);
  expect((await request(scheduler.app).get('/health/ready')).status).toBe(503);
  isUp = true;
  await started;
  expect((await ask()).status).toBe(200);
  await scheduler.stop('test');
});

describe('with the database away', () => {
  it('every request that needs it is answered 503 with Retry-After', async () => {
    await store.close();
    const get = (path: string) => request(app).get(path).set(host);
    for (const answer of [
      await submit(validRun),
      await submit({ ...validRun, scripts_running_limit: 5 }),
      await read(1),
      await get(`/tasks/${base}/hello.py/logs/`),
      await get(`/tasks/${base}/hello.py/logs/1/`),
      await get('/scripts-running-count/?org_id=7'),
      await get('/admin/statistics/scripts-running/by-base/'),
      await get('/admin/statistics/by-day/?org_id=7'),
      await get('/admin/runs/'),
    ]) {
      expect([answer.status, answer.headers['retry-after']]).toEqual([503, '2']);
    }
    expect((await request(app).get('/ping/')).status).toBe(200);
    expect((await request(app).get('/health/ready')).status).toBe(503);
  });
});
