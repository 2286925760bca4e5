/**
 * What every store must do about the history of runs, their statistics and monthly limits, whatever database it is on:
 * run by `store.sqlite.test.ts` and `store.mariadb.integration.test.ts`.
 */
import { randomUUID } from 'node:crypto';
import type { RunTotalsQuery } from '../tasks/run-statistics.js';
import type { NewTask } from '../tasks/task.js';
import type { Clock } from './dialect.js';
import type { StoreHarness } from './store-contract.js';
import type { AttemptResult, Claim, Store } from './store.js';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const noon = Date.UTC(2026, 10, 21, 12);
const tables = ['tasks', 'task_outputs', 'starters', 'run_statistics', 'limit_months'];
const base = '5c264e76-0e5a-448a-9f34-580b551364ca';
const bareBase = base.replaceAll('-', '');
const month = '2026-11';
const firstPage = { offset: 0, limit: 100 };
const kept = { keepTasksDays: 30, keepStatisticsDays: 90 };

export function describeHistoryContract(
  name: string,
  openHarness: (clock: Clock) => Promise<StoreHarness>,
): void {
  describe(`history, statistics and limits on ${name}`, () => {
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

    const aTask = (part: Partial<NewTask> = {}): NewTask => ({
      owner: 'alice@example.com',
      orgId: null,
      baseUuid: base,
      scriptName: 'hello.py',
      trigger: 'manualy',
      ...part,
    });

    async function claimAll(): Promise<Claim[]> {
      await store.recordStarter(
        {
          starter_id: randomUUID(),
          version: '0.1.0',
          executor: 'docker',
          isolation: 'container',
          url: `http://127.0.0.1:8080/${randomUUID()}`,
          slots: 1000,
          busy: 0,
          draining: false,
          attempts: [],
        },
        { configured: false },
      );
      return store.claimForStarters({ limit: 200, liveWithinMs: minute });
    }

    async function claimed(part: Partial<NewTask> = {}): Promise<Claim> {
      const id = await store.submitTask(aTask(part));
      const claim = (await claimAll()).find((each) => each.task.id === id);
      if (!claim) throw new Error('the task was not claimed');
      return claim;
    }

    const resultOf = (claim: Claim, part: Partial<AttemptResult> = {}): AttemptResult => ({
      taskId: claim.task.id,
      attemptId: claim.attemptId,
      state: 'succeeded',
      returnCode: 0,
      output: 'hello\n',
      cause: 'exit',
      spendTimeS: 1.5,
      startedAt: null,
      ...part,
    });

    async function finished(
      part: Partial<NewTask> = {},
      result: Partial<AttemptResult> = {},
      by: Store = store,
    ): Promise<number> {
      const claim = await claimed(part);
      expect(await by.finishAttempt(resultOf(claim, result))).toBe('moved');
      return claim.task.id;
    }

    const neverStarted = {
      state: 'failed',
      returnCode: null,
      output: 'Fail to get script',
      cause: 'script_unavailable',
      spendTimeS: null,
    } as const;

    describe('the log of a script', () => {
      const log = (part: Partial<Parameters<Store['listRunsOfScript']>[0]> = {}, page = firstPage) =>
        store.listRunsOfScript({ baseUuid: base, scriptName: 'hello.py', newestFirst: true, ...part }, page);

      test('holds its runs in order, and no others', async () => {
        const first = await finished();
        const second = await store.submitTask(aTask({ context: { a: 1 } }));
        await store.submitTask(aTask({ scriptName: 'Hello.py' }));
        await store.submitTask(aTask({ scriptName: 'hello.py ' }));
        await store.submitTask(aTask({ baseUuid: 'another' }));
        expect(await log()).toEqual({ count: 2, items: [second, first] });
        expect(await log({ newestFirst: false })).toEqual({ count: 2, items: [first, second] });
      });

      test('finds a base whichever way its UUID is written, each run once', async () => {
        const ids: number[] = [];
        for (const baseUuid of [base, bareBase, base]) ids.push(await store.submitTask(aTask({ baseUuid })));
        for (const baseUuid of [base, bareBase, base.toUpperCase()]) {
          const { count, items } = await log({ baseUuid });
          expect([count, items]).toEqual([3, [...ids].reverse()]);
        }
      });

      test('comes in pages, which together hold each run once', async () => {
        const ids: number[] = [];
        for (let index = 0; index < 7; index += 1) {
          ids.push(await store.submitTask(aTask({ baseUuid: index % 2 ? base : bareBase })));
        }
        const pages: number[] = [];
        for (const offset of [0, 3, 6, 9]) {
          const { count, items } = await log({}, { offset, limit: 3 });
          expect(count).toBe(7);
          pages.push(...items);
        }
        expect(pages).toEqual([...ids].reverse());
        expect(await log({}, { offset: 0, limit: 0 })).toEqual({ count: 7, items: [] });
        expect((await log({}, { offset: 1e12, limit: 1000 })).items).toEqual([]);
      });

      test('is empty for a script that never ran, and takes any name', async () => {
        for (const scriptName of ['', `'; DROP TABLE tasks; --`, 'a/b.py', '🏟.py', 'nul\0.py']) {
          const id = scriptName === '' ? undefined : await store.submitTask(aTask({ scriptName }));
          const { items } = await log({ scriptName });
          expect(items).toEqual(id === undefined ? [] : [id]);
        }
      });
    });

    describe('the list of all runs', () => {
      test('is filtered by organisation, base and time, newest first, without what is long or secret', async () => {
        const first = await store.submitTask(aTask({ orgId: 7, apiToken: 'secret', context: { a: 1 } }));
        now += hour;
        const second = await store.submitTask(aTask({ orgId: 7, baseUuid: bareBase }));
        const third = await store.submitTask(aTask({ baseUuid: 'another' }));
        const ids = async (filter: Parameters<Store['listRuns']>[0]) => {
          const { count, items } = await store.listRuns(filter, firstPage);
          expect(count).toBe(items.length);
          return items.map((run) => run.id);
        };
        expect(await ids({})).toEqual([third, second, first]);
        expect(await ids({ orgId: 7 })).toEqual([second, first]);
        expect(await ids({ orgId: null })).toEqual([third]);
        expect(await ids({ orgId: 8 })).toEqual([]);
        expect(await ids({ baseUuid: base })).toEqual([second, first]);
        expect(await ids({ from: new Date(noon + 1) })).toEqual([third, second]);
        expect(await ids({ from: new Date(noon), until: new Date(noon + hour) })).toEqual([first]);
        expect(await ids({ orgId: 7, baseUuid: base, from: new Date(noon + hour) })).toEqual([second]);
        const page = await store.listRuns({}, { offset: 1, limit: 1 });
        expect([page.count, page.items.map((run) => run.id)]).toEqual([3, [second]]);
        expect(JSON.stringify(await store.listRuns({}, firstPage))).not.toMatch(/secret|context|output/);
      });
    });

    describe('what a run is counted as', () => {
      const totals = async (query: Partial<RunTotalsQuery> = {}) =>
        (await store.runTotals({ by: 'base', orgId: null, ...firstPage, ...query })).items;

      test('a run that never started is a run, and is charged to nobody', async () => {
        await finished();
        await finished({}, neverStarted);
        await finished({}, { ...neverStarted, spendTimeS: 0 });
        const taskId = await store.submitTask(aTask());
        await store.refuseTask({ taskId, output: 'Failed', returnCode: -1, cause: 'script_unavailable' });
        expect(await store.countChargedRuns({ owner: 'alice@example.com' }, month)).toBe(1);
        expect(await totals()).toEqual([
          {
            of: base,
            runCount: 4,
            successCount: 1,
            manualCount: 4,
            automationCount: 0,
            runTimeUs: 1_500_000,
          },
        ]);
      });

      test('a failed run that spent time is charged', async () => {
        await finished({}, { state: 'failed', returnCode: 1, spendTimeS: 0.000_001 });
        await finished({}, { state: 'timed_out', returnCode: -1, cause: 'time_limit', spendTimeS: 900 });
        expect(await store.countChargedRuns({ owner: 'alice@example.com' }, month)).toBe(2);
      });

      test('a lost run is charged once its true result comes, on the day it was counted', async () => {
        now = Date.UTC(2026, 10, 30, 23, 59);
        const claim = await claimed();
        await store.loseAttempt({ taskId: claim.task.id, attemptId: claim.attemptId, reason: 'gone' });
        expect(await store.countChargedRuns({ owner: 'alice@example.com' }, month)).toBe(0);
        now += 2 * minute;
        await store.finishAttempt(resultOf(claim));
        expect(await store.countChargedRuns({ owner: 'alice@example.com' }, month)).toBe(1);
        expect(await store.countChargedRuns({ owner: 'alice@example.com' }, '2026-12')).toBe(0);
        expect(await totals({ by: 'day' })).toMatchObject([
          { of: '2026-11-30', runCount: 1, successCount: 1, runTimeUs: 1_500_000 },
        ]);
        expect((await store.findStatisticsDifferences(kept)).differences).toEqual([]);
      });

      test("the day and the month are those of the operator's time zone", async () => {
        const [honolulu, kiritimati] = await Promise.all(
          ['Pacific/Honolulu', 'Pacific/Kiritimati'].map((zone) => harness.openIn(zone)),
        );
        try {
          now = Date.UTC(2026, 11, 1, 0, 30);
          expect([await honolulu!.today(), await store.today(), await kiritimati!.today()]).toEqual([
            '2026-11-30',
            '2026-12-01',
            '2026-12-01',
          ]);
          await finished({ owner: 'west' }, {}, honolulu);
          await finished({ owner: 'east' }, {}, kiritimati);
          expect(await store.countChargedRuns({ owner: 'west' }, '2026-11')).toBe(1);
          expect(await store.countChargedRuns({ owner: 'east' }, '2026-12')).toBe(1);
          expect((await store.findStatisticsDifferences(kept)).differences).toEqual([]);
        } finally {
          await honolulu?.close();
          await kiritimati?.close();
        }
      });
    });

    describe('monthly totals', () => {
      const monthly = async (part: Partial<Parameters<Store['monthlyTotals']>[0]> = {}) =>
        store.monthlyTotals({ by: 'user', month, orderBy: 'count', descending: true, ...firstPage, ...part });

      beforeEach(async () => {
        await finished({ owner: 'alice' }, { spendTimeS: 1 });
        await finished({ owner: 'alice', baseUuid: 'b2' }, { spendTimeS: 1 });
        await finished({ owner: 'bob' }, { spendTimeS: 9 });
        await finished({ owner: 'carol' }, neverStarted);
        await finished({ owner: 'team@seafile_group' }, { spendTimeS: 5 });
        await finished({ owner: 'dave', orgId: 7 }, { spendTimeS: 2 });
        await finished({ owner: 'team@seafile_group', orgId: 8 }, { spendTimeS: 3 });
        now += 20 * day;
        await finished({ owner: 'bob' });
        now = noon;
      });

      test('by user leave out members of organisations, groups, other months, and who was charged nothing', async () => {
        expect(await monthly()).toEqual({
          count: 2,
          items: [
            { of: 'alice', chargedCount: 2, runTimeUs: 2_000_000 },
            { of: 'bob', chargedCount: 1, runTimeUs: 9_000_000 },
          ],
        });
      });

      test('by organisation and by base count everybody who belongs there', async () => {
        expect((await monthly({ by: 'org' })).items).toEqual([
          { of: 7, chargedCount: 1, runTimeUs: 2_000_000 },
          { of: 8, chargedCount: 1, runTimeUs: 3_000_000 },
        ]);
        expect((await monthly({ by: 'base' })).items).toEqual([
          { of: base, chargedCount: 5, runTimeUs: 20_000_000 },
          { of: 'b2', chargedCount: 1, runTimeUs: 1_000_000 },
        ]);
      });

      test('are ordered by count or time, up or down, and paged', async () => {
        const users = async (part: Parameters<typeof monthly>[0]) =>
          (await monthly(part)).items.map((item) => item.of);
        expect(await users({ descending: false })).toEqual(['bob', 'alice']);
        expect(await users({ orderBy: 'time' })).toEqual(['bob', 'alice']);
        expect(await users({ orderBy: 'time', descending: false })).toEqual(['alice', 'bob']);
        expect(await monthly({ offset: 1, limit: 1 })).toMatchObject({ count: 2, items: [{ of: 'bob' }] });
        expect(await monthly({ offset: 5 })).toEqual({ count: 2, items: [] });
        expect(await monthly({ month: '2020-01' })).toEqual({ count: 0, items: [] });
      });
    });

    test('totals of an organisation are given by base and by day, within the days asked for', async () => {
      await finished({ orgId: 7 });
      await finished({ orgId: 7, trigger: 'automation-rule' }, { state: 'failed', returnCode: 1 });
      await finished({ orgId: 7, baseUuid: 'b2' });
      await finished({ orgId: 8 });
      now += day;
      await finished({ orgId: 7, baseUuid: 'b2', owner: 'bob' }, neverStarted);
      await finished({ orgId: 7, baseUuid: 'b2', owner: 'bob' });
      const totals = async (query: Partial<RunTotalsQuery>) => {
        const { count, items } = await store.runTotals({ by: 'base', orgId: 7, ...firstPage, ...query });
        expect(count).toBe(items.length);
        return items.map((item) => [
          item.of,
          item.runCount,
          item.successCount,
          item.manualCount,
          item.automationCount,
          item.runTimeUs,
        ]);
      };
      expect(await totals({})).toEqual([
        ['b2', 3, 2, 3, 0, 3_000_000],
        [base, 2, 1, 1, 1, 3_000_000],
      ]);
      expect(await totals({ by: 'day' })).toEqual([
        ['2026-11-21', 3, 2, 2, 1, 4_500_000],
        ['2026-11-22', 2, 1, 2, 0, 1_500_000],
      ]);
      expect(await totals({ by: 'day', baseUuid: base })).toEqual([['2026-11-21', 2, 1, 1, 1, 3_000_000]]);
      expect(await totals({ by: 'day', fromDay: '2026-11-22' })).toHaveLength(1);
      expect(await totals({ by: 'day', toDay: '2026-11-21' })).toHaveLength(1);
      expect(await totals({ fromDay: '2026-11-23' })).toEqual([]);
    });

    describe('a monthly limit', () => {
      const submit = (limit: number, part: Partial<NewTask> = {}, by: Store = store) =>
        by.submitWithinLimit(aTask(part), limit);

      test('lets so many runs be, and refuses the next', async () => {
        for (let index = 0; index < 3; index += 1) expect(await submit(3)).toEqual(expect.any(Number));
        expect(await submit(3)).toBe('limit_exceeded');
        expect(await store.countByState()).toMatchObject({ queued: 3 });
        expect(await submit(4)).toEqual(expect.any(Number));
        expect(await submit(0, { owner: 'bob' })).toBe('limit_exceeded');
      });

      test('counts runs that are over, under way and waiting, each once', async () => {
        await finished();
        await finished();
        await claimed();
        expect(await submit(4)).toEqual(expect.any(Number));
        expect(await submit(4)).toBe('limit_exceeded');
      });

      test('is given back a run that was not charged', async () => {
        const id = (await submit(1)) as number;
        expect(await submit(1)).toBe('limit_exceeded');
        await store.refuseTask({ taskId: id, output: 'Failed', returnCode: -1, cause: 'script_unavailable' });
        expect(await submit(1)).toEqual(expect.any(Number));
      });

      test('begins anew with the month', async () => {
        now = Date.UTC(2026, 10, 30, 23, 59);
        await finished();
        expect(await submit(1)).toBe('limit_exceeded');
        now += 2 * minute;
        expect(await submit(1)).toEqual(expect.any(Number));
      });

      test("is an organisation's as a whole, and a user's where there is none", async () => {
        await finished({ orgId: 7, owner: 'alice' });
        expect(await submit(1, { orgId: 7, owner: 'bob' })).toBe('limit_exceeded');
        expect(await submit(1, { orgId: 8, owner: 'alice' })).toEqual(expect.any(Number));
        expect(await submit(1, { owner: 'alice' })).toEqual(expect.any(Number));
        expect(await submit(1, { owner: 'Alice' })).toEqual(expect.any(Number));
      });

      test('does not hold for a group without an organisation', async () => {
        const owner = 'team@seafile_group';
        for (let index = 0; index < 3; index += 1)
          expect(await submit(1, { owner })).toEqual(expect.any(Number));
        expect(await submit(1, { owner, orgId: 7 })).toEqual(expect.any(Number));
        expect(await submit(1, { owner, orgId: 7 })).toBe('limit_exceeded');
      });

      test('holds against a burst at two replicas, while runs end', async () => {
        const ending = [await claimed(), await claimed(), await claimed()];
        const outcomes = await Promise.all([
          ...Array.from({ length: 30 }, (_, index) => submit(10, {}, index % 2 ? store : replica)),
          ...ending.map((claim) => replica.finishAttempt(resultOf(claim))),
        ]);
        expect(outcomes.filter((outcome) => typeof outcome === 'number')).toHaveLength(7);
        expect(outcomes.filter((outcome) => outcome === 'limit_exceeded')).toHaveLength(23);
      });

      test('that cannot be checked to the end records nothing', async () => {
        await harness.plantFailure('INSERT', 'tasks', '1 = 1');
        await expect(submit(1)).rejects.toThrow('planted');
        await harness.query('DROP TRIGGER planted');
        expect(await harness.query('SELECT * FROM limit_months')).toEqual([]);
        expect(await submit(1)).toEqual(expect.any(Number));
      });
    });

    describe('the news of an exceeded limit', () => {
      const rule = { retryMs: minute };
      const exceed = (part: Partial<NewTask> = {}, by: Store = store) => by.submitWithinLimit(aTask(part), 0);

      test('does not come when nothing was refused', async () => {
        await store.submitWithinLimit(aTask(), 1);
        expect(await store.claimExceeded(rule)).toEqual([]);
      });

      test('comes once for each organisation or user and month', async () => {
        await exceed({ owner: 'alice' });
        await exceed({ owner: 'alice' }, replica);
        await exceed({ owner: 'bob', orgId: 7 });
        await exceed({ owner: 'carol', orgId: 7 }, replica);
        const claims = await store.claimExceeded(rule);
        expect(claims).toHaveLength(2);
        expect(claims).toEqual(
          expect.arrayContaining([
            { payer: { owner: 'alice' }, month },
            { payer: { orgId: 7 }, month },
          ]),
        );
        expect(await replica.claimExceeded(rule)).toEqual([]);
        await store.settleExceeded(claims);
        await exceed({ owner: 'alice' });
        now += hour;
        expect(await store.claimExceeded(rule)).toEqual([]);
        now += 10 * day;
        await exceed({ owner: 'alice' });
        expect(await store.claimExceeded(rule)).toEqual([{ payer: { owner: 'alice' }, month: '2026-12' }]);
      });

      test('comes again when it was not settled in time', async () => {
        await exceed();
        expect(await store.claimExceeded(rule)).toHaveLength(1);
        now += minute - 1;
        expect(await replica.claimExceeded(rule)).toEqual([]);
        now += 1;
        expect(await replica.claimExceeded(rule)).toHaveLength(1);
      });

      test('is given to one of two who ask at once', async () => {
        for (let index = 0; index < 10; index += 1) await exceed({ owner: `owner-${index}` });
        const claims = (
          await Promise.all([store, replica, store].map((each) => each.claimExceeded(rule)))
        ).flat();
        expect(new Set(claims.map((claim) => JSON.stringify(claim))).size).toBe(claims.length);
        expect([...claims, ...(await store.claimExceeded(rule))]).toHaveLength(10);
      });

      test('is given to nobody when the claim fails midway', async () => {
        for (const owner of ['alice', 'bob']) await exceed({ owner });
        await harness.plantFailure('UPDATE', 'limit_months', `NEW.fair_key = 'owner:bob'`);
        await expect(store.claimExceeded(rule)).rejects.toThrow('planted');
        await harness.query('DROP TRIGGER planted');
        expect(await store.claimExceeded(rule)).toHaveLength(2);
      });

      test('is forgotten with the month, once that is old enough', async () => {
        await exceed();
        now = Date.UTC(2027, 1, 28);
        expect(await store.deleteOldLimitMonths({ days: 90 })).toBe(0);
        now = Date.UTC(2027, 2, 2);
        expect(await store.deleteOldLimitMonths({ days: 90 })).toBe(1);
        expect(await store.deleteOldLimitMonths({ days: 90 })).toBe(0);
      });
    });

    describe('recounting the statistics', () => {
      const differences = async () => (await store.findStatisticsDifferences(kept)).differences;

      beforeEach(async () => {
        await finished();
        await finished({ orgId: 7, trigger: 'automation-rule' }, { state: 'failed', returnCode: 1 });
        await finished({}, neverStarted);
        const claim = await claimed();
        await store.beginAttempt(claim.task.id, claim.attemptId, null);
        now += hour;
        await store.expireOverdue({ timeLimitMs: minute, graceMs: 0, startGraceMs: 0 });
      });

      test('finds nothing where nothing is wrong, with runs of every kind', async () => {
        await claimed();
        await store.submitTask(aTask());
        expect(await differences()).toEqual([]);
      });

      test.each([
        [
          'a run counted twice',
          `UPDATE run_statistics SET run_count = run_count + 1 WHERE org_id = -1`,
          'run_count',
        ],
        [
          'a charge too many',
          `UPDATE run_statistics SET charged_count = charged_count + 1 WHERE org_id = 7`,
          'charged_count',
        ],
        [
          'a microsecond too few',
          `UPDATE run_statistics SET total_run_time_us = total_run_time_us - 1 WHERE org_id = 7`,
          'total_run_time_us',
        ],
        ['a row that is missing', `DELETE FROM run_statistics WHERE org_id = 7`, 'automation_count'],
        ['a run that is missing', `DELETE FROM tasks WHERE org_id = 7`, 'automation_count'],
      ] as const)('finds %s', async (_what, sql, column) => {
        await harness.query(sql);
        const [difference, ...others] = await differences();
        expect(others).toEqual([]);
        const { counted, recounted } = difference!;
        expect(counted[column]).not.toBe(recounted[column]);
        expect(difference).toMatchObject({ day: '2026-11-21', owner: 'alice@example.com', baseUuid: base });
      });

      test('leaves days alone of which tasks may be gone', async () => {
        now += 30 * day;
        await store.deleteOldTasks({ days: 30, batch: 1 });
        expect(await store.findStatisticsDifferences(kept)).toEqual({
          fromDay: '2026-11-22',
          differences: [],
        });
      });
    });
  });
}
