/**
 * knex's better-sqlite3 dialect over `libsql`, which has the same interface but comes with its binary inside the npm
 * package, so that an install needs no compiler and no download.
 */
import { types } from 'node:util';
import Libsql from 'libsql';
import Client_BetterSQLite3 from 'knex/lib/dialects/better-sqlite3/index.js';

interface LibsqlConnection {
  exec(sql: string): void;
}

interface Query {
  response?: unknown;
}

export class SqliteClient extends Client_BetterSQLite3 {
  override _driver(): unknown {
    return Libsql;
  }

  override async acquireRawConnection(): Promise<LibsqlConnection> {
    const connection = (await super.acquireRawConnection()) as LibsqlConnection;
    // FULL: a task that was answered for is on the disk, even if the power goes a moment later.
    connection.exec(
      'PRAGMA busy_timeout = 3000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;',
    );
    return connection;
  }

  override transaction(container: unknown, config: unknown, outer: unknown) {
    const transaction = super.transaction(container, config, outer);
    // knex begins with a read transaction; one that writes later fails when another process wrote in between.
    const begun = transaction as unknown as {
      begin(connection: unknown): unknown;
      query(connection: unknown, sql: string): unknown;
    };
    begun.begin = (connection) => begun.query(connection, 'BEGIN IMMEDIATE;');
    return transaction;
  }

  /** libsql ends a text at its first NUL. Such a text goes in and comes out as bytes; we keep no other blobs. */
  override _formatBindings(bindings: unknown[] | undefined): unknown[] {
    return super
      ._formatBindings(bindings)
      .map((value) =>
        typeof value === 'string' && value.includes('\0') ? Buffer.from(value, 'utf8') : value,
      );
  }

  override async _query(connection: unknown, query: unknown): Promise<unknown> {
    const answered = (await super._query(connection, query)) as Query;
    if (Array.isArray(answered.response)) answered.response.forEach(bytesToText);
    return answered;
  }
}

function bytesToText(row: Record<string, unknown>): void {
  for (const [column, value] of Object.entries(row)) {
    // libsql gives an ArrayBuffer; not instanceof, which knows only its own realm's (jest has another).
    if (types.isAnyArrayBuffer(value)) row[column] = Buffer.from(value).toString('utf8');
  }
}
