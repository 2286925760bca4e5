/**
 * Brings a database's tables up to date. Several replicas may start at once: on MariaDB a named lock lets one of them
 * work while the others wait. The lock belongs to its connection, so a process that is killed cannot leave it behind,
 * which knex's own lock (a row in a table) would.
 */
import type { Knex } from 'knex';
import { asStoreError, StoreUnavailableError } from './errors.js';
import { migrationSource } from './migrations/index.js';

const waitForOthersS = 120;

const config: Knex.MigratorConfig = {
  migrationSource,
  tableName: 'schema_migrations',
  // MariaDB commits each change of a table by itself, whatever a transaction says.
  disableTransactions: true,
  // During an upgrade, a replica of the version before may start on tables that are newer than it. They still fit.
  disableMigrationsListValidation: true,
};

export async function migrateMariaDb(knex: Knex): Promise<void> {
  await underLock(knex, () => applyMigrations(knex)).catch(rethrow);
}

export async function migrateSqlite(knex: Knex): Promise<void> {
  await applyMigrations(knex).catch(rethrow);
}

async function underLock(knex: Knex, work: () => Promise<void>): Promise<void> {
  const connection: unknown = await knex.client.acquireConnection();
  const lock = "CONCAT('stadion.migrate.', MD5(DATABASE()))";
  try {
    const [rows] = (await knex
      .raw(`SELECT GET_LOCK(${lock}, ?) AS got`, [waitForOthersS])
      .connection(connection)) as [{ got: number | null }[]];
    if (rows[0]?.got !== 1) {
      throw new StoreUnavailableError(
        new Error(`another process has been changing the tables for more than ${waitForOthersS} seconds`),
      );
    }
    await work();
    await knex.raw(`DO RELEASE_LOCK(${lock})`).connection(connection);
  } finally {
    await knex.client.releaseConnection(connection);
  }
}

async function applyMigrations(knex: Knex): Promise<void> {
  // We alone are here (see above): if knex's lock is taken, its owner was killed.
  await knex.migrate.forceFreeMigrationsLock(config);
  await knex.migrate.latest(config);
}

function rethrow(error: unknown): never {
  throw asStoreError(error);
}
