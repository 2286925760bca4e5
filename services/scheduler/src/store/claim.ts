/**
 * Claims queued tasks for starters. Who is next and where it goes is decided in `tasks/fair-choice.ts`; here the
 * figures are read and the decision is carried out, in one transaction.
 *
 * Replicas take turns by locking the rows of all starters that may get something, always in the order of their ids.
 * So nobody else claims in between, and "slots minus what is in flight" holds until the commit.
 */
import { randomUUID } from 'node:crypto';
import type { Knex } from 'knex';
import {
  chooseFairly,
  freeSlots,
  placeOnStarters,
  queuesInReach,
  type StarterRoom,
  type WaitingQueue,
  type WaitingTask,
} from '../tasks/fair-choice.js';
import { moves } from '../tasks/state-machine.js';
import type { Database } from './database.js';
import type { Dialect } from './dialect.js';
import { loadInFlight, type StarterRow } from './starters.js';
import type { Claim, ClaimWish } from './store.js';
import { taskOf, type TaskRow } from './tasks.js';

/** One SELECT is sent per queue in reach, joined by UNION ALL; SQLite takes 500 of them. */
const mostAtOnce = 200;

export async function claimForStarters(
  { transaction, dialect }: Database,
  wish: ClaimWish,
): Promise<Claim[]> {
  return transaction(async (knex) => {
    const starters = await lockStarters(knex, dialect, wish.liveWithinMs);
    if (starters.length === 0) return [];
    const load = await loadInFlight(knex);
    const rooms = starters.map((starter) => roomOf(starter, load));
    const free = rooms.reduce((sum, room) => sum + freeSlots(room), 0);
    const count = Math.min(wish.limit, free, mostAtOnce);
    if (count < 1) return [];

    const inFlight = sumByFairKey(load);
    const reach = queuesInReach(await readQueues(knex, dialect), inFlight, count);
    if (reach.length === 0) return [];
    const chosen = chooseFairly(await readWaiting(knex, dialect, reach, count), inFlight, count);
    const rows = await lockQueued(knex, dialect, chosen);
    return assign(knex, rows, placeOnStarters(rooms, rows.length), starters);
  });
}

async function lockStarters(knex: Knex, dialect: Dialect, liveWithinMs: number): Promise<StarterRow[]> {
  return dialect.locking(
    knex('starters')
      .where('last_seen_at', '>=', dialect.ago(liveWithinMs))
      .where({ draining: false })
      .whereNotNull('url')
      .where((either) => {
        either.whereNull('refused_until').orWhere('refused_until', '<=', dialect.now());
      })
      .orderBy('id')
      .select<StarterRow[]>('*'),
  );
}

type Load = Awaited<ReturnType<typeof loadInFlight>>;

function roomOf(starter: StarterRow, load: Load): StarterRoom {
  const own = load.filter((each) => each.starterId === starter.id);
  return {
    id: starter.id,
    slots: starter.slots,
    inFlight: own.reduce((sum, each) => sum + each.count, 0),
    foreignBusy: starter.foreign_busy,
  };
}

function sumByFairKey(load: Load): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { fairKey, count } of load) sums.set(fairKey, (sums.get(fairKey) ?? 0) + count);
  return sums;
}

/**
 * The heads of all queues. `state` is in the GROUP BY, where it decides nothing, because only then does MariaDB hop from
 * group to group ("Using index for group-by") instead of reading every queued task's entry.
 * Measured on MariaDB 10.11 with 2 million ended tasks and 100 owners: 10,000 queued 0.8 ms instead of 3.4 ms, 100,000
 * queued 0.7 ms instead of 27 ms.
 */
async function readQueues(knex: Knex, dialect: Dialect): Promise<WaitingQueue[]> {
  const rows = dialect.rows<{ priority: number; fair_key: string; oldest: number }>(
    await knex.raw(selectQueues),
  );
  return rows.map((row) => ({ priority: row.priority, fairKey: row.fair_key, oldestId: row.oldest }));
}

export const selectQueues =
  `SELECT priority, fair_key, MIN(id) AS oldest FROM tasks WHERE state = 'queued' ` +
  `GROUP BY state, priority, fair_key`;

/** The first `count` ids of each of these queues: each SELECT reads just that many entries of one index. */
async function readWaiting(
  knex: Knex,
  dialect: Dialect,
  queues: readonly WaitingQueue[],
  count: number,
): Promise<WaitingTask[]> {
  const one = (index: number) =>
    `SELECT * FROM (SELECT id, priority, fair_key FROM tasks ` +
    `WHERE state = 'queued' AND priority = ? AND fair_key = ? ORDER BY id LIMIT ?) AS queue_${index}`;
  const rows = dialect.rows<{ id: number; priority: number; fair_key: string }>(
    await knex.raw(
      queues.map((_, index) => one(index)).join(' UNION ALL '),
      queues.flatMap(({ priority, fairKey }) => [priority, fairKey, count]),
    ),
  );
  return rows.map((row) => ({ id: row.id, priority: row.priority, fairKey: row.fair_key }));
}

/** Of the chosen, in their order, those that nobody has taken or is just taking out of the queue. */
async function lockQueued(
  knex: Knex,
  dialect: Dialect,
  chosen: readonly number[],
): Promise<(TaskRow & { now: string })[]> {
  const rows = await dialect.lockingFree(
    knex('tasks')
      .whereIn('id', chosen)
      .whereIn('state', moves.assign.from)
      .select<(TaskRow & { now: string })[]>('*', knex.raw('? AS now', [dialect.now()])),
  );
  const byId = new Map(rows.map((row) => [row.id, row]));
  return chosen.flatMap((id) => byId.get(id) ?? []);
}

async function assign(
  knex: Knex,
  rows: readonly (TaskRow & { now: string })[],
  places: readonly string[],
  starters: readonly StarterRow[],
): Promise<Claim[]> {
  const [first] = rows;
  if (!first) return [];
  const urls = new Map(starters.map((starter) => [starter.id, starter.url]));
  const claims = rows.map((row, index): Claim => {
    const attemptId = randomUUID();
    const starterId = places[index] as string; // as many places as rows: both at most the free slots
    const task = taskOf({
      ...row,
      state: 'starting',
      attempt_id: attemptId,
      attempt_number: row.attempt_number + 1,
      starter_id: starterId,
      assigned_at: row.now,
    });
    return { task, attemptId, starterId, starterUrl: urls.get(starterId) as string };
  });
  const each = (pick: (claim: Claim) => string) =>
    knex.raw(
      `CASE id ${claims.map(() => 'WHEN ? THEN ?').join(' ')} END`,
      claims.flatMap((claim) => [claim.task.id, pick(claim)]),
    );
  await knex('tasks')
    .whereIn(
      'id',
      claims.map((claim) => claim.task.id),
    )
    .whereIn('state', moves.assign.from)
    .update({
      state: 'starting',
      attempt_id: each((claim) => claim.attemptId),
      attempt_number: knex.raw('attempt_number + 1'),
      starter_id: each((claim) => claim.starterId),
      assigned_at: first.now,
    });
  return claims;
}
