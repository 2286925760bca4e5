/**
 * Moves one attempt through the state machine. Each SQL guard names the states it may leave, read from the table of
 * moves, and the attempt; so a late or second report finds nothing to change (R5).
 */
import type { Knex } from 'knex';
import type { AttemptCause } from '@stadion/contracts';
import { mayMove, moves, type EndOf, type MoveName, type Outcome } from '../tasks/state-machine.js';
import type { Database } from './database.js';
import type { Dialect } from './dialect.js';
import { correctRun, countRuns, type FinishedRun } from './statistics.js';
import type { AttemptResult, TaskRefusal } from './store.js';
import { isTaskId, type TaskRow } from './tasks.js';

export async function releaseAttempt(
  database: Database,
  taskId: number,
  attemptId: string,
): Promise<Outcome> {
  return moveAttempt(database, 'release', taskId, attemptId, {
    state: 'queued',
    // The attempt is over: whatever is still reported of it is reported of nothing.
    attempt_id: null,
    starter_id: null,
    assigned_at: null,
  });
}

export async function beginAttempt(
  database: Database,
  taskId: number,
  attemptId: string,
  startedAt: Date | null,
): Promise<Outcome> {
  return moveAttempt(database, 'begin', taskId, attemptId, {
    state: 'running',
    started_at: database.dialect.startOf(startedAt),
  });
}

/** A move that is one UPDATE. */
async function moveAttempt(
  { write, read }: Database,
  move: MoveName,
  taskId: number,
  attemptId: string,
  change: Record<string, unknown>,
): Promise<Outcome> {
  if (!isTaskId(taskId)) return 'unknown_task';
  const moved = await write((knex) =>
    knex('tasks')
      .where({ id: taskId, attempt_id: attemptId })
      .whereIn('state', moves[move].from)
      .update(change),
  );
  if (moved === 1) return 'moved';
  const known = await read((knex) => knex('tasks').where({ id: taskId }).first('id'));
  return known ? 'wrong_state' : 'unknown_task';
}

export async function finishAttempt(database: Database, result: AttemptResult): Promise<Outcome> {
  return endAttempt(database, result.taskId, {
    isAllowed: (row) => row.attempt_id === result.attemptId && mayMove('finish', row.state, result.state),
    ...result,
  });
}

export async function loseAttempt(
  database: Database,
  { taskId, attemptId, reason }: { taskId: number; attemptId: string; reason: string },
): Promise<Outcome> {
  return endAttempt(database, taskId, {
    isAllowed: (row) => row.attempt_id === attemptId && mayMove('lose', row.state),
    ...lostEnd(reason),
  });
}

export async function refuseTask(database: Database, refusal: TaskRefusal): Promise<Outcome> {
  const { attemptId } = refusal;
  return endAttempt(database, refusal.taskId, {
    isAllowed: (row) =>
      mayMove('refuse', row.state) &&
      (attemptId === undefined ? row.state === 'queued' : row.attempt_id === attemptId),
    state: 'failed',
    returnCode: refusal.returnCode,
    output: refusal.output,
    cause: refusal.cause,
    spendTimeS: null,
    startedAt: null,
  });
}

/** How a task ends. */
export interface TaskEnd {
  state: EndOf<'finish' | 'lose' | 'expire' | 'refuse'>;
  returnCode: number | null;
  output: string | null;
  cause: AttemptCause;
  spendTimeS: number | null;
  startedAt: Date | null;
}

export function lostEnd(reason: string): TaskEnd {
  return {
    state: 'lost',
    returnCode: null,
    output: reason,
    cause: 'lost',
    spendTimeS: null,
    startedAt: null,
  };
}

async function endAttempt(
  database: Database,
  taskId: number,
  { isAllowed, ...end }: TaskEnd & { isAllowed: (row: EndingRow) => boolean },
): Promise<Outcome> {
  if (!isTaskId(taskId)) return 'unknown_task';
  const { dialect } = database;
  return database.transaction(async (transaction) => {
    const row = await dialect.locking(selectEnding(transaction, dialect).where({ id: taskId })).first();
    if (!row) return 'unknown_task';
    if (!isAllowed(row)) return 'wrong_state';
    const run = await endTask(transaction, database, row, end);
    if (row.finished_at === null) await countRuns(transaction, dialect, [run]);
    else await correctRun(transaction, run);
    return 'moved';
  });
}

/** What must be known of a task to end it, and the moment that decides. */
export type EndingRow = Pick<
  TaskRow,
  | 'id'
  | 'state'
  | 'attempt_id'
  | 'owner'
  | 'org_id'
  | 'base_uuid'
  | 'triggered_by'
  | 'started_at'
  | 'finished_at'
> & { counted_on: string | null; now: string };

export function selectEnding(transaction: Knex, dialect: Dialect) {
  return transaction<EndingRow>('tasks').select<EndingRow[]>(
    'id',
    'state',
    'attempt_id',
    'owner',
    'org_id',
    'base_uuid',
    'triggered_by',
    'started_at',
    'finished_at',
    'counted_on',
    transaction.raw('? AS now', [dialect.now()]),
  );
}

/** Writes the end of a task whose row is locked; what is then to be counted is the answer. */
export async function endTask(
  transaction: Knex,
  { dialect, dayOf }: Database,
  row: EndingRow,
  end: TaskEnd,
): Promise<FinishedRun> {
  // A lost run that ends after all stays on the day it was counted for.
  const day = row.counted_on ?? dayOf(row.finished_at ?? row.now);
  const runTimeUs = Math.round((end.spendTimeS ?? 0) * 1e6);
  await transaction('tasks')
    .where({ id: row.id, state: row.state })
    .update({
      state: end.state,
      return_code: end.returnCode,
      cause: end.cause,
      finished_at: row.now,
      api_token: null,
      counted_on: day,
      run_time_us: runTimeUs,
      ...(row.started_at === null && end.startedAt ? { started_at: dialect.startOf(end.startedAt) } : {}),
    });
  await saveOutput(transaction, row.id, end.output);
  return { task: row, day, succeeded: end.state === 'succeeded', runTimeUs };
}

async function saveOutput(transaction: Knex, taskId: number, output: string | null): Promise<void> {
  if (output === null) await transaction('task_outputs').where({ task_id: taskId }).delete();
  else await transaction('task_outputs').insert({ task_id: taskId, output }).onConflict('task_id').merge();
}
