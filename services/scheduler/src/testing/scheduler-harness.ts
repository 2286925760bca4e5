/** A whole scheduler on a database in memory, and a host application beside it, as the tests of routes need them. */
import { randomUUID } from 'node:crypto';
import { createLogger, createRegistry } from '@stadion/service-kit';
import { fakeHostApp, type FakeHostApp } from '@stadion/testkit';
import request from 'supertest';
import { createScheduler } from '../app.js';
import { openSqlite } from '../store/connect.js';
import type { AttemptResult, Store } from '../store/store.js';

export const authToken = 'a-shared-secret-for-these-tests';
export const base = '5c264e76-0e5a-448a-9f34-580b551364ca';

export const aRun = {
  dtable_uuid: base,
  script_name: 'hello.py',
  owner: 'alice@example.com',
  script_url: 'http://127.0.0.1:9/hello.py',
};

export interface SchedulerHarness {
  store: Store;
  host: FakeHostApp;
  url: string;
  /** What the scheduler takes for the present. */
  now: Date;
  get(path: string, headers?: Record<string, string>): request.Test;
  submit(part?: object): request.Test;
  /** Submits a run and ends it. */
  finished(part?: object, result?: Partial<AttemptResult>): Promise<number>;
  stop(): Promise<void>;
}

export async function startSchedulerHarness({ timeZone = 'UTC' } = {}): Promise<SchedulerHarness> {
  const host = await fakeHostApp();
  // It is a starter too, one that takes every attempt and never reports it.
  host.at('/function/run-python', (_request, response) => void response.end('Received'));
  const store = openSqlite({ file: ':memory:', timeZone, now: () => harness.now });
  const scheduler = createScheduler(
    {
      authToken,
      starterSecret: undefined,
      hostUrl: host.url,
      timeLimitS: 900,
      timeZone,
      starterUrls: [],
      overdueGraceS: 60,
      starterSilentS: 30,
      starterLostS: 60,
      keepTasksDays: 30,
      keepStatisticsDays: 90,
    },
    {
      store,
      logger: createLogger({ service: 'test', level: 'silent' }),
      registry: createRegistry('test', { withProcess: false }),
    },
  );
  const starterId = randomUUID();
  const auth = { Authorization: `Token ${authToken}` };
  const harness: SchedulerHarness = {
    store,
    host,
    url: '',
    now: new Date('2026-11-21T12:00:00Z'),
    get: (path, headers = auth) => request(scheduler.app).get(path).set(headers),
    submit: (part = {}) =>
      request(scheduler.app)
        .post('/run-script/')
        .set(auth)
        .send({ ...aRun, ...part }),
    async finished(part = {}, result = {}) {
      const { body } = await harness.submit(part);
      const taskId = (body as { script_id: number }).script_id;
      await store.recordStarter(
        {
          starter_id: starterId,
          version: '1',
          executor: 'process',
          isolation: 'none',
          slots: 1_000,
          busy: 0,
          draining: false,
          attempts: [],
        },
        { url: host.url, configured: true },
      );
      await store.claimForStarters({ limit: 100, liveWithinMs: 60_000 });
      // The dispatcher may have been first; whoever claimed it, its attempt is in the row.
      const task = await store.getTask(taskId);
      await store.finishAttempt({
        taskId,
        attemptId: task?.attemptId ?? '',
        state: 'succeeded',
        returnCode: 0,
        output: 'hello\n',
        cause: 'exit',
        spendTimeS: 1.5,
        startedAt: null,
        ...result,
      });
      return taskId;
    },
    async stop() {
      await scheduler.stop('test');
      await host.close();
    },
  };
  const { port } = await scheduler.start({ host: '127.0.0.1', port: 0 });
  harness.url = `http://127.0.0.1:${port}`;
  return harness;
}
