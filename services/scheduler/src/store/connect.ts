/** Opens a store on either database. The only place that knows how they are connected to. */
import knexPackage, { type Knex } from 'knex';
import { databaseOn, type Database } from './database.js';
import { mariaDbDialect, sqliteDialect, type Clock } from './dialect.js';
import { createKnexStore } from './knex-store.js';
import { MariaDbClient } from './mariadb-client.js';
import { migrateMariaDb, migrateSqlite } from './migrate.js';
import { SqliteClient } from './sqlite-client.js';
import type { Store } from './store.js';

// CommonJS: Node sees no named exports in it.
const { knex } = knexPackage;

/**
 * Together they keep a request below the five seconds in which a host application is promised its 503: waiting for a
 * connection happens while the database is away, waiting for a statement while it is stalled, hardly ever both.
 */
const acquireTimeoutMs = 2000;
const connectTimeoutMs = 1500;
const statementTimeoutMs = 3000;

export interface StoreOptions {
  /** The moment that decides, instead of the database's clock. For tests. */
  now?: Clock;
  /** Whose days and months runs are counted by; UTC unless given. */
  timeZone?: string;
}

export interface MariaDbSettings extends StoreOptions {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  /** Most connections at once. */
  pool: number;
  /** Statements may take as long as they take: for commands, not for requests. */
  patient?: boolean;
}

export interface SqliteSettings extends StoreOptions {
  file: string;
}

/** Connects lazily: with the database away this succeeds, and the first use throws `StoreUnavailableError`. */
export function openMariaDb(settings: MariaDbSettings): Store {
  return createKnexStore(openMariaDbDatabase(settings), async () => {
    // Its own connections: changing a large table takes longer than any request may.
    const patient = knex(mariaDbConfig({ ...settings, pool: 2, patient: true }));
    try {
      await migrateMariaDb(patient);
    } finally {
      await patient.destroy();
    }
  });
}

/** The database under a store, for a command that does what no store does. */
export function openMariaDbDatabase(settings: MariaDbSettings): Database {
  const connection = knex(mariaDbConfig(settings));
  return databaseOn(connection, mariaDbDialect(connection, settings.now), settings.timeZone);
}

function mariaDbConfig(settings: MariaDbSettings): Knex.Config {
  const { host, port, user, password, database, pool } = settings;
  const config: Knex.Config & { statementTimeoutMs: number } = {
    client: MariaDbClient,
    connection: {
      host,
      port,
      user,
      password,
      database,
      charset: 'utf8mb4',
      timezone: 'Z',
      dateStrings: true,
      supportBigNumbers: true,
      connectTimeout: connectTimeoutMs,
      // An object where a scalar belongs becomes its text and not a piece of SQL.
      ...{ stringifyObjects: true, enableKeepAlive: true },
    },
    pool: { min: 0, max: pool, createTimeoutMillis: acquireTimeoutMs, idleTimeoutMillis: 60_000 },
    acquireConnectionTimeout: acquireTimeoutMs,
    statementTimeoutMs: settings.patient ? 0 : statementTimeoutMs,
    ...quiet,
  };
  return config;
}

/** One process, one connection: SQLite writes one at a time anyway. The file is made when it is not there. */
export function openSqlite({ file, now, timeZone }: SqliteSettings): Store {
  const connection = knex({
    client: SqliteClient,
    connection: { filename: file },
    useNullAsDefault: true,
    pool: { min: 1, max: 1 },
    acquireConnectionTimeout: acquireTimeoutMs,
    ...quiet,
  });
  return createKnexStore(databaseOn(connection, sqliteDialect(connection, now), timeZone), () =>
    migrateSqlite(connection),
  );
}

const quiet = {
  /** knex writes warnings to the console; whatever matters is thrown, and logged once by whoever catches it. */
  log: { warn: ignore, error: ignore, deprecate: ignore, debug: ignore },
  /** Errors name the statement without its values: those may be secrets. */
  compileSqlOnError: false,
};

function ignore(): void {
  // See `quiet`.
}
