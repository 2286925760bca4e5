/** What starters say of themselves, kept with the moment they said it. */
import type { Knex } from 'knex';
import type { StarterStatus } from '@stadion/contracts';
import { inFlightStates } from '../tasks/state-machine.js';
import type { Database } from './database.js';
import { fromDatabaseTime } from './dialect.js';
import type { HeldNowhere, StarterRecord } from './store.js';

export interface StarterRow {
  id: string;
  url: string | null;
  configured: number;
  version: string;
  executor: StarterRecord['executor'];
  isolation: string;
  slots: number;
  busy: number;
  foreign_busy: number;
  draining: number;
  last_seen_at: string;
  refused_until: string | null;
}

export async function recordStarter(
  { transaction, dialect }: Database,
  status: StarterStatus,
  known: { url?: string; configured: boolean },
): Promise<void> {
  await transaction(async (knex) => {
    const row = {
      url: known.url ?? status.url ?? null,
      configured: known.configured,
      version: status.version,
      executor: status.executor,
      isolation: status.isolation,
      slots: status.slots,
      busy: status.busy,
      foreign_busy: Math.max(0, status.busy - (await countOurs(knex, status.attempts))),
      draining: status.draining,
      last_seen_at: dialect.now(),
    };
    await knex('starters')
      .insert({ id: status.starter_id, ...row })
      .onConflict('id')
      .merge(row);
    if (row.url !== null) await retireOthersAt(row.url, status.starter_id, knex);
  });
}

/**
 * A starter that lost its state directory comes back as another one. Until the old one counts as silent, a task given to
 * it would be pushed to the new one and then be called lost.
 */
async function retireOthersAt(url: string, starterId: string, knex: Knex): Promise<void> {
  // Looked for first: an UPDATE would lock every row it reads, and so run into the other starters' heartbeats.
  const retired = await knex('starters')
    .where({ url, draining: false })
    .whereNot({ id: starterId })
    .pluck('id');
  if (retired.length > 0) await knex('starters').whereIn('id', retired).update({ draining: true });
}

const lookUpAtOnce = 500;

/** How many of these attempts this database knows, whatever became of them. */
async function countOurs(knex: Knex, attempts: readonly string[]): Promise<number> {
  let ours = 0;
  for (let from = 0; from < attempts.length; from += lookUpAtOnce) {
    const known = await knex('tasks')
      .whereIn('attempt_id', attempts.slice(from, from + lookUpAtOnce))
      .pluck('id');
    ours += known.length;
  }
  return ours;
}

export async function listStarters({ read }: Database): Promise<StarterRecord[]> {
  return read(async (knex) => {
    const rows = await knex<StarterRow>('starters').select<StarterRow[]>('*').orderBy('id');
    const inFlight = new Map<string, number>();
    for (const load of await loadInFlight(knex)) {
      inFlight.set(load.starterId, (inFlight.get(load.starterId) ?? 0) + load.count);
    }
    return rows.map((row) => ({
      id: row.id,
      url: row.url,
      configured: Boolean(row.configured),
      version: row.version,
      executor: row.executor,
      isolation: row.isolation,
      slots: row.slots,
      busy: row.busy,
      draining: Boolean(row.draining),
      inFlight: inFlight.get(row.id) ?? 0,
      lastSeenAt: fromDatabaseTime(row.last_seen_at),
      refusedUntil: row.refused_until === null ? null : fromDatabaseTime(row.refused_until),
    }));
  });
}

/** How much is in flight, by starter and by whom it is charged to. As many rows are read as there are busy slots. */
export async function loadInFlight(
  knex: Knex,
): Promise<{ starterId: string; fairKey: string; count: number }[]> {
  const rows = await knex('tasks')
    .whereIn('state', inFlightStates)
    .groupBy('starter_id', 'fair_key')
    .select<{ starter_id: string; fair_key: string; tasks: number }[]>(
      'starter_id',
      'fair_key',
      knex.raw('COUNT(*) AS tasks'),
    );
  return rows.map((row) => ({ starterId: row.starter_id, fairKey: row.fair_key, count: row.tasks }));
}

export async function refuseStarterUntil(
  { write, dialect }: Database,
  starterId: string,
  ms: number,
): Promise<void> {
  await write((knex) =>
    knex('starters')
      .where({ id: starterId })
      .update({ refused_until: dialect.later(ms) }),
  );
}

export async function heldNowhere(
  { read, dialect }: Database,
  starterId: string,
  attempts: readonly string[],
  olderThanMs: number,
): Promise<HeldNowhere[]> {
  const held = new Set(attempts);
  const rows = await read((knex) =>
    knex('tasks')
      .whereIn('state', inFlightStates)
      .where({ starter_id: starterId })
      .where('assigned_at', '<=', dialect.ago(olderThanMs))
      .orderBy('id')
      .select<{ id: number; attempt_id: string; state: HeldNowhere['state'] }[]>('id', 'attempt_id', 'state'),
  );
  return rows
    .filter((row) => !held.has(row.attempt_id))
    .map((row) => ({ taskId: row.id, attemptId: row.attempt_id, state: row.state }));
}
