import { checkStatistics } from './check-statistics.js';
import { startSchedulerHarness, type SchedulerHarness } from './testing/scheduler-harness.js';

describe('checking the statistics', () => {
  let scheduler: SchedulerHarness;
  beforeEach(async () => {
    scheduler = await startSchedulerHarness();
  });
  afterEach(() => scheduler.stop());

  async function check(store: Pick<SchedulerHarness['store'], 'findStatisticsDifferences'>) {
    const lines: string[] = [];
    const kept = { keepTasksDays: 30, keepStatisticsDays: 90 };
    const agree = await checkStatistics({ store, ...kept, print: (line) => void lines.push(line) });
    return { agree, lines };
  }

  it('says since when they agree', async () => {
    await scheduler.finished();
    expect(await check(scheduler.store)).toEqual({
      agree: true,
      lines: ['The statistics agree with the history, from 2026-10-23 on.'],
    });
  });

  it('says of each difference whose it is and what is wrong', async () => {
    const sums = {
      run_count: 2,
      charged_count: 2,
      success_count: 1,
      manual_count: 2,
      automation_count: 0,
      total_run_time_us: 5,
    };
    const difference = {
      day: '2026-11-21',
      orgId: 7,
      owner: 'a "b"',
      baseUuid: 'b',
      counted: sums,
      recounted: { ...sums, run_count: 1, total_run_time_us: 4 },
    };
    const findStatisticsDifferences = () =>
      Promise.resolve({ fromDay: '2026-11-01', differences: [difference] });
    expect(await check({ findStatisticsDifferences })).toEqual({
      agree: false,
      lines: [
        'The statistics differ from the history, from 2026-11-01 on:',
        '  2026-11-21 org_id=7 owner="a \\"b\\"" base="b": run_count is 2, the history says 1; total_run_time_us is 5, the history says 4',
        '1 difference.',
      ],
    });
  });
});
