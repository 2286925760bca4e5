/**
 * What every store must do, whatever database it is on (history, statistics and limits: `history-contract.ts`): run by `store.sqlite.test.ts` and
 * `store.mariadb.integration.test.ts`. Names that begin with R are rows of the project's must-not-happen list.
 */
import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import { fixedOutput, type StarterStatus } from '@stadion/contracts';
import type { NewTask } from '../tasks/task.js';
import type { Clock } from './dialect.js';
import type { AttemptResult, Claim, Store } from './store.js';

/** One database with its tables, and ways to look at it that are not the store's. */
export interface StoreHarness {
  /** Two replicas on this database. On SQLite, where there is but one process, both are the same. */
  replicas: [Store, Store];
  /** A store that goes by the database's own clock. */
  openWithoutClock(): Promise<Store>;
  /** A store on the same database whose operator lives in another time zone. */
  openIn(timeZone: string): Promise<Store>;
  query(sql: string): Promise<Record<string, unknown>[]>;
  /** Makes each such change of a row fail until `query('DROP TRIGGER planted')`. `when` may use OLD and NEW. */
  plantFailure(event: 'INSERT' | 'UPDATE' | 'DELETE', table: string, when: string): Promise<void>;
  close(): Promise<void>;
}

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const noon = Date.UTC(2026, 10, 21, 12);
const live = { limit: 100, liveWithinMs: minute };
const tables = ['tasks', 'task_outputs', 'starters', 'run_statistics', 'listening', 'limit_months'];

export function describeStoreContract(
  name: string,
  openHarness: (clock: Clock) => Promise<StoreHarness>,
): void {
  describe(`the store on ${name}`, () => {
    let harness: StoreHarness;
    let store: Store;
    let replica: Store;
    let now = noon;

    beforeAll(async () => {
      harness = await openHarness(() => new Date(now));
      [store, replica] = harness.replicas;
    });
    beforeEach(async () => {
      now = noon;
      for (const table of tables) await harness.query(`DELETE FROM ${table}`);
    });
    afterAll(() => harness?.close());

    // Builders: they show what matters to a test and fill in the rest.

    function aTask(part: Partial<NewTask> = {}): NewTask {
      return {
        owner: 'alice@example.com',
        orgId: null,
        baseUuid: '5c264e76-0e5a-448a-9f34-580b551364ca',
        scriptName: 'hello.py',
        trigger: 'manualy',
        ...part,
      };
    }

    async function submit(part: Partial<NewTask> = {}): Promise<number> {
      return store.submitTask(aTask(part));
    }

    async function submitMany(count: number, part: Partial<NewTask> = {}): Promise<number[]> {
      const ids: number[] = [];
      for (let index = 0; index < count; index += 1) ids.push(await submit(part));
      return ids;
    }

    async function aStarter(part: Partial<StarterStatus> = {}): Promise<string> {
      const status: StarterStatus = {
        starter_id: randomUUID(),
        version: '0.1.0',
        executor: 'docker',
        isolation: 'container',
        url: `http://127.0.0.1:8080/${randomUUID()}`,
        slots: 10,
        busy: 0,
        draining: false,
        attempts: [],
        ...part,
      };
      await store.recordStarter(status, { configured: false });
      return status.starter_id;
    }

    async function claimed(part: Partial<NewTask> = {}): Promise<Claim> {
      if ((await store.listStarters()).length === 0) await aStarter({ slots: 1000 });
      const id = await submit(part);
      const claim = (await store.claimForStarters(live)).find((each) => each.task.id === id);
      if (!claim) throw new Error('the task was not claimed');
      return claim;
    }

    async function running(part: Partial<NewTask> = {}): Promise<Claim> {
      const claim = await claimed(part);
      expect(await store.beginAttempt(claim.task.id, claim.attemptId, null)).toBe('moved');
      return claim;
    }

    function resultOf(claim: Claim, part: Partial<AttemptResult> = {}): AttemptResult {
      return {
        taskId: claim.task.id,
        attemptId: claim.attemptId,
        state: 'succeeded',
        returnCode: 0,
        output: 'hello\n',
        cause: 'exit',
        spendTimeS: 1.5,
        startedAt: null,
        ...part,
      };
    }

    async function statistics() {
      const rows = await harness.query('SELECT * FROM run_statistics ORDER BY day, org_id, owner, base_uuid');
      return rows.map((row) => ({
        day: row.day,
        org: Number(row.org_id),
        owner: row.owner,
        runs: Number(row.run_count),
        succeeded: Number(row.success_count),
        manual: Number(row.manual_count),
        automation: Number(row.automation_count),
        us: Number(row.total_run_time_us),
      }));
    }

    async function untouchedBy<Value>(work: () => Promise<Value>): Promise<Value> {
      const look = async () => {
        const all: string[] = [];
        for (const table of tables) {
          const rows = await harness.query(`SELECT * FROM ${table}`);
          all.push(...rows.map((row) => `${table}: ${JSON.stringify(row)}`).sort());
        }
        return all;
      };
      const before = await look();
      const value = await work();
      expect(await look()).toEqual(before);
      return value;
    }

    async function withFailure(
      plant: Parameters<StoreHarness['plantFailure']>,
      work: () => Promise<unknown>,
    ) {
      await harness.plantFailure(...plant);
      try {
        await untouchedBy(() => expect(work()).rejects.toThrow('planted'));
      } finally {
        await harness.query('DROP TRIGGER planted');
      }
    }

    describe('tasks', () => {
      test('a task is read back as it was recorded', async () => {
        const task = aTask({
          orgId: 7,
          priority: 3,
          scriptUrl: 'http://host/hello.py',
          apiToken: 'secret',
          context: { row: { Name: 'ü😀', list: [1, 2.5, null, true] } },
          trigger: 'automation-rule',
        });
        const id = await store.submitTask(task);
        expect(await store.getTask(id)).toEqual({
          ...task,
          id,
          type: 'script',
          state: 'queued',
          createdAt: new Date(noon),
          assignedAt: null,
          startedAt: null,
          finishedAt: null,
          attemptId: null,
          attemptNumber: 0,
          starterId: null,
          returnCode: null,
          cause: null,
          output: null,
        });
      });

      test.each([null, {}, [], ['a', 1], 'text', 0, false, { nul: '\0', quote: `'"\\` }])(
        'the context %j comes back as it is',
        async (context) => {
          expect((await store.getTask(await submit({ context })))?.context).toEqual(context);
        },
      );

      test('R21: names of the greatest length, of emoji, with NUL or spaces at the end are kept', async () => {
        const odd = {
          owner: '😀'.repeat(255),
          scriptName: 'a\0b 😀.py  ',
          trigger: `'; DROP TABLE tasks; --`,
          orgId: Number.MAX_SAFE_INTEGER,
        };
        const claim = await running(odd);
        expect(await store.finishAttempt(resultOf(claim))).toBe('moved');
        expect(await store.getTask(claim.task.id)).toMatchObject(odd);
        expect(await statistics()).toMatchObject([{ owner: odd.owner, org: odd.orgId, runs: 1 }]);
      });

      test('owners that differ in case, accent or spaces at the end are different', async () => {
        for (const owner of ['alice', 'Alice', 'alicé', 'alice ']) {
          const claim = await claimed({ owner });
          await store.finishAttempt(resultOf(claim));
        }
        expect((await statistics()).map((row) => row.runs)).toEqual([1, 1, 1, 1]);
      });

      test.each([0, -1, 1.5, 2 ** 53, 2 ** 63, 1e300, NaN, Infinity])(
        'the id %d is simply unknown',
        async (id) => {
          expect(await store.getTask(id)).toBeUndefined();
          expect(await store.beginAttempt(id, randomUUID(), null)).toBe('unknown_task');
          expect(await store.releaseAttempt(id, randomUUID())).toBe('unknown_task');
          expect(
            await store.refuseTask({
              taskId: id,
              output: 'Failed',
              returnCode: -1,
              cause: 'script_unavailable',
            }),
          ).toBe('unknown_task');
        },
      );

      test('R17: reading a run changes nothing, however old and whatever its state', async () => {
        const done = await running();
        await store.finishAttempt(resultOf(done));
        const stillRunning = await running();
        const waiting = await submit();
        now += 40 * day;
        await untouchedBy(async () => {
          expect((await store.getTask(done.task.id))?.state).toBe('succeeded');
          expect((await store.getTask(stillRunning.task.id))?.state).toBe('running');
          expect((await store.getTask(waiting))?.state).toBe('queued');
          await store.countByState();
          await store.listStarters();
          await store.heldNowhere(done.starterId, [], 0);
        });
      });

      test('without a clock given, the database tells the time', async () => {
        const own = await harness.openWithoutClock();
        try {
          const id = await own.submitTask(aTask());
          const task = await own.getTask(id);
          expect(Math.abs(Number(task?.createdAt) - Date.now())).toBeLessThan(minute);
          expect(await own.oldestQueuedAgeMs()).toBeLessThan(minute);
          const starter = {
            starter_id: randomUUID(),
            version: '1',
            executor: 'process',
            isolation: 'none',
          } as const;
          const status = { ...starter, url: 'http://own', slots: 1, busy: 0, draining: false, attempts: [] };
          await own.recordStarter(status, { configured: true });
          const [claim] = await own.claimForStarters(live);
          expect(claim?.task.id).toBe(id);
          // Two hours off in both directions.
          expect(await own.beginAttempt(id, claim?.attemptId ?? '', new Date(Date.now() - 2 * hour))).toBe(
            'moved',
          );
          const begun = await own.getTask(id);
          expect(begun?.startedAt).toEqual(begun?.assignedAt);
          await own.refuseStarterUntil(starter.starter_id, minute);
          const [listed] = await own.listStarters();
          expect(Number(listed?.refusedUntil) - Date.now()).toBeGreaterThan(minute / 2);
          const rule = { timeLimitMs: minute, graceMs: 0, startGraceMs: 0 };
          expect(await own.expireOverdue(rule)).toBe(0);
          await own.finishAttempt({ ...resultOf(claim as Claim), state: 'failed' });
          expect(await own.deleteOldTasks({ days: 1 })).toBe(0);
          expect(await own.deleteOldStatistics({ days: 1 })).toBe(0);
          expect(await own.loseSilent({ silentMs: minute })).toBe(0);
          expect(await own.forgetSilentStarters({ silentMs: minute })).toBe(0);
        } finally {
          await own.close();
        }
      });
    });

    describe('claiming', () => {
      test('a claim says what is pushed and where, and the row says the same', async () => {
        const starterId = await aStarter({ url: 'http://starter:8080' });
        const id = await submit({ context: { a: 1 }, apiToken: 'secret' });
        now += 5000;
        const [claim, ...others] = await store.claimForStarters(live);
        expect(others).toEqual([]);
        expect(claim).toMatchObject({
          starterId,
          starterUrl: 'http://starter:8080',
          attemptId: claim?.task.attemptId,
        });
        expect(claim?.task).toMatchObject({
          id,
          state: 'starting',
          starterId,
          attemptNumber: 1,
          apiToken: 'secret',
          assignedAt: new Date(now),
        });
        expect(await store.getTask(id)).toEqual(claim?.task);
      });

      test('nothing is claimed when no starter may have it', async () => {
        await submit();
        expect(await store.claimForStarters(live)).toEqual([]);
        await aStarter({ draining: true });
        await aStarter({ slots: 0 });
        await aStarter({ url: undefined } as Partial<StarterStatus>);
        await aStarter({ slots: 4, busy: 4, attempts: [randomUUID()] });
        const refusing = await aStarter();
        await store.refuseStarterUntil(refusing, 3 * minute);
        now += 2 * minute;
        const silent = await store.claimForStarters(live);
        expect(silent).toEqual([]);
        expect(await store.countByState()).toEqual({ queued: 1, starting: 0, running: 0 });
      });

      test('a starter that refused gets tasks again once its time is over', async () => {
        const starterId = await aStarter();
        await store.refuseStarterUntil(starterId, 10_000);
        await submit();
        now += 9_999;
        expect(await store.claimForStarters(live)).toEqual([]);
        now += 1;
        expect(await store.claimForStarters(live)).toHaveLength(1);
      });

      test('priority goes first, then who has least in flight, then age', async () => {
        await aStarter({ slots: 1 });
        await submitMany(2, { orgId: 1 });
        const other = await submit({ owner: 'bob' });
        const urgent = await submit({ orgId: 1, priority: 5 });
        const order: number[] = [];
        for (let slots = 1; slots <= 4; slots += 1) {
          const [starter] = await store.listStarters();
          await aStarter({ starter_id: starter?.id as string, slots });
          order.push(...(await store.claimForStarters(live)).map((claim) => claim.task.id));
        }
        expect(order.slice(0, 2)).toEqual([urgent, other]);
      });

      test('R7: a team over its share is delayed, never failed, and its share is counted in the database', async () => {
        await aStarter({ slots: 6 });
        const crowd = await submitMany(20, { orgId: 1 });
        expect(await store.claimForStarters({ ...live, limit: 5 })).toHaveLength(5);
        const latecomer = await submit({ orgId: 2 });
        // Another process, with nothing in its memory.
        const [next] = await replica.claimForStarters(live);
        expect(next?.task.id).toBe(latecomer);
        expect(await replica.claimForStarters(live)).toEqual([]);
        for (const id of crowd) expect((await store.getTask(id))?.state).toMatch(/^(queued|starting)$/);
        await store.finishAttempt(resultOf(next as Claim));
        expect((await replica.claimForStarters(live)).map((claim) => claim.task.id)).toEqual([crowd[5]]);
      });

      test('work goes to the starter with the most free slots', async () => {
        const [small, large] = [await aStarter({ slots: 1 }), await aStarter({ slots: 3 })];
        await submitMany(6);
        const places = (await store.claimForStarters(live)).map((claim) => claim.starterId);
        expect(places.filter((id) => id === small)).toHaveLength(1);
        expect(places.filter((id) => id === large)).toHaveLength(3);
        expect(await store.claimForStarters(live)).toEqual([]);
      });

      test("slots taken by somebody else's work are not given away, our own are not counted twice", async () => {
        const starterId = await aStarter({ slots: 4 });
        await submitMany(9);
        const [first, second] = await store.claimForStarters({ ...live, limit: 2 });
        const attempts = [first?.attemptId as string, second?.attemptId as string];
        await aStarter({ starter_id: starterId, slots: 4, busy: 3, attempts: [...attempts, randomUUID()] });
        expect(await store.claimForStarters(live)).toHaveLength(1);
        expect(await store.claimForStarters(live)).toEqual([]);
      });

      test('a slot that was freed after the heartbeat is used at once', async () => {
        const starterId = await aStarter({ slots: 1 });
        await submitMany(2);
        const [first] = await store.claimForStarters(live);
        await aStarter({ starter_id: starterId, slots: 1, busy: 1, attempts: [first?.attemptId as string] });
        await store.finishAttempt(resultOf(first as Claim));
        expect(await store.claimForStarters(live)).toHaveLength(1);
      });

      test('an attempt that ended while the heartbeat was on its way takes no slot', async () => {
        const starterId = await aStarter({ slots: 1 });
        await submitMany(2);
        const [first] = await store.claimForStarters(live);
        await store.finishAttempt(resultOf(first as Claim));
        await aStarter({ starter_id: starterId, slots: 1, busy: 1, attempts: [first?.attemptId as string] });
        expect(await store.claimForStarters(live)).toHaveLength(1);
      });

      test('a starter that comes back under a new id retires its old one', async () => {
        const url = 'http://starter:8080';
        await aStarter({ url });
        const fresh = await aStarter({ url });
        await submitMany(3);
        expect((await store.claimForStarters(live)).map((claim) => claim.starterId)).toEqual([
          fresh,
          fresh,
          fresh,
        ]);
      });

      test('two replicas that claim at once never get the same task, nor a slot too many', async () => {
        for (let index = 0; index < 5; index += 1) await aStarter({ slots: 30 });
        for (let index = 0; index < 20; index += 1) await submitMany(10, { owner: `owner-${index}` });
        const wish = { ...live, limit: 7 };
        const claims = (
          await Promise.all(
            Array.from({ length: 40 }, (_, index) => (index % 2 ? store : replica).claimForStarters(wish)),
          )
        ).flat();
        expect(claims).toHaveLength(150);
        expect(new Set(claims.map((claim) => claim.task.id)).size).toBe(150);
        for (const starter of await store.listStarters()) expect(starter.inFlight).toBe(30);
        expect(await store.countByState()).toEqual({ queued: 50, starting: 150, running: 0 });
      });

      test('a claim that fails midway has claimed nothing', async () => {
        await aStarter();
        const ids = await submitMany(3);
        await withFailure(['UPDATE', 'tasks', `NEW.id = ${ids[2]}`], () => store.claimForStarters(live));
        expect(await store.claimForStarters(live)).toHaveLength(3);
      });
    });

    describe('an attempt', () => {
      test('that is released goes back to the queue, and its own result no longer counts', async () => {
        const old = await claimed();
        expect(await store.releaseAttempt(old.task.id, old.attemptId)).toBe('moved');
        expect(await store.getTask(old.task.id)).toMatchObject({
          state: 'queued',
          attemptId: null,
          starterId: null,
        });
        expect(await store.finishAttempt(resultOf(old))).toBe('wrong_state');
        const [next] = await store.claimForStarters(live);
        expect(next?.task).toMatchObject({ id: old.task.id, attemptNumber: 2 });
        expect(next?.attemptId).not.toBe(old.attemptId);
        expect(await store.finishAttempt(resultOf(old))).toBe('wrong_state');
        expect(await store.beginAttempt(old.task.id, old.attemptId, null)).toBe('wrong_state');
        expect(await store.releaseAttempt(old.task.id, old.attemptId)).toBe('wrong_state');
        expect(await statistics()).toEqual([]);
      });

      test('that runs cannot be released', async () => {
        const claim = await running();
        expect(await store.releaseAttempt(claim.task.id, claim.attemptId)).toBe('wrong_state');
      });

      test.each([
        ['before it was assigned', -hour, 0],
        ['in between', 4000, 4000],
        ['in the future', hour, 10_000],
      ])('said to have started %s is held between its assignment and now', async (_when, said, kept) => {
        const first = await claimed();
        const second = await claimed();
        now += 10_000;
        await store.beginAttempt(first.task.id, first.attemptId, new Date(noon + said));
        expect((await store.getTask(first.task.id))?.startedAt).toEqual(new Date(noon + kept));
        await store.finishAttempt(resultOf(second, { startedAt: new Date(noon + said) }));
        expect((await store.getTask(second.task.id))?.startedAt).toEqual(new Date(noon + kept));
      });

      test('that finishes has its result, output, statistics and no token any more', async () => {
        const claim = await running({ orgId: 7, apiToken: 'secret' });
        now += 2000;
        expect(await store.finishAttempt(resultOf(claim, { state: 'failed', returnCode: 3 }))).toBe('moved');
        expect(await store.getTask(claim.task.id)).toMatchObject({
          state: 'failed',
          returnCode: 3,
          cause: 'exit',
          output: 'hello\n',
          startedAt: new Date(noon),
          finishedAt: new Date(noon + 2000),
          apiToken: null,
          starterId: claim.starterId,
        });
        expect(await statistics()).toEqual([
          {
            day: '2026-11-21',
            org: 7,
            owner: 'alice@example.com',
            runs: 1,
            succeeded: 0,
            manual: 1,
            automation: 0,
            us: 1_500_000,
          },
        ]);
      });

      test('that never started finishes without a start', async () => {
        const claim = await claimed();
        await store.finishAttempt(
          resultOf(claim, {
            state: 'failed',
            returnCode: null,
            output: 'Fail to get script',
            spendTimeS: null,
          }),
        );
        expect(await store.getTask(claim.task.id)).toMatchObject({ state: 'failed', startedAt: null });
      });

      test('whose result overtakes the running report keeps its result', async () => {
        const claim = await claimed();
        expect(await store.finishAttempt(resultOf(claim))).toBe('moved');
        expect(await store.beginAttempt(claim.task.id, claim.attemptId, null)).toBe('wrong_state');
        expect((await store.getTask(claim.task.id))?.state).toBe('succeeded');
      });

      test('R5: a duplicate result neither overwrites the first nor counts twice', async () => {
        const claim = await running();
        expect(await store.finishAttempt(resultOf(claim))).toBe('moved');
        await untouchedBy(async () => {
          expect(await store.finishAttempt(resultOf(claim))).toBe('wrong_state');
          expect(await store.finishAttempt(resultOf(claim, { state: 'failed', output: 'other' }))).toBe(
            'wrong_state',
          );
        });
      });

      test('R5: the same result twice at once is applied once', async () => {
        const claim = await running();
        const outcomes = await Promise.all(
          [store, replica, store, replica].map((each) => each.finishAttempt(resultOf(claim))),
        );
        expect(outcomes.sort()).toEqual(['moved', 'wrong_state', 'wrong_state', 'wrong_state']);
        expect(await statistics()).toMatchObject([{ runs: 1, succeeded: 1 }]);
      });

      test('R5: a late result cannot revive a run that was called timed out', async () => {
        const claim = await running();
        now += hour;
        expect(await store.expireOverdue({ timeLimitMs: minute, graceMs: 0, startGraceMs: 0 })).toBe(1);
        await untouchedBy(async () => {
          expect(await store.finishAttempt(resultOf(claim))).toBe('wrong_state');
          expect(await store.beginAttempt(claim.task.id, claim.attemptId, null)).toBe('wrong_state');
        });
      });

      test("R5: another attempt's id moves nothing", async () => {
        const claim = await running();
        await untouchedBy(async () => {
          expect(await store.finishAttempt(resultOf(claim, { attemptId: randomUUID() }))).toBe('wrong_state');
        });
      });

      test('that was lost may still turn out to have ended, and is counted as one run on its first day', async () => {
        const claim = await running();
        now = Date.UTC(2026, 10, 21, 23, 59);
        const loss = { taskId: claim.task.id, attemptId: claim.attemptId, reason: 'The starter is gone.' };
        expect(await store.loseAttempt(loss)).toBe('moved');
        expect(await store.getTask(claim.task.id)).toMatchObject({
          state: 'lost',
          cause: 'lost',
          output: loss.reason,
        });
        expect(await statistics()).toMatchObject([{ runs: 1, succeeded: 0, us: 0 }]);
        now += 2 * minute;
        expect(await store.loseAttempt(loss)).toBe('wrong_state');
        expect(await store.finishAttempt(resultOf(claim))).toBe('moved');
        expect(await store.finishAttempt(resultOf(claim))).toBe('wrong_state');
        expect(await store.getTask(claim.task.id)).toMatchObject({ state: 'succeeded', output: 'hello\n' });
        expect(await statistics()).toMatchObject([
          { day: '2026-11-21', runs: 1, succeeded: 1, us: 1_500_000 },
        ]);
      });

      test('whose result has no output leaves none behind', async () => {
        const claim = await running();
        await store.loseAttempt({ taskId: claim.task.id, attemptId: claim.attemptId, reason: 'gone' });
        await store.finishAttempt(resultOf(claim, { output: null }));
        expect((await store.getTask(claim.task.id))?.output).toBeNull();
      });

      test('whose result fails midway is as it was before, and can be finished again', async () => {
        const claim = await running();
        await withFailure(['INSERT', 'run_statistics', '1 = 1'], () => store.finishAttempt(resultOf(claim)));
        expect(await store.finishAttempt(resultOf(claim))).toBe('moved');
      });

      test('runs are counted by day, organisation, owner and base, by hand and by rule', async () => {
        for (const part of [
          { orgId: 7 },
          { orgId: 7, trigger: 'automation-rule' },
          { orgId: 7, owner: 'bob' },
          { orgId: null },
          { orgId: 7, baseUuid: 'other' },
        ]) {
          await store.finishAttempt(resultOf(await claimed(part)));
        }
        now += day;
        await aStarter();
        await store.finishAttempt(resultOf(await claimed({ orgId: 7 })));
        expect(
          (await statistics()).map(({ day: on, org, owner, runs, manual, automation, us }) => [
            on,
            org,
            owner,
            runs,
            manual,
            automation,
            us,
          ]),
        ).toEqual([
          ['2026-11-21', -1, 'alice@example.com', 1, 1, 0, 1_500_000],
          ['2026-11-21', 7, 'alice@example.com', 2, 1, 1, 3_000_000],
          ['2026-11-21', 7, 'alice@example.com', 1, 1, 0, 1_500_000],
          ['2026-11-21', 7, 'bob', 1, 1, 0, 1_500_000],
          ['2026-11-22', 7, 'alice@example.com', 1, 1, 0, 1_500_000],
        ]);
      });

      test.each([
        ['a million control characters', '\u0001'.repeat(1_000_000)],
        ['a million emoji', '😀'.repeat(1_000_000)],
        ['NUL characters', 'a\0b\0\0c\0'],
        ['quotes and backslashes', `'"\\%_\r\n\u2028`],
        ['nothing', ''],
      ])('output of %s comes back as it is', async (_what, output) => {
        const claim = await running();
        expect(await store.finishAttempt(resultOf(claim, { output }))).toBe('moved');
        expect((await store.getTask(claim.task.id))?.output === output).toBe(true);
      });
    });

    describe('refusing a task', () => {
      const refusal = {
        output: 'Failed\nNo such script.',
        returnCode: -1,
        cause: 'script_unavailable',
      } as const;

      test('fails a queued one, which is counted as a run', async () => {
        const taskId = await submit({ apiToken: 'secret' });
        expect(await store.refuseTask({ taskId, ...refusal })).toBe('moved');
        expect(await store.getTask(taskId)).toMatchObject({ state: 'failed', apiToken: null, ...refusal });
        expect(await statistics()).toMatchObject([{ runs: 1, succeeded: 0 }]);
        await aStarter();
        expect(await store.claimForStarters(live)).toEqual([]);
      });

      test('fails a starting one only by its attempt', async () => {
        const { task, attemptId } = await claimed();
        expect(await store.refuseTask({ taskId: task.id, ...refusal })).toBe('wrong_state');
        expect(await store.refuseTask({ taskId: task.id, attemptId: randomUUID(), ...refusal })).toBe(
          'wrong_state',
        );
        expect(await store.refuseTask({ taskId: task.id, attemptId, ...refusal })).toBe('moved');
        expect(await store.refuseTask({ taskId: task.id, attemptId, ...refusal })).toBe('wrong_state');
      });

      test('leaves a running one alone', async () => {
        const { task, attemptId } = await running();
        expect(await store.refuseTask({ taskId: task.id, attemptId, ...refusal })).toBe('wrong_state');
      });
    });

    test('an error that the store throws tells no token, context or output', async () => {
      const secret = 'do-not-log-me';
      const claim = await running();
      await harness.plantFailure('INSERT', 'tasks', '1 = 1');
      const submitError = await submit({ apiToken: secret, context: { secret } }).catch(
        (error: unknown) => error,
      );
      await harness.query('DROP TRIGGER planted');
      await harness.plantFailure('INSERT', 'task_outputs', '1 = 1');
      const finishError = await store
        .finishAttempt(resultOf(claim, { output: secret }))
        .catch((error: unknown) => error);
      await harness.query('DROP TRIGGER planted');
      for (const error of [submitError, finishError]) {
        expect(error).toBeInstanceOf(Error);
        expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(secret);
      }
    });

    describe('starters', () => {
      test('are listed as they last described themselves', async () => {
        const id = await aStarter({ slots: 2, url: 'http://first' });
        now += 1000;
        await store.recordStarter(
          {
            starter_id: id,
            version: '0.2.0',
            executor: 'process',
            isolation: 'none 😀',
            slots: 3,
            busy: 1,
            draining: true,
            attempts: [],
          },
          { url: 'http://second', configured: true },
        );
        expect(await store.listStarters()).toEqual([
          {
            id,
            url: 'http://second',
            configured: true,
            version: '0.2.0',
            executor: 'process',
            isolation: 'none 😀',
            slots: 3,
            busy: 1,
            draining: true,
            inFlight: 0,
            lastSeenAt: new Date(now),
            refusedUntil: null,
          },
        ]);
      });

      test('many heartbeats at once all arrive', async () => {
        const ids = await Promise.all(Array.from({ length: 20 }, () => aStarter()));
        await Promise.all(ids.map((starter_id) => aStarter({ starter_id, slots: 4 })));
        expect((await store.listStarters()).map((starter) => starter.slots)).toEqual(Array(20).fill(4));
      });

      test('an attempt that its starter does not list is found once it is old enough', async () => {
        const starterId = await aStarter();
        await submitMany(3);
        const [listed, started, begun] = (await store.claimForStarters(live)) as [Claim, Claim, Claim];
        await store.beginAttempt(begun.task.id, begun.attemptId, null);
        now += 9_000;
        expect(await store.heldNowhere(starterId, [listed.attemptId], 10_000)).toEqual([]);
        now += 1_000;
        expect(await store.heldNowhere(starterId, [listed.attemptId], 10_000)).toEqual([
          { taskId: started.task.id, attemptId: started.attemptId, state: 'starting' },
          { taskId: begun.task.id, attemptId: begun.attemptId, state: 'running' },
        ]);
        expect(await store.heldNowhere(randomUUID(), [], 0)).toEqual([]);
        await store.finishAttempt(resultOf(begun));
        expect(await store.heldNowhere(starterId, [listed.attemptId, started.attemptId], 0)).toEqual([]);
      });
    });

    describe('the janitor that expires overdue attempts', () => {
      const rule = { timeLimitMs: 15 * minute, graceMs: minute, startGraceMs: 10 * minute };

      test('has nothing to do', async () => {
        await running();
        now += 16 * minute;
        await untouchedBy(async () => expect(await store.expireOverdue(rule)).toBe(0));
      });

      test('ends one that runs for too long, and says so', async () => {
        const claim = await running();
        const young = await claimed();
        now += 16 * minute + 1;
        expect(await store.expireOverdue(rule)).toBe(1);
        const task = await store.getTask(claim.task.id);
        expect(task).toMatchObject({
          state: 'timed_out',
          returnCode: -1,
          cause: 'time_limit',
          apiToken: null,
        });
        expect(task?.output).toContain(fixedOutput.timeLimit);
        expect(await statistics()).toMatchObject([{ runs: 1, succeeded: 0, us: 15 * minute * 1000 }]);
        expect((await store.getTask(young.task.id))?.state).toBe('starting');
      });

      test('R17: the limit counts from the start, not from the submit; who waits for days is not timed out', async () => {
        const waiting = await submit();
        now += 5 * day;
        expect(await store.expireOverdue(rule)).toBe(0);
        await aStarter();
        const [claim] = await store.claimForStarters(live);
        now += 9 * minute;
        await store.beginAttempt(waiting, claim?.attemptId as string, null);
        now += 15 * minute;
        expect(await store.expireOverdue(rule)).toBe(0);
        expect((await store.getTask(waiting))?.state).toBe('running');
      });

      test('ends one of which nobody ever said that it started', async () => {
        const claim = await claimed();
        now += 26 * minute;
        expect(await store.expireOverdue(rule)).toBe(0);
        now += 1;
        expect(await store.expireOverdue(rule)).toBe(1);
        expect(await store.getTask(claim.task.id)).toMatchObject({ state: 'timed_out', startedAt: null });
      });

      test('after everything was away for longer than limit and grace, a true result still comes in time', async () => {
        const claim = await running();
        const listening = { ...rule, listenedMs: minute };
        await store.expireOverdue(listening);
        now += 20 * minute;
        expect(await store.expireOverdue(listening)).toBe(0);
        expect(await store.finishAttempt(resultOf(claim))).toBe('moved');
      });

      test('ends one whose result does not come once somebody has listened for long enough', async () => {
        await running();
        const listening = { ...rule, listenedMs: minute };
        now += 20 * minute;
        let ended = await store.expireOverdue(listening);
        for (let passes = 0; passes < 6; passes += 1) {
          expect(ended).toBe(0);
          now += 10_000;
          ended = await store.expireOverdue(listening);
        }
        expect(ended).toBe(1);
      });

      test('does at most a batch at once', async () => {
        for (let index = 0; index < 3; index += 1) await running();
        now += hour;
        expect(await store.expireOverdue({ ...rule, batch: 2 })).toBe(2);
        expect(await store.expireOverdue({ ...rule, batch: 2 })).toBe(1);
      });

      test('does the same twice at once as once', async () => {
        for (let index = 0; index < 10; index += 1) await running({ owner: `owner-${index % 3}` });
        now += hour;
        const counts = await Promise.all([store, replica, store].map((each) => each.expireOverdue(rule)));
        expect(counts.reduce((sum, count) => sum + count) + (await store.expireOverdue(rule))).toBe(10);
        expect((await statistics()).reduce((sum, row) => sum + row.runs, 0)).toBe(10);
      });

      test('has done nothing when it fails midway', async () => {
        const ids = [await running(), await running(), await running()].map((claim) => claim.task.id);
        now += hour;
        await withFailure(['UPDATE', 'tasks', `NEW.id = ${ids[1]}`], () => store.expireOverdue(rule));
        expect(await store.expireOverdue(rule)).toBe(3);
      });
    });

    describe('the janitor that gives up silent starters', () => {
      const rule = { silentMs: minute };
      /** Calls it every ten seconds, as the loop does, until `ms` have passed. */
      async function listenFor(ms: number): Promise<number> {
        let lost = await store.loseSilent(rule);
        for (const end = now + ms; now < end;) {
          now += 10_000;
          lost += await store.loseSilent(rule);
        }
        return lost;
      }

      test('has nothing to do while the starter is heard of', async () => {
        const claim = await running();
        await listenFor(50_000);
        await aStarter({ starter_id: claim.starterId });
        expect(await listenFor(50_000)).toBe(0);
      });

      test('gives up attempts, started or not, of one not heard of for a minute', async () => {
        const [claim, other] = [await running(), await claimed()];
        await aStarter();
        expect(await listenFor(minute)).toBe(0);
        expect(await listenFor(10_000)).toBe(2);
        expect(await store.getTask(claim.task.id)).toMatchObject({
          state: 'lost',
          cause: 'lost',
          startedAt: new Date(noon),
        });
        expect((await store.getTask(other.task.id))?.output).toMatch(/not been heard of for 60 seconds/);
        expect(await statistics()).toMatchObject([{ runs: 2, succeeded: 0 }]);
      });

      test('gives up attempts of a starter that is not even recorded', async () => {
        await running();
        await listenFor(minute);
        await harness.query('DELETE FROM starters');
        expect(await store.loseSilent(rule)).toBe(1);
      });

      test('gives starters their time again after nobody could listen', async () => {
        const claim = await running();
        await listenFor(30_000);
        now += 10 * minute; // the database was away, or all schedulers were
        expect(await listenFor(50_000)).toBe(0);
        expect((await store.getTask(claim.task.id))?.state).toBe('running');
        expect(await listenFor(20_000)).toBe(1);
      });

      test('does the same twice at once as once', async () => {
        for (let index = 0; index < 10; index += 1) await running();
        await listenFor(minute);
        now += 10_000;
        const counts = await Promise.all([store, replica, store].map((each) => each.loseSilent(rule)));
        expect(counts.reduce((sum, count) => sum + count) + (await store.loseSilent(rule))).toBe(10);
        expect(await statistics()).toMatchObject([{ runs: 10 }]);
      });

      test('has lost nothing when it fails midway', async () => {
        const ids = [await running(), await running()].map((claim) => claim.task.id);
        await listenFor(minute);
        now += 10_000;
        await harness.plantFailure('UPDATE', 'tasks', `NEW.id = ${ids[1]}`);
        await expect(store.loseSilent(rule)).rejects.toThrow('planted');
        await harness.query('DROP TRIGGER planted');
        expect(await store.countByState()).toMatchObject({ running: 2 });
        expect(await statistics()).toEqual([]);
        expect(await store.loseSilent(rule)).toBe(2);
      });
    });

    describe('the janitor that deletes old tasks', () => {
      const rule = { days: 30 };
      async function finished(): Promise<number> {
        const claim = await claimed();
        await store.finishAttempt(resultOf(claim));
        return claim.task.id;
      }

      test('has nothing to do: none is old enough, and what is not final never is', async () => {
        await finished();
        await running();
        await submit();
        now += 30 * day;
        await untouchedBy(async () => expect(await store.deleteOldTasks(rule)).toBe(0));
        now += 1;
        expect(await store.deleteOldTasks(rule)).toBe(1);
        expect(await store.countByState()).toEqual({ queued: 1, starting: 0, running: 1 });
      });

      test('deletes one together with its output; its statistics stay', async () => {
        const id = await finished();
        now += 31 * day;
        expect(await store.deleteOldTasks(rule)).toBe(1);
        expect(await store.getTask(id)).toBeUndefined();
        expect(await harness.query('SELECT * FROM task_outputs')).toEqual([]);
        expect(await statistics()).toHaveLength(1);
      });

      test('deletes the oldest first, a batch at once', async () => {
        const first = await finished();
        now += 1000;
        const second = await finished();
        now += 31 * day;
        expect(await store.deleteOldTasks({ ...rule, batch: 1 })).toBe(1);
        expect(await store.getTask(first)).toBeUndefined();
        expect(await store.getTask(second)).toBeDefined();
      });

      test('does the same twice at once as once', async () => {
        for (let index = 0; index < 10; index += 1) await finished();
        now += 31 * day;
        const counts = await Promise.all([store, replica, store].map((each) => each.deleteOldTasks(rule)));
        expect(counts.reduce((sum, count) => sum + count) + (await store.deleteOldTasks(rule))).toBe(10);
      });

      test('has deleted nothing, outputs neither, when it fails midway', async () => {
        const ids = [await finished(), await finished()];
        now += 31 * day;
        await withFailure(['DELETE', 'tasks', `OLD.id = ${ids[1]}`], () => store.deleteOldTasks(rule));
        expect(await store.deleteOldTasks(rule)).toBe(2);
      });
    });

    describe('the janitor that deletes old statistics', () => {
      const rule = { days: 90 };
      async function countedOn(owners: number): Promise<void> {
        for (let index = 0; index < owners; index += 1) {
          await store.finishAttempt(resultOf(await claimed({ owner: `owner-${index}` })));
        }
      }

      test('has nothing to do', async () => {
        await countedOn(1);
        now += 90 * day;
        await untouchedBy(async () => expect(await store.deleteOldStatistics(rule)).toBe(0));
      });

      test('deletes what is older, a batch at once', async () => {
        await countedOn(3);
        now += 91 * day;
        await aStarter();
        await countedOn(1);
        expect(await store.deleteOldStatistics({ ...rule, batch: 2 })).toBe(2);
        expect(await store.deleteOldStatistics({ ...rule, batch: 2 })).toBe(1);
        expect(await statistics()).toMatchObject([{ day: '2027-02-20' }]);
      });

      test('does the same twice at once as once', async () => {
        await countedOn(10);
        now += 91 * day;
        const counts = await Promise.all([store, replica].map((each) => each.deleteOldStatistics(rule)));
        expect(counts.reduce((sum, count) => sum + count) + (await store.deleteOldStatistics(rule))).toBe(10);
      });

      test('has deleted nothing when it fails midway', async () => {
        await countedOn(2);
        now += 91 * day;
        await withFailure(['DELETE', 'run_statistics', `OLD.owner = 'owner-1'`], () =>
          store.deleteOldStatistics(rule),
        );
        expect(await store.deleteOldStatistics(rule)).toBe(2);
      });
    });

    describe('the janitor that forgets silent starters', () => {
      const rule = { silentMs: hour };

      test('has nothing to do', async () => {
        await aStarter();
        now += hour;
        await untouchedBy(async () => expect(await store.forgetSilentStarters(rule)).toBe(0));
      });

      test('forgets one and keeps those that were heard of', async () => {
        await aStarter();
        now += hour + 1;
        const alive = await aStarter();
        expect(await store.forgetSilentStarters(rule)).toBe(1);
        expect((await store.listStarters()).map((starter) => starter.id)).toEqual([alive]);
      });

      test('does the same twice at once as once', async () => {
        for (let index = 0; index < 5; index += 1) await aStarter();
        now += hour + 1;
        const counts = await Promise.all([store, replica].map((each) => each.forgetSilentStarters(rule)));
        expect(counts.reduce((sum, count) => sum + count)).toBe(5);
      });

      test('has forgotten nothing when it fails midway', async () => {
        const ids = [await aStarter(), await aStarter()].sort();
        now += hour + 1;
        await withFailure(['DELETE', 'starters', `OLD.id = '${ids[1]}'`], () =>
          store.forgetSilentStarters(rule),
        );
        expect(await store.forgetSilentStarters(rule)).toBe(2);
      });
    });

    describe('figures', () => {
      test('count what is not final, and tell how long the oldest has been waiting', async () => {
        expect(await store.countByState()).toEqual({ queued: 0, starting: 0, running: 0 });
        expect(await store.oldestQueuedAgeMs()).toBeNull();
        await running();
        await claimed();
        await store.finishAttempt(resultOf(await claimed()));
        await submit();
        now += 5000;
        await submit({ priority: 9 });
        expect(await store.countByState()).toEqual({ queued: 2, starting: 1, running: 1 });
        expect(await store.oldestQueuedAgeMs()).toBe(5000);
      });

      test('a ping answers', async () => {
        await expect(store.ping()).resolves.toBeUndefined();
      });

      test('migrating again changes nothing', async () => {
        await submit();
        await untouchedBy(async () => {
          await store.migrate();
          await replica.migrate();
        });
      });
    });
  });
}
