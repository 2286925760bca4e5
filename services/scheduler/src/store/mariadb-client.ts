/**
 * knex's mysql2 dialect, made to survive a database that goes away: a connection is set up the same way each time,
 * one that has been idle is asked whether it still lives before it is handed out (R15), and a statement that gets no
 * answer is given up together with its connection, so that a stalled server costs a request seconds, not for ever.
 */
import { promisify } from 'node:util';
import type { Connection, QueryError } from 'mysql2';
import Client_MySQL2 from 'knex/lib/dialects/mysql2/index.js';
import { UnsupportedDatabaseError } from './errors.js';

/** A connection idle for longer is asked first. One round trip; below it, the socket's own close event suffices. */
const askAfterIdleMs = 500;
const askTimeoutMs = 700;
/** For each of the two statements that set up a new connection. */
const sessionTimeoutMs = 1500;
const oldestMariaDb = [10, 6] as const;

type PooledConnection = Connection & { __knex__disposed?: unknown; stadionUsedAt?: number };
type Callback<Value> = (error: QueryError | null, value: Value) => void;

export class MariaDbClient extends Client_MySQL2 {
  private get statementTimeoutMs(): number {
    // Handed through knex's config, which keeps what it does not know.
    return (this.config as { statementTimeoutMs?: number }).statementTimeoutMs ?? 0;
  }

  override async acquireRawConnection(): Promise<PooledConnection> {
    const connection = (await super.acquireRawConnection()) as PooledConnection;
    try {
      await this.prepareSession(connection);
      return connection;
    } catch (error) {
      discard(connection, error);
      throw error;
    }
  }

  private async prepareSession(connection: PooledConnection): Promise<void> {
    const query = (sql: string) =>
      promisify((done: Callback<unknown>) => connection.query({ sql, timeout: sessionTimeoutMs }, done))();
    const rows = (await query('SELECT VERSION() AS version')) as { version: string }[];
    refuseUnsupported(rows[0]?.version ?? '');
    const statementTimeoutS = this.statementTimeoutMs / 1000;
    await query(
      [
        // The connection's own default would compare and store by the server's setting, whatever that is.
        'SET NAMES utf8mb4 COLLATE utf8mb4_nopad_bin',
        "time_zone = '+00:00'",
        // The driver escapes with backslashes, so NO_BACKSLASH_ESCAPES must not slip in from the server's default.
        "sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY'",
        "tx_isolation = 'READ-COMMITTED'",
        // Each a little before the client's own limit, so that the server says what happened.
        `innodb_lock_wait_timeout = ${Math.max(1, Math.floor(statementTimeoutS * 0.7)) || 50}`,
        `max_statement_time = ${(statementTimeoutS * 0.9).toFixed(1)}`,
      ].join(', '),
    );
  }

  override async acquireConnection(): Promise<PooledConnection> {
    for (;;) {
      const connection = (await super.acquireConnection()) as PooledConnection;
      const idleMs = Date.now() - (connection.stadionUsedAt ?? Date.now());
      if (idleMs < askAfterIdleMs || (await isAlive(connection))) return connection;
      // Back to the pool as disposed: the pool drops it and makes another, or gives the next one.
      await super.releaseConnection(connection);
    }
  }

  override releaseConnection(connection: PooledConnection): Promise<void> {
    connection.stadionUsedAt = Date.now();
    return super.releaseConnection(connection) as Promise<void>;
  }

  override async _query(connection: PooledConnection, query: unknown): Promise<unknown> {
    const statement = (typeof query === 'string' ? { sql: query } : query) as { options?: object };
    statement.options = { timeout: this.statementTimeoutMs || undefined, ...statement.options };
    try {
      return await super._query(connection, statement);
    } catch (error) {
      // The statement with all its values: tokens and outputs must not reach a log.
      delete (error as { sql?: string }).sql;
      // Its answer may still come, and would be taken for the next statement's.
      if ((error as QueryError).code === 'PROTOCOL_SEQUENCE_TIMEOUT') discard(connection, error);
      throw error;
    }
  }

  override async destroyRawConnection(connection: PooledConnection): Promise<void> {
    const said = await within(
      1000,
      promisify((done: Callback<void>) => connection.end(done as never))(),
    ).catch(() => false);
    if (!said) connection.destroy();
    connection.removeAllListeners();
    // A socket may still fail after its farewell; nobody is left to care.
    connection.on('error', () => undefined);
  }
}

async function isAlive(connection: PooledConnection): Promise<boolean> {
  try {
    const answered = await within(
      askTimeoutMs,
      promisify((done: Callback<void>) => connection.ping(done as never))(),
    );
    if (!answered) discard(connection, new Error('idle connection did not answer'));
    return answered;
  } catch (error) {
    discard(connection, error);
    return false;
  }
}

function discard(connection: PooledConnection, why: unknown): void {
  connection.__knex__disposed = why;
  connection.destroy();
}

/** Whether `work` ended in time. */
async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  work.catch(() => undefined);
  return Promise.race([work.then(() => true), late]).finally(() => clearTimeout(timer));
}

export function refuseUnsupported(version: string): void {
  const wanted = `Stadion needs MariaDB ${oldestMariaDb.join('.')} or newer`;
  if (!/mariadb/i.test(version)) {
    throw new UnsupportedDatabaseError(
      `${wanted}; the server calls itself "${version}", which is not MariaDB.`,
    );
  }
  // Servers behind old replication protocols put "5.5.5-" in front.
  const [, major = 0, minor = 0] = /^(?:5\.5\.5-)?(\d+)\.(\d+)/.exec(version)?.map(Number) ?? [];
  if (major < oldestMariaDb[0] || (major === oldestMariaDb[0] && minor < oldestMariaDb[1])) {
    throw new UnsupportedDatabaseError(
      `${wanted} (for SKIP LOCKED); the server is "${version}". Please upgrade it.`,
    );
  }
}
