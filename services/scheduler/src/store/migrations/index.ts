/**
 * Every change of the tables, in order. One change each; expand, deploy, contract. A change must survive being cut off
 * half way and run again, since MariaDB cannot undo one: see `tables.ts`.
 */
import type { Knex } from 'knex';
import { createTasks } from './0001-tasks.js';
import { createTaskOutputs } from './0002-task-outputs.js';
import { createStarters } from './0003-starters.js';
import { createRunStatistics } from './0004-run-statistics.js';
import { createListening } from './0005-listening.js';
import { createChargedRuns } from './0006-charged-runs.js';
import { createHistoryIndexes } from './0007-history-indexes.js';
import { createLimitMonths } from './0008-limit-months.js';

export interface Migration {
  name: string;
  up(knex: Knex): Promise<void>;
}

const migrations: readonly Migration[] = [
  createTasks,
  createTaskOutputs,
  createStarters,
  createRunStatistics,
  createListening,
  createChargedRuns,
  createHistoryIndexes,
  createLimitMonths,
];

export const migrationSource: Knex.MigrationSource<Migration> = {
  getMigrations: () => Promise.resolve([...migrations]),
  getMigrationName: (migration) => migration.name,
  getMigration: ({ up }) =>
    Promise.resolve({
      up,
      down: () => Promise.reject(new Error('Tables are only changed forward; restore a backup to go back.')),
    }),
};
