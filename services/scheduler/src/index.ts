/** What a composition root needs to run a scheduler. */
export { createScheduler, type Scheduler, type SchedulerAppSettings } from './app.js';
export { schedulerContradictions, schedulerTable, type SchedulerSettings } from './config.js';
export { historyImportTable } from './history-import/settings.js';
export { openMariaDb, openSqlite } from './store/connect.js';
export type { Store } from './store/store.js';
