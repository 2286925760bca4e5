/**
 * The janitor: several small periodic tasks, split by deed. Each is idempotent and works in small batches, so that
 * two replicas may run it at once and nobody waits for a long lock.
 */
import type { PeriodicTask } from '@stadion/service-kit';
import type { Store } from '../store/store.js';

export interface JanitorOptions {
  store: Pick<
    Store,
    | 'expireOverdue'
    | 'loseSilent'
    | 'deleteOldTasks'
    | 'deleteOldStatistics'
    | 'deleteOldLimitMonths'
    | 'forgetSilentStarters'
  >;
  timeLimitS: number;
  overdueGraceS: number;
  starterLostS: number;
  keepTasksDays: number;
  keepStatisticsDays: number;
}

const batchSize = 500;
/** Batches in one pass at most; what is left waits for the next pass. */
const maxBatches = 200;
const dayMs = 86_400_000;
/** How long an attempt may take to start: waiting for a slot, asking the host application, downloading the script. */
const startGraceMs = 600_000;

export function janitorTasks(options: JanitorOptions): PeriodicTask[] {
  const { store } = options;
  return [
    {
      name: 'expire-overdue-attempts',
      cron: '*/5 * * * * *',
      behindAfterMs: 60_000,
      runOnce: async () => ({
        expired: await store.expireOverdue({
          timeLimitMs: options.timeLimitS * 1_000,
          graceMs: options.overdueGraceS * 1_000,
          startGraceMs,
          listenedMs: options.starterLostS * 1_000,
          batch: batchSize,
        }),
      }),
    },
    {
      name: 'rescue-lost-attempts',
      cron: '*/5 * * * * *',
      behindAfterMs: 60_000,
      runOnce: async () => ({
        lost: await store.loseSilent({ silentMs: options.starterLostS * 1_000, batch: batchSize }),
      }),
    },
    {
      name: 'forget-silent-starters',
      cron: '20 */10 * * * *',
      behindAfterMs: 3_600_000,
      runOnce: async () => ({ forgotten: await store.forgetSilentStarters({ silentMs: dayMs }) }),
    },
    {
      name: 'delete-expired-tasks',
      cron: '30 */10 * * * *',
      behindAfterMs: 6 * 3_600_000,
      runOnce: async (signal) => ({
        deleted: await inBatches(signal, () =>
          store.deleteOldTasks({ days: options.keepTasksDays, batch: batchSize }),
        ),
      }),
    },
    {
      name: 'delete-old-statistics',
      cron: '40 */30 * * * *',
      behindAfterMs: 6 * 3_600_000,
      runOnce: async (signal) => ({
        deleted: await inBatches(signal, () =>
          store.deleteOldStatistics({
            days: options.keepStatisticsDays,
            batch: batchSize,
          }),
        ),
      }),
    },
    {
      name: 'delete-old-limit-months',
      cron: '50 15 * * * *',
      behindAfterMs: 6 * 3_600_000,
      runOnce: async () => ({
        deleted: await store.deleteOldLimitMonths({ days: options.keepStatisticsDays }),
      }),
    },
  ];
}

/** Repeats a batch until it finds nothing more; answers how much it did in all. */
async function inBatches(signal: AbortSignal, batch: () => Promise<number>): Promise<number> {
  let total = 0;
  for (let round = 0; round < maxBatches && !signal.aborted; round += 1) {
    const count = await batch();
    total += count;
    if (count === 0) break;
  }
  return total;
}
