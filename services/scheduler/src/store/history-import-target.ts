/**
 * Writes an imported history into our tables. How far it got is one row, changed in the same transaction as every
 * batch; so a killed import has done a whole number of batches, and the next one goes on behind them.
 *
 * Statistics. An imported run counts in `run_statistics` like any other, which is what the totals by base and by day
 * are made of. The monthly counts of the original are three tables of their own that no log explains to the last run;
 * so what they say more (or less) than the imported runs is kept in rows of `run_statistics` that belong to one of the
 * three alone: a user's have no base, a base's no owner, an organisation's neither. Nobody's real row is like that.
 */
import type { Knex } from 'knex';
import { axes, type Axis, type OriginalCount } from '../history-import/original-rows.js';
import type { ImportedRun } from '../history-import/translate-log.js';
import { fairKeyOf, groupOwnerMark } from '../tasks/task.js';
import type { Database } from './database.js';
import { createTable, moment } from './migrations/tables.js';
import { countRuns } from './statistics.js';

export interface ImportProgress {
  source: string;
  state: 'copying' | 'done';
  /** As the database writes it. */
  begunAt: string;
  lastId: number;
  copied: number;
  renumbered: number;
  unfinished: number;
  cut: number;
}

export interface HistoryTarget {
  /** Makes what an import needs, and tells how far an earlier one got. Throws when there is none and none may begin. */
  begin(source: string, highestId: number): Promise<ImportProgress>;
  /** All or nothing. Throws when another import went on meanwhile. */
  addRuns(progress: ImportProgress, runs: readonly ImportedRun[]): Promise<ImportProgress>;
  /** Of these ids, those that a task has. */
  existing(ids: readonly number[]): Promise<Set<number>>;
  /** The statistics, all at once; the import is then done. An axis that is missing keeps the imported runs' own sums. */
  finish(
    progress: ImportProgress,
    counts: Partial<Record<Axis, readonly OriginalCount[]>>,
  ): Promise<ImportProgress>;
  /** What the months of each axis add up to now, for the imported days. */
  imported(axis: Axis): Promise<{ runs: number; runTimeUs: number }>;
  close(): Promise<void>;
}

interface ProgressRow {
  id: number;
  source: string;
  state: ImportProgress['state'];
  begun_at: string;
  last_id: number;
  copied: number;
  renumbered: number;
  unfinished: number;
  cut: number;
}

export function historyTarget(database: Database): HistoryTarget {
  return {
    begin: (source, highestId) => begin(database, source, highestId),
    addRuns: (progress, runs) => addRuns(database, progress, runs),
    existing: (ids) => existing(database, ids),
    finish: (progress, counts) => finish(database, progress, counts),
    imported: (axis) => imported(database, axis),
    close: () => database.close(),
  };
}

async function begin(database: Database, source: string, highestId: number): Promise<ImportProgress> {
  const { dialect } = database;
  await database.write(async (knex) => {
    await createTable(knex, 'history_import', (table) => {
      table.integer('id').notNullable().primary();
      table.string('source', 300).notNullable();
      table.string('state', 16).notNullable();
      table.specificType('begun_at', moment(knex)).notNullable();
      for (const column of ['last_id', 'copied', 'renumbered', 'unfinished', 'cut']) {
        table.bigInteger(column).notNullable().defaultTo(0);
      }
    });
    // What the imported runs have added to each monthly count so far.
    await createTable(knex, 'history_import_counts', (table) => {
      table.string('axis', 8).notNullable();
      table.string('subject', 255).notNullable();
      table.string('day', 10).notNullable();
      table.bigInteger('runs').notNullable();
      table.bigInteger('run_time_us').notNullable();
      table.primary(['axis', 'subject', 'day']);
    });
  });
  const known = await database.read((knex) => knex<ProgressRow>('history_import').where({ id: 1 }).first());
  if (known?.state === 'done') {
    throw new Error(`The history of ${known.source} was imported already; it is never imported twice.`);
  }
  if (known && known.source !== source) {
    throw new Error(`An import from ${known.source} was begun and not ended; finish that one first.`);
  }
  if (!known) {
    const [taken] = await database.read((knex) => onlyOneAxis(knex('run_statistics')).limit(1).select('day'));
    if (taken) {
      throw new Error(
        'This database has imported statistics already, of an import that nothing else is known of.',
      );
    }
  }
  // Before the first run is copied, so that none that is submitted meanwhile takes an id that is still to come.
  await database.write((knex) => knex.raw(`ALTER TABLE tasks AUTO_INCREMENT = ${Math.trunc(highestId) + 1}`));
  if (known) return progressOf(known);
  await database.write((knex) =>
    knex('history_import').insert({ id: 1, source, state: 'copying', begun_at: dialect.now() }),
  );
  const row = await database.read((knex) => knex<ProgressRow>('history_import').where({ id: 1 }).first());
  return progressOf(row!);
}

function progressOf(row: ProgressRow): ImportProgress {
  return {
    source: row.source,
    state: row.state,
    begunAt: row.begun_at,
    lastId: Number(row.last_id),
    copied: Number(row.copied),
    renumbered: Number(row.renumbered),
    unfinished: Number(row.unfinished),
    cut: Number(row.cut),
  };
}

/** Nobody else has gone on since `progress` was read; nobody will before this transaction ends. */
async function lockProgress(
  transaction: Knex,
  { dialect }: Database,
  progress: ImportProgress,
): Promise<void> {
  const row = await dialect
    .locking(transaction<ProgressRow>('history_import').where({ id: 1 }))
    .first<ProgressRow>();
  if (row?.state !== 'copying' || Number(row.last_id) !== progress.lastId) {
    throw new Error('Another import is going on in this database.');
  }
}

async function addRuns(
  database: Database,
  progress: ImportProgress,
  runs: readonly ImportedRun[],
): Promise<ImportProgress> {
  const last = runs.at(-1);
  if (!last) return progress;
  const { dialect, dayOf } = database;
  return database.transaction(async (transaction) => {
    await lockProgress(transaction, database, progress);
    const ids = runs.map((run) => run.sourceId);
    const taken = new Set((await transaction('tasks').whereIn('id', ids).pluck('id')) as number[]);
    const rowOf = (run: ImportedRun) => ({
      type: 'script',
      state: run.state,
      priority: 0,
      fair_key: fairKeyOf(run),
      owner: run.owner,
      org_id: run.orgId,
      base_uuid: run.baseUuid,
      script_name: run.scriptName,
      triggered_by: run.trigger,
      context: run.context,
      created_at: run.createdAt,
      started_at: run.startedAt,
      finished_at: run.finishedAt,
      attempt_number: 1,
      return_code: run.returnCode,
      cause: run.cause,
      counted_on: dayOf(run.finishedAt),
      run_time_us: run.runTimeUs,
    });
    const keeping = runs.filter((run) => !taken.has(run.sourceId));
    const outputs = keeping.map((run) => ({ task_id: run.sourceId, output: run.output }));
    for (const some of inPortions(keeping, (run) => run.context?.length ?? 0)) {
      await transaction('tasks').insert(some.map((run) => ({ id: run.sourceId, ...rowOf(run) })));
    }
    for (const run of runs.filter(({ sourceId }) => taken.has(sourceId))) {
      const [id] = (await transaction('tasks').insert(rowOf(run))) as [number];
      outputs.push({ task_id: id, output: run.output });
    }
    for (const some of inPortions(outputs, ({ output }) => output.length)) {
      await transaction('task_outputs').insert(some);
    }
    await countRuns(
      transaction,
      dialect,
      runs.map((run) => ({
        task: { owner: run.owner, org_id: run.orgId, base_uuid: run.baseUuid, triggered_by: run.trigger },
        day: dayOf(run.finishedAt),
        succeeded: run.succeeded,
        runTimeUs: run.runTimeUs,
      })),
    );
    await noteCounts(transaction, database, runs);
    const next: ImportProgress = {
      ...progress,
      lastId: last.sourceId,
      copied: progress.copied + runs.length,
      renumbered: progress.renumbered + taken.size,
      unfinished: progress.unfinished + runs.filter(({ state }) => state === 'lost').length,
      cut: progress.cut + runs.filter(({ outputWasCut }) => outputWasCut).length,
    };
    await transaction('history_import').where({ id: 1 }).update({
      last_id: next.lastId,
      copied: next.copied,
      renumbered: next.renumbered,
      unfinished: next.unfinished,
      cut: next.cut,
    });
    return next;
  });
}

/** Statements that stay well below what the server takes. */
function* inPortions<Item>(items: readonly Item[], sizeOf: (item: Item) => number): Generator<Item[]> {
  let portion: Item[] = [];
  let size = 0;
  for (const item of items) {
    const own = sizeOf(item);
    if (portion.length > 0 && (size + own > 1_000_000 || portion.length >= 200)) {
      yield portion;
      portion = [];
      size = 0;
    }
    portion.push(item);
    size += own;
  }
  if (portion.length > 0) yield portion;
}

/** The monthly counts that a charged run is part of; see `monthlyTotals`. */
function axesOf(run: ImportedRun): [Axis, string][] {
  const payer: [Axis, string][] =
    run.orgId !== null
      ? [['org', String(run.orgId)]]
      : run.owner.includes(groupOwnerMark)
        ? []
        : [['user', run.owner]];
  return [...payer, ['base', run.baseUuid]];
}

async function noteCounts(
  transaction: Knex,
  { dialect, dayOf }: Database,
  runs: readonly ImportedRun[],
): Promise<void> {
  const sums = new Map<string, [axis: Axis, subject: string, day: string, runs: number, runTimeUs: number]>();
  for (const run of runs) {
    if (run.runTimeUs === 0) continue;
    const day = dayOf(run.finishedAt);
    for (const [axis, subject] of axesOf(run)) {
      const key = JSON.stringify([axis, subject, day]);
      const [, , , count, runTimeUs] = sums.get(key) ?? [axis, subject, day, 0, 0];
      sums.set(key, [axis, subject, day, count + 1, runTimeUs + run.runTimeUs]);
    }
  }
  for (const values of sums.values()) {
    await transaction.raw(
      'INSERT INTO history_import_counts (axis, subject, day, runs, run_time_us) VALUES (?, ?, ?, ?, ?) ' +
        dialect.orAdd(['axis', 'subject', 'day'], ['runs', 'run_time_us']),
      values,
    );
  }
}

async function existing({ read }: Database, ids: readonly number[]): Promise<Set<number>> {
  return new Set(await read((knex) => knex('tasks').whereIn('id', ids).pluck('id') as Promise<number[]>));
}

async function finish(
  database: Database,
  progress: ImportProgress,
  counts: Partial<Record<Axis, readonly OriginalCount[]>>,
): Promise<ImportProgress> {
  const done: ImportProgress = { ...progress, state: 'done' };
  await database.transaction(async (transaction) => {
    await lockProgress(transaction, database, progress);
    for (const axis of axes) {
      const said = counts[axis];
      if (!said) continue;
      const rows = differences(
        said.filter(({ subject }) => axis !== 'org' || Number(subject) >= 0),
        await transaction('history_import_counts').where({ axis }).select<CountRow[]>('*'),
      ).map(({ subject, day, runs, runTimeUs }) => ({
        day,
        ...rowOfAxis(axis, subject),
        run_count: 0,
        charged_count: runs,
        success_count: 0,
        manual_count: 0,
        automation_count: 0,
        total_run_time_us: runTimeUs,
      }));
      for (let at = 0; at < rows.length; at += 500) {
        await transaction('run_statistics').insert(rows.slice(at, at + 500));
      }
    }
    await transaction('history_import').where({ id: 1 }).update({ state: done.state });
  });
  return done;
}

interface CountRow {
  subject: string;
  day: string;
  runs: number;
  run_time_us: number;
}

/** What the original says less what the imported runs say, by subject and day; nothing where they agree. */
function differences(
  said: readonly OriginalCount[],
  counted: readonly CountRow[],
): { subject: string; day: string; runs: number; runTimeUs: number }[] {
  const sums = new Map<string, { subject: string; day: string; runs: number; runTimeUs: number }>();
  const add = (subject: string, day: string, runs: number, runTimeUs: number) => {
    const key = JSON.stringify([subject, day]);
    const sum = sums.get(key) ?? { subject, day, runs: 0, runTimeUs: 0 };
    sums.set(key, { subject, day, runs: sum.runs + runs, runTimeUs: sum.runTimeUs + runTimeUs });
  };
  for (const { subject, day, runs, runTimeUs } of said) add(subject, day, runs, runTimeUs);
  for (const row of counted) add(row.subject, row.day, -Number(row.runs), -Number(row.run_time_us));
  return [...sums.values()].filter(({ runs, runTimeUs }) => runs !== 0 || runTimeUs !== 0);
}

function rowOfAxis(axis: Axis, subject: string): { org_id: number; owner: string; base_uuid: string } {
  switch (axis) {
    case 'user':
      return { org_id: -1, owner: subject, base_uuid: '' };
    case 'org':
      return { org_id: Number(subject), owner: '', base_uuid: '' };
    case 'base':
      return { org_id: -1, owner: '', base_uuid: subject };
  }
}

/** Rows that belong to one monthly count alone. */
function onlyOneAxis<Query extends Knex.QueryBuilder>(query: Query): Query {
  return query.where((either) => either.where({ owner: '' }).orWhere({ base_uuid: '' })) as Query;
}

async function imported(database: Database, axis: Axis): Promise<{ runs: number; runTimeUs: number }> {
  return database.read(async (knex) => {
    const own = knex('run_statistics').sum({ runs: 'charged_count', us: 'total_run_time_us' });
    if (axis === 'user') void own.where({ org_id: -1, base_uuid: '' }).whereNot({ owner: '' });
    if (axis === 'org') void own.where({ owner: '', base_uuid: '' });
    if (axis === 'base') void own.where({ org_id: -1, owner: '' }).whereNot({ base_uuid: '' });
    const [extra] = (await own) as unknown as Record<string, string | number | null>[];
    const [counted] = (await knex('history_import_counts')
      .where({ axis })
      .sum({ runs: 'runs', us: 'run_time_us' })) as unknown as Record<string, string | number | null>[];
    return {
      runs: Number(extra?.['runs'] ?? 0) + Number(counted?.['runs'] ?? 0),
      runTimeUs: Number(extra?.['us'] ?? 0) + Number(counted?.['us'] ?? 0),
    };
  });
}
