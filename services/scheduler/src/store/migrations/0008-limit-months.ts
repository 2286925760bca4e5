import type { Migration } from './index.js';
import { createIndex, createTable, moment } from './tables.js';

export const createLimitMonths: Migration = {
  name: '0008-limit-months',
  async up(knex) {
    // One row per organisation or user under a limit, and month. Locking it makes submits take turns.
    await createTable(knex, 'limit_months', (table) => {
      table.string('fair_key', 270).notNullable();
      table.string('month', 7).notNullable();
      table.bigInteger('refusals').notNullable();
      // When the host application is next to be told of the first refusal; null: not yet, or no more.
      table.specificType('tell_at', moment(knex)).nullable();
      table.specificType('told_at', moment(knex)).nullable();
      table.primary(['fair_key', 'month']);
    });
    await createIndex(knex, 'limit_months_to_tell', 'limit_months', ['tell_at']);
  },
};
