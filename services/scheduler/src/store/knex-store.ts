/** Puts the store together from its parts, one file per subject. */
import { claimForStarters } from './claim.js';
import type { Database } from './database.js';
import { countByState, oldestQueuedAgeMs } from './figures.js';
import { listRuns, listRunsOfScript } from './history.js';
import {
  deleteOldStatistics,
  deleteOldTasks,
  expireOverdue,
  forgetSilentStarters,
  loseSilent,
} from './janitor.js';
import { claimExceeded, deleteOldLimitMonths, settleExceeded, submitWithinLimit } from './limits.js';
import { beginAttempt, finishAttempt, loseAttempt, refuseTask, releaseAttempt } from './moves.js';
import { heldNowhere, listStarters, recordStarter, refuseStarterUntil } from './starters.js';
import {
  countChargedRuns,
  findStatisticsDifferences,
  monthlyTotals,
  runTotals,
} from './statistics-queries.js';
import { dayAgo } from './statistics.js';
import type { Store } from './store.js';
import { getTask, submitTask } from './tasks.js';

export function createKnexStore(database: Database, migrate: () => Promise<void>): Store {
  return {
    migrate,
    ping: () => database.read((knex) => knex.raw('SELECT 1')).then(() => undefined),
    close: () => database.close(),

    submitTask: (task) => submitTask(database, task),
    submitWithinLimit: (task, limit) => submitWithinLimit(database, task, limit),
    getTask: (taskId) => getTask(database, taskId),

    claimForStarters: (wish) => claimForStarters(database, wish),
    releaseAttempt: (taskId, attemptId) => releaseAttempt(database, taskId, attemptId),
    beginAttempt: (taskId, attemptId, startedAt) => beginAttempt(database, taskId, attemptId, startedAt),
    finishAttempt: (result) => finishAttempt(database, result),
    loseAttempt: (loss) => loseAttempt(database, loss),
    refuseTask: (refusal) => refuseTask(database, refusal),

    recordStarter: (status, known) => recordStarter(database, status, known),
    listStarters: () => listStarters(database),
    refuseStarterUntil: (starterId, ms) => refuseStarterUntil(database, starterId, ms),
    heldNowhere: (starterId, attempts, olderThanMs) =>
      heldNowhere(database, starterId, attempts, olderThanMs),

    today: () => database.read((knex) => dayAgo(database, knex, 0)),
    listRunsOfScript: (script, page) => listRunsOfScript(database, script, page),
    listRuns: (filter, page) => listRuns(database, filter, page),
    countChargedRuns: (payer, month) => countChargedRuns(database, payer, month),
    monthlyTotals: (query) => monthlyTotals(database, query),
    runTotals: (query) => runTotals(database, query),
    findStatisticsDifferences: (kept) => findStatisticsDifferences(database, kept),

    claimExceeded: (rule) => claimExceeded(database, rule),
    settleExceeded: (told) => settleExceeded(database, told),

    expireOverdue: (rule) => expireOverdue(database, rule),
    loseSilent: (rule) => loseSilent(database, rule),
    deleteOldTasks: (rule) => deleteOldTasks(database, rule),
    deleteOldStatistics: (rule) => deleteOldStatistics(database, rule),
    deleteOldLimitMonths: (rule) => deleteOldLimitMonths(database, rule),
    forgetSilentStarters: (rule) => forgetSilentStarters(database, rule),

    countByState: () => countByState(database),
    oldestQueuedAgeMs: () => oldestQueuedAgeMs(database),
  };
}
