/**
 * Counts finished runs per day, organisation, owner and base; always inside the transaction that finishes them, so
 * that a run is counted exactly when its end is.
 */
import type { Knex } from 'knex';
import { automationTrigger } from '../tasks/task.js';
import { statisticsColumns } from '../tasks/run-statistics.js';
import type { Database } from './database.js';
import type { Dialect } from './dialect.js';
import type { TaskRow } from './tasks.js';

export interface FinishedRun {
  task: Pick<TaskRow, 'owner' | 'org_id' | 'base_uuid' | 'triggered_by'>;
  /** The day it counts for: that of its first end, in the operator's time zone. */
  day: string;
  succeeded: boolean;
  /** 0: its script never ran, or nobody knows for how long; it is then not charged. */
  runTimeUs: number;
}

const key = ['day', 'org_id', 'owner', 'base_uuid'] as const;
const sums = statisticsColumns;

export async function countRuns(
  transaction: Knex,
  dialect: Dialect,
  runs: readonly FinishedRun[],
): Promise<void> {
  // In the key's order, so that two batches lock the same rows in the same order.
  const counted = runs
    .map((run) => ({ ...keyOf(run), ...sumsOf(run) }))
    .sort((a, b) => (textOf(a) < textOf(b) ? -1 : 1));
  for (const row of counted) {
    const columns = [...key, ...sums];
    await transaction.raw(
      `INSERT INTO run_statistics (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')}) ` +
        dialect.orAdd(key, sums),
      columns.map((column) => row[column]),
    );
  }
}

/** A run counted as lost has ended well or badly after all: it stays one run, on the day it was counted. */
export async function correctRun(transaction: Knex, run: FinishedRun): Promise<void> {
  const { success_count, charged_count, total_run_time_us } = sumsOf(run);
  await transaction('run_statistics')
    .where(keyOf(run))
    .increment({ success_count, charged_count, total_run_time_us });
}

function keyOf({ task, day }: FinishedRun) {
  return {
    day,
    org_id: task.org_id ?? -1,
    owner: task.owner,
    base_uuid: task.base_uuid,
  };
}

function sumsOf({ task, succeeded, runTimeUs }: FinishedRun) {
  const automatic = task.triggered_by === automationTrigger;
  return {
    run_count: 1,
    charged_count: runTimeUs > 0 ? 1 : 0,
    success_count: succeeded ? 1 : 0,
    manual_count: automatic ? 0 : 1,
    automation_count: automatic ? 1 : 0,
    total_run_time_us: runTimeUs,
  };
}

function textOf(row: ReturnType<typeof keyOf>): string {
  return JSON.stringify(key.map((column) => row[column]));
}

/** The day in the operator's zone on which, by the database's clock, it was now so many days ago. */
export async function dayAgo({ dialect, dayOf }: Database, knex: Knex, days: number): Promise<string> {
  const answer = await knex.raw('SELECT ? AS moment', [dialect.ago(days * 86_400_000)]);
  return dayOf(dialect.rows<{ moment: string }>(answer)[0]!.moment);
}
