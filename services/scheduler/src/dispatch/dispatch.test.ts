import {
  createHttpApp,
  createLogger,
  createRegistry,
  deriveKey,
  listen,
  Refusal,
  signToken,
  verifyToken,
} from '@stadion/service-kit';
import { dispatchRequest, type DispatchRequest, type StarterStatus } from '@stadion/contracts';
import { eventually } from '@stadion/testkit';
import { createScheduler, type Scheduler } from '../app.js';
import { openSqlite } from '../store/connect.js';
import type { Store } from '../store/store.js';
import type { NewTask } from '../tasks/task.js';
import { parseRunSubject } from '../tokens.js';

const authToken = 'a-shared-secret-for-these-tests';
const starterKey = deriveKey(authToken, 'starter');
const starterId = '11111111-1111-4111-8111-111111111111';
const logger = createLogger({ service: 'test', level: 'silent' });
const registry = () => createRegistry('test', { withProcess: false });

/** A starter's wire, with answers the test decides on. */
async function fakeStarter() {
  const pushed: DispatchRequest[] = [];
  const held = new Set<string>();
  const behaviour = { answer: (_request: DispatchRequest): void => {}, hang: false, slots: 2 };
  const status = (): StarterStatus => ({
    starter_id: starterId,
    version: '1',
    executor: 'process',
    isolation: 'none',
    slots: behaviour.slots,
    busy: held.size,
    draining: false,
    attempts: [...held],
  });
  const app = createHttpApp({
    logger,
    registry: registry(),
    gates: {
      scheduler: ({ headers }) =>
        verifyToken(starterKey, headers.authorization?.replace('Bearer ', '') ?? '', 'starter'),
    },
    routes: [
      {
        method: 'post',
        path: '/function/run-python',
        permission: 'scheduler',
        handler: ({ body, subject, response }) => {
          const request = dispatchRequest.parse(body);
          expect(subject).toBe(`attempt:${request.attempt_id}`);
          pushed.push(request);
          if (behaviour.hang) return void response.destroy();
          behaviour.answer(request);
          held.add(request.attempt_id);
          response.send('Received');
        },
      },
      {
        method: 'get',
        path: '/v1/starter',
        permission: 'scheduler',
        handler: ({ response }) => void response.json(status()),
      },
    ],
  });
  const listening = await listen(app, { host: '127.0.0.1', port: 0 });
  return {
    url: `http://127.0.0.1:${listening.port}`,
    pushed,
    held,
    behaviour,
    status,
    close: () => listening.close(0),
  };
}

/** A host application that hands out script addresses. */
async function fakeHost() {
  const asked: string[] = [];
  const behaviour = {
    status: 200,
    body: { script_url: 'http://files/hello.py', temp_api_token: 'fresh' } as unknown,
  };
  const app = createHttpApp({
    logger,
    registry: registry(),
    gates: {},
    routes: [
      {
        method: 'get',
        path: '/api/v2.1/dtable/:base/run-script/:name/task/file/',
        permission: 'public',
        handler: ({ request, response }) => {
          asked.push(`${request.headers.authorization} ${request.params['base']} ${request.params['name']}`);
          response.status(behaviour.status).json(behaviour.body);
        },
      },
    ],
  });
  const listening = await listen(app, { host: '127.0.0.1', port: 0 });
  return { url: `http://127.0.0.1:${listening.port}`, asked, behaviour, close: () => listening.close(0) };
}

let store: Store;
let starter: Awaited<ReturnType<typeof fakeStarter>>;
let host: Awaited<ReturnType<typeof fakeHost>>;
let scheduler: Scheduler;
let now: Date | undefined;

beforeEach(async () => {
  now = undefined;
  store = openSqlite({ file: ':memory:', now: () => now ?? new Date() });
  starter = await fakeStarter();
  host = await fakeHost();
});
afterEach(async () => {
  await scheduler.stop('test');
  await starter.close();
  await host.close();
});

/** The starter tells at once what the scheduler would ask only every few seconds. */
async function beat(schedulerUrl: string): Promise<void> {
  const token = signToken(starterKey, {
    audience: 'scheduler',
    subject: `starter:${starterId}`,
    expiresInS: 60,
  });
  const answer = await fetch(`${schedulerUrl}/v1/starters/heartbeat`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}` },
    body: JSON.stringify({ ...starter.status(), url: starter.url }),
  });
  expect(answer.status).toBe(200);
}

async function startScheduler(overrides: { starterUrls?: string[]; hostUrl?: string } = {}): Promise<string> {
  scheduler = createScheduler(
    {
      authToken,
      starterSecret: undefined,
      hostUrl: host.url,
      timeLimitS: 7,
      timeZone: 'UTC',
      starterUrls: [starter.url],
      overdueGraceS: 60,
      starterSilentS: 30,
      starterLostS: 60,
      keepTasksDays: 30,
      keepStatisticsDays: 90,
      ...overrides,
    },
    { store, logger, registry: registry() },
  );
  const { port } = await scheduler.start({ host: '127.0.0.1', port: 0 });
  return `http://127.0.0.1:${port}`;
}

const newTask = (overrides: Partial<NewTask> = {}): NewTask => ({
  owner: 'alice',
  orgId: null,
  baseUuid: '5c264e76-0e5a-448a-9f34-580b551364ca',
  scriptName: 'my script.py',
  trigger: 'manualy',
  scriptUrl: 'http://files/given.py',
  apiToken: 'given',
  context: { row: 1 },
  ...overrides,
});

/** What `look` answers as soon as `isDone` likes it. */
async function until<T>(look: () => Promise<T> | T, isDone: (value: T) => boolean): Promise<T> {
  const found = await eventually(
    async () => {
      const value = await look();
      if (!isDone(value)) throw new Error(`not yet; last seen: ${JSON.stringify(value)}`);
      return { value };
    },
    { timeoutMs: 15_000 },
  );
  return found.value;
}
const untilPushed = (count: number) =>
  until(
    () => starter.pushed.length,
    (length) => length >= count,
  );
const stateOf = async (id: number) => (await store.getTask(id))?.state;

describe('the dispatcher', () => {
  it('pushes a queued task to a starter, with what the run needs', async () => {
    await startScheduler();
    const id = await store.submitTask(newTask());
    await untilPushed(1);
    const [request] = starter.pushed;
    expect(request).toMatchObject({
      script_id: id,
      script_url: 'http://files/given.py',
      script_name: 'my script.py',
      env: { dtable_web_url: host.url, api_token: 'given' },
      context_data: { row: 1 },
      time_limit_s: 7,
    });
    const run = parseRunSubject(verifyToken(deriveKey(authToken, 'run'), request!.run_token, 'scheduler'));
    expect(run).toEqual({ taskId: id, attemptId: request!.attempt_id });
    expect(host.asked).toEqual([]);
  });

  it('asks the host application where the script is when the request did not say', async () => {
    await startScheduler();
    await store.submitTask(newTask({ scriptUrl: null, apiToken: null }));
    await untilPushed(1);
    expect(starter.pushed[0]).toMatchObject({
      script_url: 'http://files/hello.py',
      env: { api_token: 'fresh' },
    });
    expect(host.asked).toEqual([`Token ${authToken} 5c264e76-0e5a-448a-9f34-580b551364ca my script.py`]);
  });

  it.each([
    [404, {}, 'knows no such script'],
    [403, {}, 'refused'],
    [200, { nothing: true }, 'did not say where'],
  ])('ends the run as Failed when the host application answers %i %j', async (status, body, reason) => {
    host.behaviour.status = status;
    host.behaviour.body = body;
    await startScheduler();
    const id = await store.submitTask(newTask({ scriptUrl: null }));
    const task = await until(
      () => store.getTask(id),
      (found) => found?.state === 'failed',
    );
    expect(task).toMatchObject({ returnCode: -1, cause: 'script_unavailable' });
    expect(task?.output).toMatch(new RegExp(`^Failed\\n.*${reason}`));
    expect(starter.pushed).toEqual([]);
  });

  it('asks again when the host application is overloaded', async () => {
    host.behaviour.status = 503;
    await startScheduler();
    await store.submitTask(newTask({ scriptUrl: null }));
    await until(
      () => host.asked.length,
      (count) => count >= 2,
    );
    host.behaviour.status = 200;
    await untilPushed(1);
  });

  it('delays, and never fails, a task that a full starter refuses (R7)', async () => {
    let refusals = 0;
    starter.behaviour.answer = () => {
      refusals += 1;
      if (refusals === 1) throw new Refusal('busy', 'full', { retryAfterS: 1 });
    };
    await startScheduler();
    const id = await store.submitTask(newTask());
    await untilPushed(2);
    expect(await stateOf(id)).toBe('starting');
    const [first, second] = starter.pushed;
    expect(second!.attempt_id).not.toBe(first!.attempt_id);
  });

  it('keeps tasks queued while there is no starter, and pushes them when one comes', async () => {
    const url = await startScheduler({ starterUrls: [] });
    const id = await store.submitTask(newTask());
    expect((await fetch(`${url}/ping/`)).status).toBe(200);
    expect(await stateOf(id)).toBe('queued');
    await store.recordStarter(
      {
        starter_id: starterId,
        version: '1',
        executor: 'process',
        isolation: 'none',
        slots: 1,
        busy: 0,
        draining: false,
        attempts: [],
      },
      { url: starter.url, configured: false },
    );
    await untilPushed(1);
  });

  it('gives a starter no more than its slots', async () => {
    await startScheduler();
    for (let n = 0; n < 5; n += 1) await store.submitTask(newTask());
    await untilPushed(2);
    const counts = await until(
      () => store.countByState(),
      ({ starting }) => starting === 2,
    );
    expect(counts).toEqual({ queued: 3, starting: 2, running: 0 });
    expect(starter.pushed).toHaveLength(2);
  });

  it('gives an attempt of which it does not know whether it arrived to the same starter again, under the same id', async () => {
    starter.behaviour.hang = true;
    const url = await startScheduler();
    const id = await store.submitTask(newTask());
    await untilPushed(1);
    expect(await stateOf(id)).toBe('starting');
    starter.behaviour.hang = false;
    now = new Date(Date.now() + 11_000);
    await beat(url);
    await untilPushed(2);
    expect(starter.pushed[1]!.attempt_id).toBe(starter.pushed[0]!.attempt_id);
  });

  it('gives up a running attempt that its living starter no longer holds', async () => {
    const url = await startScheduler();
    const id = await store.submitTask(newTask());
    await untilPushed(1);
    await store.beginAttempt(id, starter.pushed[0]!.attempt_id, null);
    starter.held.clear();
    now = new Date(Date.now() + 11_000);
    await beat(url);
    const task = await until(
      () => store.getTask(id),
      (found) => found?.state === 'lost',
    );
    expect(task?.output).toContain('The run was lost');
  });

  it('does not take back an attempt whose repeated push is refused: the first may have arrived', async () => {
    starter.behaviour.hang = true;
    const url = await startScheduler();
    const id = await store.submitTask(newTask());
    await untilPushed(1);
    starter.behaviour.hang = false;
    starter.behaviour.answer = () => {
      throw new Refusal('busy', 'full', { retryAfterS: 1 });
    };
    now = new Date(Date.now() + 11_000);
    await beat(url);
    await untilPushed(2);
    starter.behaviour.answer = () => {};
    await until(
      async () => {
        await beat(url);
        return starter.pushed.length;
      },
      (count) => count >= 3,
    );
    expect(await stateOf(id)).toBe('starting');
    expect(new Set(starter.pushed.map((request) => request.attempt_id)).size).toBe(1);
  });

  it('ends a run that its starter can never take, and goes on with the others', async () => {
    starter.behaviour.answer = ({ script_url: scriptUrl }) => {
      if (scriptUrl?.includes('huge')) throw new Refusal('too_large', 'too large');
    };
    await startScheduler();
    const huge = await store.submitTask(newTask({ scriptUrl: 'http://files/huge.py' }));
    const ordinary = await store.submitTask(newTask());
    const task = await until(
      () => store.getTask(huge),
      (found) => found?.state === 'failed',
    );
    expect(task).toMatchObject({ cause: 'script_invalid', returnCode: -1 });
    expect(task?.output).toMatch(/^Script invalid!\n.*413/);
    await until(
      () => starter.pushed.map((request) => request.script_id),
      (pushed) => pushed.includes(ordinary),
    );
  });

  it('picks up what was queued before it started', async () => {
    await store.migrate();
    await store.submitTask(newTask());
    await startScheduler();
    await untilPushed(1);
  });
});
