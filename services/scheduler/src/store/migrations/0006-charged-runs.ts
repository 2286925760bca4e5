import type { Migration } from './index.js';
import { addColumns } from './tables.js';

export const createChargedRuns: Migration = {
  name: '0006-charged-runs',
  async up(knex) {
    // A run that never started is a run (run_count), but costs nobody anything (charged_count).
    await addColumns(knex, 'run_statistics', {
      charged_count: (table, column) => table.bigInteger(column).notNullable().defaultTo(0),
    });
    // What was counted of a task: the statistics can be recounted from these, whatever becomes of the time zone or of
    // a lost run's end.
    await addColumns(knex, 'tasks', {
      counted_on: (table, column) => table.string(column, 10).nullable(),
      run_time_us: (table, column) => table.bigInteger(column).nullable(),
    });
  },
};
