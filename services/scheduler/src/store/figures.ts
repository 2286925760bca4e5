/** Figures for metrics and readiness. They read only the index entries of tasks that are not final. */
import { selectQueues } from './claim.js';
import { fromDatabaseTime } from './dialect.js';
import type { Database } from './database.js';

const openStates = ['queued', 'starting', 'running'] as const;

export async function countByState({ read }: Database): Promise<Record<(typeof openStates)[number], number>> {
  const rows = await read((knex) =>
    knex('tasks')
      .whereIn('state', openStates)
      .groupBy('state')
      .select<{ state: (typeof openStates)[number]; tasks: number }[]>(
        'state',
        knex.raw('COUNT(*) AS tasks'),
      ),
  );
  const counts = { queued: 0, starting: 0, running: 0 };
  for (const row of rows) counts[row.state] = row.tasks;
  return counts;
}

export async function oldestQueuedAgeMs({ read, dialect }: Database): Promise<number | null> {
  const row = await read((knex) =>
    knex('tasks')
      // By id and not by time, and among the heads of the queues: that reads one index entry per queue instead of
      // one row per queued task.
      .where('id', '=', knex.raw(`(SELECT MIN(oldest) FROM (${selectQueues}) AS queues)`))
      .first<{ created_at: string; now: string } | undefined>(
        'created_at',
        knex.raw('? AS now', [dialect.now()]),
      ),
  );
  return row
    ? Math.max(0, Number(fromDatabaseTime(row.now)) - Number(fromDatabaseTime(row.created_at)))
    : null;
}
