/** What migrations share: tables and indexes that are made unless they are there, and the column types of both databases. */
import type { Knex } from 'knex';

export async function createTable(
  knex: Knex,
  name: string,
  define: (table: Knex.CreateTableBuilder) => void,
): Promise<void> {
  if (await knex.schema.hasTable(name)) return;
  await knex.schema.createTable(name, (table) => {
    if (isMariaDb(knex)) {
      table.engine('InnoDB');
      table.charset('utf8mb4');
      // Compares as SQLite does: byte by byte, trailing spaces included.
      table.collate('utf8mb4_nopad_bin');
    }
    define(table);
  });
}

/** Each column by itself, and only where it is not there yet. */
export async function addColumns(
  knex: Knex,
  table: string,
  columns: Record<string, (table: Knex.AlterTableBuilder, column: string) => void>,
): Promise<void> {
  for (const [column, define] of Object.entries(columns)) {
    if (await knex.schema.hasColumn(table, column)) continue;
    await knex.schema.alterTable(table, (builder) => define(builder, column));
  }
}

/** Separate from the table, as in knex's own SQL: between the two the process may be killed. */
export async function createIndex(knex: Knex, name: string, table: string, columns: string[]): Promise<void> {
  await knex.raw(`CREATE INDEX IF NOT EXISTS ${name} ON ${table} (${columns.join(', ')})`);
}

/** A moment in UTC, see `dialect.ts`. */
export function moment(knex: Knex): string {
  return isMariaDb(knex) ? 'datetime(6)' : 'text';
}

function isMariaDb(knex: Knex): boolean {
  return knex.client.dialect === 'mysql';
}
