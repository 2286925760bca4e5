/** Answers questions from `run_statistics`, and recounts it from the tasks that are still kept. */
import type { Knex } from 'knex';
import { dayAfter, daysOf } from '../calendar.js';
import { formsOfBase, type Listed } from '../tasks/run-history.js';
import {
  statisticsColumns,
  type MonthlyQuery,
  type MonthlyTotal,
  type Payer,
  type RunTotal,
  type RunTotalsQuery,
  type StatisticsDifference,
  type StatisticsSums,
} from '../tasks/run-statistics.js';
import { automationTrigger, groupOwnerMark } from '../tasks/task.js';
import type { Database } from './database.js';
import { chargedRuns } from './limits.js';
import { dayAgo } from './statistics.js';

export async function countChargedRuns({ read }: Database, payer: Payer, month: string): Promise<number> {
  const row = await read((knex) => chargedRuns(knex, payer, month).first<{ charged: number | string }>());
  return Number(row.charged);
}

const monthlyKey = { user: 'owner', org: 'org_id', base: 'base_uuid' } as const;

export async function monthlyTotals({ read }: Database, query: MonthlyQuery): Promise<Listed<MonthlyTotal>> {
  const key = monthlyKey[query.by];
  const order = query.orderBy === 'count' ? 'charged_count' : 'total_run_time_us';
  const groups = (knex: Knex) => {
    const rows = knex('run_statistics').whereBetween('day', daysOf(query.month));
    // Imported counts belong to one of the three alone, see `history-import-target.ts`.
    if (query.by !== 'org') void rows.whereNot({ [key]: '' });
    if (query.by === 'org') void rows.whereNot({ org_id: -1 });
    if (query.by === 'user') {
      // An organisation's members are its own; a group's runs are nobody's.
      void rows.where({ org_id: -1 }).whereRaw('INSTR(owner, ?) = 0', [groupOwnerMark]);
    }
    return rows.groupBy(key).having(knex.raw('SUM(charged_count)'), '>', 0);
  };
  const { count, items } = await pageOf<Record<string, string | number>>({ read }, groups, [key], query, [
    { column: order, descending: query.descending },
    { column: key, descending: false },
  ]);
  return {
    count,
    items: items.map((row) => ({
      of: row[key]!,
      chargedCount: Number(row.charged_count),
      runTimeUs: Number(row.total_run_time_us),
    })),
  };
}

const totalKey = { base: 'base_uuid', day: 'day' } as const;

export async function runTotals({ read }: Database, query: RunTotalsQuery): Promise<Listed<RunTotal>> {
  const key = totalKey[query.by];
  const groups = (knex: Knex) => {
    const rows = knex('run_statistics')
      .where({ org_id: query.orgId ?? -1 })
      .whereNot({ owner: '' })
      .whereNot({ base_uuid: '' });
    if (query.baseUuid !== undefined) void rows.whereIn('base_uuid', formsOfBase(query.baseUuid));
    if (query.fromDay !== undefined) void rows.where('day', '>=', query.fromDay);
    if (query.toDay !== undefined) void rows.where('day', '<=', query.toDay);
    return rows.groupBy(key);
  };
  const { count, items } = await pageOf<Record<string, string | number>>({ read }, groups, [key], query, [
    ...(query.by === 'base' ? [{ column: 'run_count', descending: true }] : []),
    { column: key, descending: false },
  ]);
  return {
    count,
    items: items.map((row) => ({
      of: String(row[key]),
      runCount: Number(row.run_count),
      successCount: Number(row.success_count),
      manualCount: Number(row.manual_count),
      automationCount: Number(row.automation_count),
      runTimeUs: Number(row.total_run_time_us),
    })),
  };
}

/** One page of a grouped query with its sums, and how many groups there are. */
async function pageOf<Row>(
  { read }: Pick<Database, 'read'>,
  groups: (knex: Knex) => Knex.QueryBuilder,
  key: string[],
  { offset, limit }: { offset: number; limit: number },
  order: { column: string; descending: boolean }[],
): Promise<Listed<Row>> {
  const counted = await read(
    (knex) =>
      knex.from(groups(knex).select(key).as('grouped')).count('* as count').first() as Promise<{
        count: number;
      }>,
  );
  if (limit === 0 || offset >= counted.count) return { count: counted.count, items: [] };
  const items = await read(
    (knex) =>
      groups(knex)
        .select(key)
        // Sums under other names than their columns: SQL does not agree on which of the two ORDER BY would mean.
        .select(statisticsColumns.map((column) => knex.raw('SUM(??) AS ??', [column, `sum_of_${column}`])))
        .orderBy(
          order.map(({ column, descending }) => ({
            column: key.includes(column) ? column : `sum_of_${column}`,
            order: descending ? 'desc' : 'asc',
          })),
        )
        .offset(offset)
        .limit(limit) as Promise<Record<string, unknown>[]>,
  );
  return { count: counted.count, items: items.map((row) => withoutPrefix(row) as Row) };
}

function withoutPrefix(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name.replace(/^sum_of_/, ''), value]),
  );
}

export async function findStatisticsDifferences(
  database: Database,
  { keepTasksDays, keepStatisticsDays }: { keepTasksDays: number; keepStatisticsDays: number },
): Promise<{ fromDay: string; differences: StatisticsDifference[] }> {
  const { read, dialect } = database;
  const keptDays = Math.min(keepTasksDays, keepStatisticsDays);
  // The day on which keeping begins may be gone in part; the one after it is whole.
  const fromDay = dayAfter(await read((knex) => dayAgo(database, knex, keptDays)));
  const answer = await read((knex) =>
    knex.raw(selectDifferences, [fromDay, automationTrigger, automationTrigger, fromDay]),
  );
  const rows = dialect.rows<Record<string, string | number>>(answer);
  const sums = (row: Record<string, string | number>, side: 'counted' | 'recounted') =>
    Object.fromEntries(
      statisticsColumns.map((column) => [column, Number(row[`${side}_${column}`])]),
    ) as StatisticsSums;
  return {
    fromDay,
    differences: rows.map((row) => ({
      day: String(row.day),
      orgId: Number(row.org_id),
      owner: String(row.owner),
      baseUuid: String(row.base_uuid),
      counted: sums(row, 'counted'),
      recounted: sums(row, 'recounted'),
    })),
  };
}

/** One statement, so that a run which ends meanwhile is seen on both sides or on neither. */
const selectDifferences = `
  SELECT day, org_id, owner, base_uuid,
    ${statisticsColumns.map((column) => `SUM(counted_${column}) AS counted_${column}, SUM(recounted_${column}) AS recounted_${column}`).join(',\n    ')}
  FROM (
    SELECT day, org_id, owner, base_uuid,
      ${statisticsColumns.map((column) => `${column} AS counted_${column}, 0 AS recounted_${column}`).join(',\n      ')}
    FROM run_statistics WHERE day >= ? AND owner <> '' AND base_uuid <> ''
    UNION ALL
    SELECT counted_on, COALESCE(org_id, -1), owner, base_uuid,
      0, 1,
      0, CASE WHEN run_time_us > 0 THEN 1 ELSE 0 END,
      0, CASE WHEN state = 'succeeded' THEN 1 ELSE 0 END,
      0, CASE WHEN triggered_by = ? THEN 0 ELSE 1 END,
      0, CASE WHEN triggered_by = ? THEN 1 ELSE 0 END,
      0, run_time_us
    FROM tasks WHERE counted_on >= ?
  ) AS both_sides
  GROUP BY day, org_id, owner, base_uuid
  HAVING ${statisticsColumns.map((column) => `SUM(counted_${column}) <> SUM(recounted_${column})`).join(' OR ')}
  ORDER BY day, org_id, owner, base_uuid`;
