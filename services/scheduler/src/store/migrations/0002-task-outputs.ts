import type { Migration } from './index.js';
import { createTable } from './tables.js';

export const createTaskOutputs: Migration = {
  name: '0002-task-outputs',
  async up(knex) {
    // Apart from tasks, whose rows stay short. No foreign key: whoever deletes a task deletes its output first.
    await createTable(knex, 'task_outputs', (table) => {
      table.bigInteger('task_id').unsigned().notNullable().primary();
      table.text('output', 'longtext').notNullable();
    });
  },
};
