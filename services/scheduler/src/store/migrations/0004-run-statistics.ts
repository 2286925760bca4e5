import type { Migration } from './index.js';
import { createTable } from './tables.js';

export const createRunStatistics: Migration = {
  name: '0004-run-statistics',
  async up(knex) {
    await createTable(knex, 'run_statistics', (table) => {
      table.string('day', 10).notNullable();
      // -1: no organisation. A key cannot hold NULL.
      table.bigInteger('org_id').notNullable();
      table.string('owner', 255).notNullable();
      table.string('base_uuid', 36).notNullable();
      table.bigInteger('run_count').notNullable();
      table.bigInteger('success_count').notNullable();
      table.bigInteger('manual_count').notNullable();
      table.bigInteger('automation_count').notNullable();
      table.bigInteger('total_run_time_us').notNullable();
      // The primary key and no second unique one: adding to a row then locks that row and nothing else.
      table.primary(['day', 'org_id', 'owner', 'base_uuid']);
    });
  },
};
