/** Parts of knex that it does not type: the two dialects that `connect.ts` adapts. */
declare module 'knex/lib/dialects/mysql2/index.js' {
  import { Knex } from 'knex';
  export default class Client_MySQL2 extends Knex.Client {
    _query(connection: unknown, query: unknown): Promise<unknown>;
  }
}
declare module 'knex/lib/dialects/better-sqlite3/index.js' {
  import { Knex } from 'knex';
  export default class Client_BetterSQLite3 extends Knex.Client {
    _driver(): unknown;
    _query(connection: unknown, query: unknown): Promise<unknown>;
    _formatBindings(bindings: unknown[] | undefined): unknown[];
  }
}
