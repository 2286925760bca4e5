/**
 * The periodic deeds, one batch a call. Each looks for its rows, takes those that are free (another replica may have
 * the others) and does all of it or nothing, so the next call is the retry.
 */
import type { Knex } from 'knex';
import { fixedOutput } from '@stadion/contracts';
import { moves } from '../tasks/state-machine.js';
import type { Database } from './database.js';
import { fromDatabaseTime } from './dialect.js';
import { endTask, lostEnd, selectEnding, type EndingRow, type TaskEnd } from './moves.js';
import { countRuns, dayAgo, type FinishedRun } from './statistics.js';

const usualBatch = 200;
const dayMs = 86_400_000;

export async function expireOverdue(
  database: Database,
  {
    timeLimitMs,
    graceMs,
    startGraceMs,
    listenedMs = 0,
    batch = usualBatch,
  }: {
    timeLimitMs: number;
    graceMs: number;
    startGraceMs: number;
    listenedMs?: number;
    batch?: number;
  },
): Promise<number> {
  const { dialect } = database;
  if (listenedMs > 0 && !(await haveListenedFor(database, listenedMs))) return 0;
  const overdueMs = timeLimitMs + graceMs;
  const isOverdue = (query: Knex.QueryBuilder) =>
    query
      .whereIn('state', moves.expire.from)
      .where((either) =>
        either
          .where('started_at', '<', dialect.ago(overdueMs))
          .orWhere((unheard) =>
            unheard.whereNull('started_at').where('assigned_at', '<', dialect.ago(overdueMs + startGraceMs)),
          ),
      );
  const candidates = await database.read(
    (knex) => isOverdue(knex('tasks')).orderBy('id').limit(batch).pluck('id') as Promise<number[]>,
  );
  return endAll(database, candidates, isOverdue, (row) => ({
    state: 'timed_out',
    returnCode: -1,
    output:
      row.started_at === null
        ? `${fixedOutput.timeLimit}\nThe starter never told whether the script started.`
        : `${fixedOutput.timeLimit}\nIts starter did not end it, or could not tell; what it had printed is not known.`,
    cause: 'time_limit',
    spendTimeS:
      row.started_at === null
        ? null
        : Math.min(
            timeLimitMs,
            Number(fromDatabaseTime(row.now)) - Number(fromDatabaseTime(row.started_at)),
          ) / 1000,
    startedAt: null,
  }));
}

export async function loseSilent(
  database: Database,
  { silentMs, batch = usualBatch }: { silentMs: number; batch?: number },
): Promise<number> {
  const { dialect } = database;
  if (!(await haveListenedFor(database, silentMs))) return 0;
  const candidates = await database.read(
    (knex) =>
      knex('tasks')
        .leftJoin('starters', 'starters.id', 'tasks.starter_id')
        .whereIn('tasks.state', moves.lose.from)
        .where((either) =>
          either.whereNull('starters.id').orWhere('starters.last_seen_at', '<', dialect.ago(silentMs)),
        )
        .orderBy('tasks.id')
        .limit(batch)
        .pluck('tasks.id') as Promise<number[]>,
  );
  const isStillSilent = (query: Knex.QueryBuilder) =>
    query
      .whereIn('state', moves.lose.from)
      .whereNotIn('starter_id', (heard) =>
        heard.from('starters').where('last_seen_at', '>=', dialect.ago(silentMs)).select('id'),
      );
  const reason =
    `The starter that had this run has not been heard of for ${Math.round(silentMs / 1000)} seconds; ` +
    'it is not known whether the script ended.';
  return endAll(database, candidates, isStillSilent, () => lostEnd(reason));
}

/** Ends those of the candidates that still are what they were found for. */
async function endAll(
  database: Database,
  candidates: readonly number[],
  still: (query: Knex.QueryBuilder) => Knex.QueryBuilder,
  endOf: (row: EndingRow) => TaskEnd,
): Promise<number> {
  if (candidates.length === 0) return 0;
  const { dialect } = database;
  return database.transaction(async (transaction) => {
    const query = selectEnding(transaction, dialect).whereIn('id', candidates).orderBy('id');
    const rows = (await dialect.lockingFree(still(query))) as EndingRow[];
    const runs: FinishedRun[] = [];
    for (const row of rows) runs.push(await endTask(transaction, database, row, endOf(row)));
    await countRuns(transaction, dialect, runs);
    return rows.length;
  });
}

/**
 * Notes that somebody listens now, and tells whether somebody has for so long without a gap. Without this, the first
 * pass after two minutes without a database would take every starter for silent.
 */
async function haveListenedFor({ transaction, dialect }: Database, ms: number): Promise<boolean> {
  return transaction(async (knex) => {
    const row = await dialect
      .locking(knex('listening').where({ id: 1 }))
      .first<{ since: string; latest: string; now: string; deaf_before: string; wanted: string } | undefined>(
        'since',
        'latest',
        knex.raw('? AS now', [dialect.now()]),
        knex.raw('? AS deaf_before', [dialect.ago(ms / 2)]),
        knex.raw('? AS wanted', [dialect.ago(ms)]),
      );
    if (!row) {
      const now = dialect.now();
      await knex('listening').insert({ id: 1, since: now, latest: now }).onConflict('id').ignore();
      return false;
    }
    const since = row.latest < row.deaf_before ? row.now : row.since;
    await knex('listening').where({ id: 1 }).update({ since, latest: row.now });
    return since <= row.wanted;
  });
}

export async function deleteOldTasks(
  { transaction, dialect }: Database,
  { days, batch = usualBatch }: { days: number; batch?: number },
): Promise<number> {
  return transaction(async (knex) => {
    // Locked before its output goes: a lost task may just be getting its result.
    const ids: number[] = await dialect.lockingFree(
      knex('tasks')
        .where('finished_at', '<', dialect.ago(days * dayMs))
        .orderBy('finished_at')
        .limit(batch)
        .pluck('id'),
    );
    if (ids.length === 0) return 0;
    await knex('task_outputs').whereIn('task_id', ids).delete();
    return knex('tasks').whereIn('id', ids).delete();
  });
}

export async function deleteOldStatistics(
  database: Database,
  { days, batch = usualBatch }: { days: number; batch?: number },
): Promise<number> {
  const { dialect } = database;
  const key = ['day', 'org_id', 'owner', 'base_uuid'] as const;
  return database.transaction(async (knex) => {
    const rows = await dialect.lockingFree(
      knex('run_statistics')
        .where('day', '<', await dayAgo(database, knex, days))
        .orderBy([...key])
        .limit(batch)
        .select<Record<(typeof key)[number], string | number>[]>(...key),
    );
    const newest = rows.at(-1);
    if (!newest) return 0;
    return (
      knex('run_statistics')
        .whereIn(
          [...key],
          rows.map((row) => key.map((column) => row[column])),
        )
        // MariaDB does not use the key for a list of tuples; this keeps it from reading the whole table.
        .where('day', '<=', newest.day)
        .delete()
    );
  });
}

export async function forgetSilentStarters(
  { write, dialect }: Database,
  { silentMs }: { silentMs: number },
): Promise<number> {
  return write((knex) => knex('starters').where('last_seen_at', '<', dialect.ago(silentMs)).delete());
}
