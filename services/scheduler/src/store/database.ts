/**
 * One open database as the rest of `store/` uses it: how to read, write and run a transaction, with the retries that
 * are safe and with every "away" turned into `StoreUnavailableError`.
 */
import type { Knex } from 'knex';
import { dayIn } from '../calendar.js';
import { fromDatabaseTime, type Dialect } from './dialect.js';
import { asStoreError, isConnectionLost, isDeadlock } from './errors.js';

export interface Database {
  readonly dialect: Dialect;
  /** The day, in the operator's time zone, of a moment as the database writes it. */
  dayOf(moment: string): string;
  /** For work that changes nothing: tried once more when its connection turns out to be gone. */
  read<Value>(work: (knex: Knex) => PromiseLike<Value>): Promise<Value>;
  /** For a single statement. Not retried: a connection that broke may have broken after the statement was done. */
  write<Value>(work: (knex: Knex) => PromiseLike<Value>): Promise<Value>;
  /**
   * All or nothing. Tried again after a deadlock, and once after a connection that broke before the commit was sent:
   * in both cases the database has undone the first try.
   */
  transaction<Value>(work: (transaction: Knex.Transaction) => Promise<Value>): Promise<Value>;
  close(): Promise<void>;
}

const transactionTries = 5;

export function databaseOn(knex: Knex, dialect: Dialect, timeZone = 'UTC'): Database {
  const dayOf = dayIn(timeZone);
  return {
    dialect,
    dayOf: (moment) => dayOf(fromDatabaseTime(moment)),

    async read(work) {
      try {
        return await work(knex);
      } catch (error) {
        if (!isConnectionLost(error)) throw asStoreError(error);
      }
      return withStoreErrors(() => work(knex));
    },

    write: (work) => withStoreErrors(() => work(knex)),

    async transaction(work) {
      for (let attempt = 1; ; attempt += 1) {
        let firstError: unknown;
        let committing = false;
        try {
          return await knex.transaction(async (transaction) => {
            try {
              const value = await work(transaction);
              committing = true;
              return value;
            } catch (error) {
              firstError = error;
              throw error;
            }
          });
        } catch (error) {
          // A rollback that fails as well must not hide why it was wanted.
          const reason = firstError ?? error;
          const again =
            (isDeadlock(reason) && attempt < transactionTries) ||
            (isConnectionLost(reason) && !committing && attempt === 1);
          if (!again) throw asStoreError(reason);
        }
      }
    },

    close: () => knex.destroy(),
  };
}

async function withStoreErrors<Value>(work: () => PromiseLike<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    throw asStoreError(error);
  }
}
