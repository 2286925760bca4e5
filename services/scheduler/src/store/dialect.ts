/**
 * Where MariaDB's SQL and SQLite's part ways, and how a moment is written. Both keep times as UTC in the form
 * `YYYY-MM-DD HH:MM:SS.ffffff`, which sorts as text as it does as time. The moment that decides is the database's;
 * a test gives a clock of its own instead.
 */
import type { Knex } from 'knex';

export type Clock = () => Date;

export interface Dialect {
  readonly name: 'mariadb' | 'sqlite';
  now(): Knex.Raw;
  ago(ms: number): Knex.Raw;
  later(ms: number): Knex.Raw;
  /**
   * When a script started, from what its starter's clock said (null: it did not say). Never before the attempt was
   * assigned nor after now, so that a starter whose clock is off cannot stretch or shorten a time limit.
   */
  startOf(reported: Date | null): Knex.Raw;
  /** A SELECT that takes row locks. SQLite has none: its transactions run one at a time. */
  locking<Query extends Knex.QueryBuilder>(query: Query): Query;
  /** The same, leaving out the rows that somebody else has locked. */
  lockingFree<Query extends Knex.QueryBuilder>(query: Query): Query;
  /** Ends an INSERT so that, where the key is taken, the columns of `sums` grow by the new values. */
  orAdd(keys: readonly string[], sums: readonly string[]): string;
  /** The rows of a raw SELECT's answer. */
  rows<Row>(answer: unknown): Row[];
}

export function mariaDbDialect(knex: Knex, clock?: Clock): Dialect {
  const shifted = (ms: number) =>
    clock
      ? knex.raw('CAST(? AS DATETIME(6))', [toDatabaseTime(new Date(clock().getTime() + ms))])
      : knex.raw('(UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND)', [Math.round(ms * 1000)]);
  const now = () => (clock ? shifted(0) : knex.raw('UTC_TIMESTAMP(6)'));
  return {
    name: 'mariadb',
    now,
    ago: (ms) => shifted(-ms),
    later: (ms) => shifted(ms),
    startOf: (reported) =>
      reported
        ? knex.raw('LEAST(GREATEST(CAST(? AS DATETIME(6)), assigned_at), ?)', [
            toDatabaseTime(reported),
            now(),
          ])
        : now(),
    locking: (query) => query.forUpdate() as typeof query,
    lockingFree: (query) => query.forUpdate().skipLocked() as typeof query,
    orAdd: (_keys, sums) =>
      `ON DUPLICATE KEY UPDATE ${sums.map((sum) => `${sum} = ${sum} + VALUES(${sum})`).join(', ')}`,
    rows: <Row>(answer: unknown) => (answer as [Row[], unknown])[0],
  };
}

export function sqliteDialect(knex: Knex, clock?: Clock): Dialect {
  // SQLite's own clock gives milliseconds; three zeros make it the common form.
  const shifted = (ms: number) =>
    clock
      ? knex.raw('?', [toDatabaseTime(new Date(clock().getTime() + ms))])
      : knex.raw("(strftime('%Y-%m-%d %H:%M:%f', 'now', ?) || '000')", [
          `${ms >= 0 ? '+' : ''}${(ms / 1000).toFixed(3)} seconds`,
        ]);
  return {
    name: 'sqlite',
    now: () => shifted(0),
    ago: (ms) => shifted(-ms),
    later: (ms) => shifted(ms),
    startOf: (reported) =>
      reported ? knex.raw('MIN(MAX(?, assigned_at), ?)', [toDatabaseTime(reported), shifted(0)]) : shifted(0),
    locking: (query) => query,
    lockingFree: (query) => query,
    orAdd: (keys, sums) =>
      `ON CONFLICT (${keys.join(', ')}) DO UPDATE SET ${sums.map((sum) => `${sum} = ${sum} + excluded.${sum}`).join(', ')}`,
    rows: <Row>(answer: unknown) => answer as Row[],
  };
}

export function toDatabaseTime(date: Date): string {
  return `${date.toISOString().slice(0, 23).replace('T', ' ')}000`;
}

export function fromDatabaseTime(text: string): Date {
  return new Date(`${text.slice(0, 23).replace(' ', 'T')}Z`);
}
