/**
 * Counts finished runs per day, organisation, owner and base; always inside the transaction that finishes them, so
 * that a run is counted exactly when its end is.
 */
import type { Knex } from 'knex';
import { automationTrigger } from '../tasks/task.js';
import type { Dialect } from './dialect.js';
import type { TaskRow } from './tasks.js';

export interface FinishedRun {
  task: Pick<TaskRow, 'owner' | 'org_id' | 'base_uuid' | 'triggered_by'>;
  /** When it was first finished, as the database writes it; its day (UTC) is the one it counts for. */
  finishedAt: string;
  succeeded: boolean;
  runTimeUs: number;
}

const key = ['day', 'org_id', 'owner', 'base_uuid'] as const;
const sums = ['run_count', 'success_count', 'manual_count', 'automation_count', 'total_run_time_us'] as const;

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
  await transaction('run_statistics')
    .where(keyOf(run))
    .increment({ success_count: run.succeeded ? 1 : 0, total_run_time_us: run.runTimeUs });
}

function keyOf({ task, finishedAt }: FinishedRun) {
  return {
    day: finishedAt.slice(0, 10),
    org_id: task.org_id ?? -1,
    owner: task.owner,
    base_uuid: task.base_uuid,
  };
}

function sumsOf({ task, succeeded, runTimeUs }: FinishedRun) {
  const automatic = task.triggered_by === automationTrigger;
  return {
    run_count: 1,
    success_count: succeeded ? 1 : 0,
    manual_count: automatic ? 0 : 1,
    automation_count: automatic ? 1 : 0,
    total_run_time_us: runTimeUs,
  };
}

function textOf(row: ReturnType<typeof keyOf>): string {
  return JSON.stringify(key.map((column) => row[column]));
}
