/** Reads the runs that are kept: the log of one script, and the list of all of them. */
import type { Knex } from 'knex';
import {
  formsOfBase,
  type Listed,
  type Page,
  type RunFilter,
  type RunSummary,
  type ScriptRuns,
} from '../tasks/run-history.js';
import type { Database } from './database.js';
import { toDatabaseTime } from './dialect.js';
import { summaryOf, type SummaryRow } from './tasks.js';

export async function listRunsOfScript(
  { read, dialect }: Database,
  script: ScriptRuns,
  page: Page,
): Promise<Listed<number>> {
  const forms = formsOfBase(script.baseUuid);
  const count = await read((knex) => countOf(runsOfScript(knex, forms, script.scriptName)));
  if (page.limit === 0 || page.offset >= count) return { count, items: [] };
  const { sql, values } = selectRunsOfScript(forms, script, page);
  const rows = dialect.rows<{ id: number }>(await read((knex) => knex.raw(sql, values)));
  return { count, items: rows.map((row) => row.id) };
}

function runsOfScript(knex: Knex, forms: readonly string[], scriptName: string) {
  return knex('tasks').whereIn('base_uuid', forms).where({ script_name: scriptName });
}

/**
 * The ids of one page. One SELECT per way of writing the base: each reads just the first entries of the index
 * `tasks_by_script`, in its order, where `base_uuid IN (…)` would read and sort all of them.
 */
export function selectRunsOfScript(
  forms: readonly string[],
  { scriptName, newestFirst }: Pick<ScriptRuns, 'scriptName' | 'newestFirst'>,
  { offset, limit }: Page,
): { sql: string; values: (string | number)[] } {
  const order = `ORDER BY id ${newestFirst ? 'DESC' : 'ASC'}`;
  const one = (index: number) =>
    `SELECT id FROM (SELECT id FROM tasks WHERE base_uuid = ? AND script_name = ? ${order} LIMIT ?) AS form_${index}`;
  return {
    sql: `${forms.map((_, index) => one(index)).join(' UNION ALL ')} ${order} LIMIT ? OFFSET ?`,
    values: [...forms.flatMap((form) => [form, scriptName, offset + limit]), limit, offset],
  };
}

export async function listRuns(
  { read }: Database,
  filter: RunFilter,
  page: Page,
): Promise<Listed<RunSummary>> {
  const count = await read((knex) => countOf(runsThat(knex, filter)));
  if (page.limit === 0 || page.offset >= count) return { count, items: [] };
  const ids = await read(
    (knex) =>
      runsThat(knex, filter)
        .orderBy([
          { column: 'created_at', order: 'desc' },
          { column: 'id', order: 'desc' },
        ])
        .offset(page.offset)
        .limit(page.limit)
        .pluck('id') as Promise<number[]>,
  );
  const rows = await read(
    (knex) => knex('tasks').whereIn('id', ids).select(summaryColumns) as unknown as Promise<SummaryRow[]>,
  );
  const byId = new Map(rows.map((row) => [row.id, summaryOf(row)]));
  return { count, items: ids.flatMap((id) => byId.get(id) ?? []) };
}

function runsThat(knex: Knex, { orgId, baseUuid, from, until }: RunFilter) {
  const query = knex('tasks');
  if (orgId !== undefined) void query.where({ org_id: orgId });
  if (baseUuid !== undefined) void query.whereIn('base_uuid', formsOfBase(baseUuid));
  if (from) void query.where('created_at', '>=', toDatabaseTime(from));
  if (until) void query.where('created_at', '<', toDatabaseTime(until));
  return query;
}

const summaryColumns = [
  'id',
  'type',
  'state',
  'priority',
  'owner',
  'org_id',
  'base_uuid',
  'script_name',
  'triggered_by',
  'created_at',
  'assigned_at',
  'started_at',
  'finished_at',
  'attempt_id',
  'attempt_number',
  'starter_id',
  'return_code',
  'cause',
] as const satisfies (keyof SummaryRow)[];

async function countOf(query: Knex.QueryBuilder): Promise<number> {
  const row = (await query.count('* as count').first()) as { count: number };
  return row.count;
}
