import type { Migration } from './index.js';
import { createTable, moment } from './tables.js';

export const createStarters: Migration = {
  name: '0003-starters',
  async up(knex) {
    await createTable(knex, 'starters', (table) => {
      table.string('id', 36).notNullable().primary();
      table.text('url').nullable();
      table.boolean('configured').notNullable();
      table.string('version', 64).notNullable();
      table.string('executor', 16).notNullable();
      table.string('isolation', 500).notNullable();
      table.integer('slots').notNullable();
      table.integer('busy').notNullable();
      // Of `busy`, what is no attempt of ours. Settled when the heartbeat comes: later, our own ended attempts would
      // look like somebody else's until the next one.
      table.integer('foreign_busy').notNullable();
      table.boolean('draining').notNullable();
      table.specificType('last_seen_at', moment(knex)).notNullable();
      table.specificType('refused_until', moment(knex)).nullable();
    });
  },
};
