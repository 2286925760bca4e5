/**
 * Proves that the run statistics agree with the history: recounts every day of which all tasks are still kept, and
 * lists what differs.
 */
import type { Store } from './store/store.js';
import { statisticsColumns, type StatisticsDifference } from './tasks/run-statistics.js';

export interface CheckStatisticsOptions {
  store: Pick<Store, 'findStatisticsDifferences'>;
  keepTasksDays: number;
  keepStatisticsDays: number;
  print(line: string): void;
}

/** Answers whether they agree. */
export async function checkStatistics({ store, print, ...kept }: CheckStatisticsOptions): Promise<boolean> {
  const { fromDay, differences } = await store.findStatisticsDifferences(kept);
  if (differences.length === 0) {
    print(`The statistics agree with the history, from ${fromDay} on.`);
    return true;
  }
  print(`The statistics differ from the history, from ${fromDay} on:`);
  for (const difference of differences) print(describe(difference));
  print(`${differences.length} ${differences.length === 1 ? 'difference' : 'differences'}.`);
  return false;
}

function describe({ day, orgId, owner, baseUuid, counted, recounted }: StatisticsDifference): string {
  const whose = `${day} org_id=${orgId} owner=${JSON.stringify(owner)} base=${JSON.stringify(baseUuid)}`;
  const wrong = statisticsColumns
    .filter((column) => counted[column] !== recounted[column])
    .map((column) => `${column} is ${counted[column]}, the history says ${recounted[column]}`);
  return `  ${whose}: ${wrong.join('; ')}`;
}
