/**
 * Monthly limits: a task is recorded only while its payer has runs left. What is waiting or in flight counts too, so
 * that a burst cannot exceed the limit; a run that then is not charged gives its place back.
 *
 * Submits of one payer take turns on the lock of the payer's row for the month. The count below it is one statement
 * and so one snapshot: a run that is just ending is seen as in flight or as charged, never as both or neither.
 */
import type { Knex } from 'knex';
import { monthOf, daysOf } from '../calendar.js';
import { inFlightStates } from '../tasks/state-machine.js';
import type { ExceededLimit, Payer } from '../tasks/run-statistics.js';
import { fairKeyOfPayer, payerOf, payerOfFairKey, type NewTask } from '../tasks/task.js';
import type { Database } from './database.js';
import { dayAgo } from './statistics.js';
import { insertTask, submitTask } from './tasks.js';

export async function submitWithinLimit(
  database: Database,
  task: NewTask,
  limit: number,
): Promise<number | 'limit_exceeded'> {
  const payer = payerOf(task);
  if (!payer) return submitTask(database, task);
  const { dialect } = database;
  return database.transaction(async (transaction) => {
    const month = monthOf(await dayAgo(database, transaction, 0));
    const key = { fair_key: fairKeyOfPayer(payer), month };
    await lockMonth(transaction, database, key);
    const used = await transaction('limit_months')
      .where(key)
      .first<{ refusals: number; charged: number | string; open: number }>(
        'refusals',
        chargedRuns(transaction, payer, month).as('charged'),
        transaction('tasks')
          .where({ fair_key: key.fair_key })
          .whereIn('state', ['queued', ...inFlightStates])
          .count('*')
          .as('open'),
      );
    if (Number(used.charged) + used.open < limit) return insertTask(transaction, dialect, task);
    await transaction('limit_months')
      .where(key)
      .update({
        refusals: used.refusals + 1,
        ...(used.refusals === 0 ? { tell_at: dialect.now() } : {}),
      });
    return 'limit_exceeded';
  });
}

/** Adds nothing to a row that is there: one statement that makes it where it is missing and locks it either way. */
async function lockMonth(
  transaction: Knex,
  { dialect }: Database,
  key: { fair_key: string; month: string },
): Promise<void> {
  await transaction.raw(
    `INSERT INTO limit_months (fair_key, month, refusals) VALUES (?, ?, 0) ` +
      dialect.orAdd(['fair_key', 'month'], ['refusals']),
    [key.fair_key, key.month],
  );
}

/** The payer's charged runs of a month, as a query for one number. */
export function chargedRuns(knex: Knex, payer: Payer, month: string) {
  return knex('run_statistics')
    .where('orgId' in payer ? { org_id: payer.orgId } : { org_id: -1, owner: payer.owner })
    .whereBetween('day', daysOf(month))
    .select(knex.raw('COALESCE(SUM(charged_count), 0) AS charged'));
}

export async function claimExceeded(
  database: Database,
  { retryMs, batch = 500 }: { retryMs: number; batch?: number },
): Promise<ExceededLimit[]> {
  const { dialect } = database;
  return database.transaction(async (transaction) => {
    const rows = await dialect.lockingFree(
      transaction('limit_months')
        .where('tell_at', '<=', dialect.now())
        .orderBy('tell_at')
        .limit(batch)
        .select<{ fair_key: string; month: string }[]>('fair_key', 'month'),
    );
    for (const key of rows) {
      await transaction('limit_months')
        .where(key)
        .update({ tell_at: dialect.later(retryMs) });
    }
    return rows.map((row) => ({ payer: payerOfFairKey(row.fair_key), month: row.month }));
  });
}

export async function settleExceeded(
  { transaction, dialect }: Database,
  told: readonly ExceededLimit[],
): Promise<void> {
  await transaction(async (knex) => {
    for (const { payer, month } of told) {
      await knex('limit_months')
        .where({ fair_key: fairKeyOfPayer(payer), month })
        .update({ tell_at: null, told_at: dialect.now() });
    }
  });
}

export async function deleteOldLimitMonths(database: Database, { days }: { days: number }): Promise<number> {
  return database.transaction(async (knex) => {
    const month = monthOf(await dayAgo(database, knex, days));
    return knex('limit_months').where('month', '<', month).delete();
  });
}
