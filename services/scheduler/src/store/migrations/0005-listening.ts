import type { Migration } from './index.js';
import { createTable, moment } from './tables.js';

export const createListening: Migration = {
  name: '0005-listening',
  async up(knex) {
    // One row: since when schedulers have been listening to starters without a gap, and when one last did.
    await createTable(knex, 'listening', (table) => {
      table.integer('id').notNullable().primary();
      table.specificType('since', moment(knex)).notNullable();
      table.specificType('latest', moment(knex)).notNullable();
    });
  },
};
