import type { Migration } from './index.js';
import { createIndex } from './tables.js';

export const createHistoryIndexes: Migration = {
  name: '0007-history-indexes',
  async up(knex) {
    // The log of one script, in order.
    await createIndex(knex, 'tasks_by_script', 'tasks', ['base_uuid', 'script_name', 'id']);
    // The runs of a time, of all or of one organisation.
    await createIndex(knex, 'tasks_by_creation', 'tasks', ['created_at']);
    await createIndex(knex, 'tasks_by_org', 'tasks', ['org_id', 'created_at']);
    // Who has how much waiting and in flight, for monthly limits: tasks_by_turn would read the whole queue for it.
    await createIndex(knex, 'tasks_by_payer', 'tasks', ['fair_key', 'state']);
    // A user's or an organisation's month. Neither is unique, see 0004.
    await createIndex(knex, 'statistics_by_owner', 'run_statistics', ['org_id', 'owner', 'day']);
    await createIndex(knex, 'statistics_by_org', 'run_statistics', ['org_id', 'day']);
  },
};
