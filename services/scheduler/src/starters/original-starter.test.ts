import { request as httpRequest } from 'node:http';
import { createLogger, createRegistry } from '@stadion/service-kit';
import {
  eventually,
  fakeHostApp,
  fakeOriginalStarter,
  type FakeHostApp,
  type FakeOriginalStarter,
} from '@stadion/testkit';
import { createScheduler, type Scheduler, type SchedulerAppSettings } from '../app.js';
import { StoreUnavailableError } from '../store/errors.js';
import { openSqlite } from '../store/connect.js';
import type { Store } from '../store/store.js';
import type { NewTask } from '../tasks/task.js';
import { createOriginalStarter, reportOriginalResult } from './original-starter.js';

const logger = createLogger({ service: 'test', level: 'silent' });
const authToken = 'a-shared-secret-for-these-tests';

let host: FakeHostApp;
let original: FakeOriginalStarter & { options: { schedulerUrl: string } };
let store: Store;
let scheduler: Scheduler | undefined;
let offsetMs: number;

beforeEach(async () => {
  offsetMs = 0;
  host = await fakeHostApp();
  original = await fakeOriginalStarter();
  store = openSqlite({ file: ':memory:', now: () => new Date(Date.now() + offsetMs) });
});
afterEach(async () => {
  await scheduler?.stop('test');
  await Promise.all([host.close(), original.close()]);
});

async function start(overrides: Partial<SchedulerAppSettings> = {}): Promise<string> {
  scheduler = createScheduler(
    {
      authToken,
      starterSecret: undefined,
      hostUrl: host.url,
      timeLimitS: 900,
      timeZone: 'UTC',
      starterUrls: [],
      overdueGraceS: 60,
      starterSilentS: 30,
      starterLostS: 60,
      keepTasksDays: 30,
      keepStatisticsDays: 90,
      originalStarterUrl: original.url,
      originalStarterSlots: 10,
      ...overrides,
    },
    { store, logger, registry: createRegistry('test', { withProcess: false }) },
  );
  const { port } = await scheduler.start({ host: '127.0.0.1', port: 0 });
  original.options.schedulerUrl = `http://127.0.0.1:${port}`;
  return original.options.schedulerUrl;
}

const newTask = (overrides: Partial<NewTask> = {}): NewTask => ({
  owner: 'alice@example.com',
  orgId: 7,
  baseUuid: '5c264e76-0e5a-448a-9f34-580b551364ca',
  scriptName: 'hello.py',
  trigger: 'manualy',
  scriptUrl: host.script('/hello.py', 'print("hello")'),
  apiToken: 'tok',
  context: { row: { _id: 'abc' } },
  ...overrides,
});

const untilFinal = (id: number) =>
  eventually(
    async () => {
      const task = await store.getTask(id);
      return task?.finishedAt ? task : undefined;
    },
    { timeoutMs: 8_000 },
  );

const v1Result = (scriptId: number, more: object = {}) => ({
  success: true,
  return_code: 0,
  output: 'forged\n',
  spend_time: 0.5,
  script_id: scriptId,
  task_log_id: null,
  ...more,
});

/** From another address of the loopback network, so that the socket tells it apart. */
async function postFrom(
  localAddress: string,
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: string }> {
  return await new Promise((resolve, reject) => {
    const sending = httpRequest(
      url,
      { method: 'POST', localAddress, headers: { 'Content-Type': 'application/json', ...headers } },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
      },
    );
    sending.once('error', reject);
    sending.end(JSON.stringify(body));
  });
}

describe('an original, token-less starter behind our scheduler', () => {
  it('is pushed exactly what the original scheduler pushes, and its result is taken', async () => {
    await start();
    const id = await store.submitTask(newTask());
    const task = await untilFinal(id);
    expect(original.pushes).toHaveLength(1);
    expect(original.pushes[0]!.body).toEqual({
      script_url: `${host.url}/hello.py`,
      env: { dtable_web_url: host.url, api_token: 'tok' },
      context_data: { row: { _id: 'abc' } },
      script_id: id,
    });
    expect(original.pushes[0]!.headers['user-agent']).toMatch(/^python-scheduler\/\d/);
    expect(original.pushes[0]!.headers['authorization']).toBeUndefined();
    expect(original.runs[0]!.input).toBe('{"row":{"_id":"abc"}}');
    expect(task).toMatchObject({
      state: 'succeeded',
      returnCode: 0,
      output: 'print("hello")',
      cause: 'exit',
    });
    expect(task.startedAt).not.toBeNull();
    const answer = await eventually(() => original.answers[0]);
    expect(answer).toMatchObject({ status: 200, body: 'success' });
  });

  it.each([
    ['Fail to get script', null, 'failed', 'script_unavailable'],
    ['Script URL is missing', null, 'failed', 'script_unavailable'],
    ['Script invalid!', -1, 'failed', 'script_invalid'],
    [
      "The script's running time exceeded the limit and the execution was aborted.",
      -1,
      'timed_out',
      'time_limit',
    ],
    ['Traceback …\n', 3, 'failed', 'exit'],
  ])('its sentence %j means %s %s', async (output, returnCode, state, cause) => {
    let release: () => void = () => undefined;
    original.script = () => new Promise((resolve) => (release = () => resolve({ output: 'late' })));
    const url = await start();
    const id = await store.submitTask(newTask());
    await eventually(() => original.runs[0]);
    const answer = await postFrom(
      '127.0.0.1',
      `${url}/script-result/`,
      v1Result(id, { success: false, return_code: returnCode, output, spend_time: null }),
    );
    expect(answer).toEqual({ status: 200, body: 'success' });
    expect(await store.getTask(id)).toMatchObject({ state, cause, returnCode, output });
    release();
    // Late and once more: acknowledged like the first, and nothing changes (R5).
    expect(await eventually(() => original.answers[0])).toMatchObject({ status: 200, body: 'success' });
    expect(await store.getTask(id)).toMatchObject({ state, cause, output });
  });

  it('a script that prints one of the sentences and ends well has succeeded', async () => {
    original.script = () => ({ output: 'Script invalid!' });
    await start();
    expect(await untilFinal(await store.submitTask(newTask()))).toMatchObject({
      state: 'succeeded',
      cause: 'exit',
    });
  });

  it('R4: nobody else may report without a token: not from another address, whatever its headers say', async () => {
    let release: () => void = () => undefined;
    original.script = () => new Promise((resolve) => (release = () => resolve({ output: 'true' })));
    const url = await start();
    const id = await store.submitTask(newTask());
    await eventually(() => original.runs[0]);
    for (const headers of [{}, { 'X-Forwarded-For': '127.0.0.1' }, { Forwarded: 'for=127.0.0.1' }]) {
      const answer = await postFrom('127.0.0.2', `${url}/script-result/`, v1Result(id), headers);
      expect(answer.status).toBe(401);
    }
    // The starter's own address, but a proxy's connection.
    const proxied = await postFrom('127.0.0.1', `${url}/script-result/`, v1Result(id), {
      'X-Forwarded-For': '203.0.113.9',
    });
    expect(proxied.status).toBe(401);
    // A wrong token is no better for the address it comes from.
    const wrong = await postFrom('127.0.0.1', `${url}/script-result/`, v1Result(id), {
      Authorization: 'Bearer nonsense',
    });
    expect(wrong.status).toBe(401);
    // The mode is for results alone.
    const running = await postFrom('127.0.0.1', `${url}/script-running-callback/`, { script_id: id });
    expect(running.status).toBe(401);
    expect((await store.getTask(id))?.finishedAt).toBeNull();
    release();
    expect(await untilFinal(id)).toMatchObject({ output: 'true' });
  });

  it('R4: it may report only what it was given', async () => {
    const url = await start({ originalStarterSlots: 1 });
    await eventually(async () => (await store.listStarters()).length === 1);
    // Two tasks, one slot: the second is nobody's yet.
    let release: () => void = () => undefined;
    original.script = () => new Promise((resolve) => (release = () => resolve({ output: 'true' })));
    await store.submitTask(newTask());
    const waiting = await store.submitTask(newTask());
    await eventually(() => original.runs[0]);
    expect((await store.getTask(waiting))?.state).toBe('queued');
    const answer = await postFrom('127.0.0.1', `${url}/script-result/`, v1Result(waiting));
    expect(answer.status).toBe(401);
    expect((await store.getTask(waiting))?.state).toBe('queued');
    // As the original answers for a run it does not know.
    const unknown = await postFrom('127.0.0.1', `${url}/script-result/`, v1Result(999_999));
    expect(unknown).toEqual({ status: 200, body: 'success' });
    release();
    await eventually(() => original.runs[1]);
    release();
    await untilFinal(waiting);
  });

  it('without the setting, a result without a token is refused from everywhere', async () => {
    const url = await start({ originalStarterUrl: undefined });
    const id = await store.submitTask(newTask());
    const answer = await postFrom('127.0.0.1', `${url}/script-result/`, v1Result(id));
    expect(answer.status).toBe(401);
  });

  it('a push without an answer is never repeated; its result counts when it comes', async () => {
    let release: () => void = () => undefined;
    original.script = () => new Promise((resolve) => (release = () => resolve({ output: 'once' })));
    original.hangUpAfterTaking = true;
    await start();
    const id = await store.submitTask(newTask());
    await eventually(() => original.runs[0]);
    original.hangUpAfterTaking = false;
    offsetMs = 20_000;
    const before = original.pings;
    await eventually(() => original.pings >= before + 2, { timeoutMs: 15_000 });
    expect(original.pushes).toHaveLength(1);
    expect((await store.getTask(id))?.state).toBe('starting');
    release();
    expect(await untilFinal(id)).toMatchObject({ state: 'succeeded', output: 'once', attemptNumber: 1 });
    expect((await store.getTask(id))?.startedAt).not.toBeNull();
  }, 20_000);

  it('keeps tasks queued while it is away, and gives them to it when it answers', async () => {
    await original.close();
    await start();
    const id = await store.submitTask(newTask());
    expect((await store.listStarters()).length).toBe(0);
    expect((await store.getTask(id))?.state).toBe('queued');
  });

  it('gives it no more than it has threads', async () => {
    const releases: (() => void)[] = [];
    original.script = () => new Promise((resolve) => releases.push(() => resolve({ output: '' })));
    await start({ originalStarterSlots: 2 });
    const ids = await Promise.all([1, 2, 3].map(() => store.submitTask(newTask())));
    await eventually(() => releases.length === 2);
    expect(await store.countByState()).toMatchObject({ queued: 1 });
    releases.shift()!();
    await eventually(() => original.runs.length === 3);
    for (const release of releases) release();
    for (const id of ids) await untilFinal(id);
  });
});

test('a result that comes while the database is away is held: it would not be posted again (R14)', async () => {
  const starter = createOriginalStarter({ url: 'http://127.0.0.1:9', slots: 1, version: '1' });
  await store.migrate();
  let tries = 0;
  const outcome = await reportOriginalResult(
    {
      starter,
      store: {
        getTask: async (id) => {
          tries += 1;
          if (tries < 3) throw new StoreUnavailableError(new Error('away'));
          return await store.getTask(id);
        },
      },
      report: () => Promise.resolve('moved'),
    },
    { ...v1Result(1), task_log_id: undefined } as never,
  );
  expect(outcome).toBe('unknown_task');
  expect(tries).toBe(3);
  await store.close();
});
