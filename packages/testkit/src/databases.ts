/** Real databases for tests: each call gives a new, empty one, and the means to be rid of it. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';

export interface TestMariaDb {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  /** Changes something behind a store's back. */
  execute(sql: string): Promise<void>;
  drop(): Promise<void>;
}

/** A database of its own on the server that the test run brought up. */
export async function freshMariaDb(): Promise<TestMariaDb> {
  const url = process.env.STADION_TEST_MARIADB_URL;
  if (!url) {
    throw new Error(
      'STADION_TEST_MARIADB_URL is not set: this test needs MariaDB. Run `npm test`, which brings one up, ' +
        'or `npm run test:env` and use the variables that it prints.',
    );
  }
  const { hostname, port, username, password } = new URL(url);
  const server = {
    host: hostname,
    port: Number(port || 3306),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
  };
  const database = `stadion_test_${process.pid}_${randomBytes(6).toString('hex')}`;
  const run = async (sql: string, where: { database?: string } = {}) => {
    const connection = await createConnection({ ...server, ...where });
    try {
      await connection.query(sql);
    } finally {
      await connection.end();
    }
  };
  // Not our own collation, so that a table which forgets to name one is noticed.
  await run(`CREATE DATABASE ${database} CHARACTER SET latin1`);
  return {
    ...server,
    database,
    execute: (sql) => run(sql, { database }),
    drop: () => run(`DROP DATABASE IF EXISTS ${database}`),
  };
}

export interface TestSqlite {
  file: string;
  remove(): Promise<void>;
}

/** A file that does not exist yet, in a folder of its own. */
export async function freshSqlite(): Promise<TestSqlite> {
  const folder = await mkdtemp(join(tmpdir(), 'stadion-test-sqlite-'));
  return {
    file: join(folder, 'stadion.sqlite'),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
