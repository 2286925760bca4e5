import type { Migration } from './index.js';
import { createIndex, createTable, moment } from './tables.js';

export const createTasks: Migration = {
  name: '0001-tasks',
  async up(knex) {
    await createTable(knex, 'tasks', (table) => {
      table.bigIncrements('id');
      table.string('type', 32).notNullable();
      table.string('state', 16).notNullable();
      table.integer('priority').notNullable();
      table.string('fair_key', 270).notNullable();
      table.string('owner', 255).notNullable();
      table.bigInteger('org_id').nullable();
      table.string('base_uuid', 36).notNullable();
      table.string('script_name', 255).notNullable();
      // "trigger" is a word of SQL's own.
      table.string('triggered_by', 50).notNullable();
      table.text('script_url').nullable();
      table.text('api_token').nullable();
      // In this row, so that a task is recorded by one statement in one round trip. InnoDB keeps a long one on pages of
      // its own; nothing that claims, counts or sweeps reads more than an index of this table.
      table.text('context', 'longtext').nullable();
      table.specificType('created_at', moment(knex)).notNullable();
      table.specificType('assigned_at', moment(knex)).nullable();
      table.specificType('started_at', moment(knex)).nullable();
      table.specificType('finished_at', moment(knex)).nullable();
      table.string('attempt_id', 36).nullable();
      table.integer('attempt_number').notNullable();
      table.string('starter_id', 36).nullable();
      table.integer('return_code').nullable();
      table.string('cause', 32).nullable();
    });
    // Whom to serve next, who has how much in flight, what is overdue: everything asked about tasks that are not final.
    await createIndex(knex, 'tasks_by_turn', 'tasks', ['state', 'priority', 'fair_key', 'id']);
    // What a starter's heartbeat lists.
    await createIndex(knex, 'tasks_by_attempt', 'tasks', ['attempt_id']);
    // What is old enough to be deleted.
    await createIndex(knex, 'tasks_by_end', 'tasks', ['finished_at']);
  },
};
