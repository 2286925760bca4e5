/**
 * What the scheduler keeps in its database, and all it may do with it. Both databases pass `store-contract.ts`.
 *
 * Every method may throw `StoreUnavailableError` (the database is away; trying later helps). Moves are guarded by the
 * states in `tasks/state-machine.ts` and by the attempt's id, and answer an `Outcome` instead of throwing. The moment
 * that decides is the database's. Reading changes nothing.
 */
import type { AttemptCause, StarterStatus } from '@stadion/contracts';
import type { EndOf, Outcome } from '../tasks/state-machine.js';
import type { Listed, Page, RunFilter, RunSummary, ScriptRuns } from '../tasks/run-history.js';
import type {
  ExceededLimit,
  MonthlyQuery,
  MonthlyTotal,
  Payer,
  RunTotal,
  RunTotalsQuery,
  StatisticsDifference,
} from '../tasks/run-statistics.js';
import type { NewTask, TaskRecord } from '../tasks/task.js';

export interface Store {
  /** Brings the tables up to date; replicas that start together take turns. To be called before anything else. */
  migrate(): Promise<void>;
  /** Throws unless the database answers. */
  ping(): Promise<void>;
  close(): Promise<void>;

  /** Records a queued task and tells its id. One round trip. */
  submitTask(task: NewTask): Promise<number>;
  /**
   * The same, unless the task's payer (its organisation, else its owner) has no run left this month: charged runs and
   * those that have not ended are fewer than `limit`, or it is refused and the first refusal of the month remembered.
   * A group's runs are under no limit.
   */
  submitWithinLimit(task: NewTask, limit: number): Promise<number | 'limit_exceeded'>;
  /** A number that can be no id is simply unknown. */
  getTask(taskId: number): Promise<TaskRecord | undefined>;

  /**
   * Gives queued tasks to starters, fairly, and tells what is to be pushed where. Replicas may call it at once: no
   * task is claimed twice, no slot is given away twice. Claims fewer than `limit` when slots or tasks run out.
   */
  claimForStarters(wish: ClaimWish): Promise<Claim[]>;
  /** Back to the queue: the starter refused the attempt, or proved that it never started it. */
  releaseAttempt(taskId: number, attemptId: string): Promise<Outcome>;
  /** The script runs. `startedAt` is the starter's word, held between the assignment and now; null means now. */
  beginAttempt(taskId: number, attemptId: string, startedAt: Date | null): Promise<Outcome>;
  /** Takes an attempt's result, its output and its statistics, all or nothing. Again: `wrong_state`, nothing changes. */
  finishAttempt(result: AttemptResult): Promise<Outcome>;
  /** Nobody can know any more how the attempt ended. A result that comes after all still counts. */
  loseAttempt(loss: { taskId: number; attemptId: string; reason: string }): Promise<Outcome>;
  /** Fails a task that cannot be run: a queued one, or with `attemptId` a starting one of that attempt. */
  refuseTask(refusal: TaskRefusal): Promise<Outcome>;

  /** What a starter said of itself, just now. A new id at a known address retires the old one: it gets no more tasks. */
  recordStarter(status: StarterStatus, known: { url?: string; configured: boolean }): Promise<void>;
  /** All of them, the silent included, by id. */
  listStarters(): Promise<StarterRecord[]>;
  /** Gives it no task for so long; it just refused one, or was not to be reached. */
  refuseStarterUntil(starterId: string, ms: number): Promise<void>;
  /** Attempts given to this starter at least `olderThanMs` ago that are in flight here but not in its list. */
  heldNowhere(starterId: string, attempts: readonly string[], olderThanMs: number): Promise<HeldNowhere[]>;

  /** Today in the operator's time zone, by the database's clock. */
  today(): Promise<string>;
  /** Their ids: whole runs are too long to be read by the hundred. Both ways of writing the base's UUID are the same. */
  listRunsOfScript(script: ScriptRuns, page: Page): Promise<Listed<number>>;
  /** Those recorded last come first. */
  listRuns(filter: RunFilter, page: Page): Promise<Listed<RunSummary>>;
  countChargedRuns(payer: Payer, month: string): Promise<number>;
  /** Charged runs of a month; whoever has none is left out, and so are groups and organisations' members as users. */
  monthlyTotals(query: MonthlyQuery): Promise<Listed<MonthlyTotal>>;
  /** All runs that ended, charged or not: by base those with the most first, by day the oldest first. */
  runTotals(query: RunTotalsQuery): Promise<Listed<RunTotal>>;
  /** Recounts the statistics of every day, from `fromDay` on, of which all tasks are still there. */
  findStatisticsDifferences(kept: {
    keepTasksDays: number;
    keepStatisticsDays: number;
  }): Promise<{ fromDay: string; differences: StatisticsDifference[] }>;

  /**
   * First refusals of which the host application is to be told now. Nobody else is given them for `retryMs`; after
   * that they count as not told, unless settled.
   */
  claimExceeded(rule: { retryMs: number; batch?: number }): Promise<ExceededLimit[]>;
  /** The host application was told, or will never listen. */
  settleExceeded(told: readonly ExceededLimit[]): Promise<void>;

  // Periodic work. Each call does at most one batch, safely beside another replica's, and tells how much it did.

  /**
   * Ends, as timed out, scripts that run for longer than limit + grace since their *start*; and attempts of which
   * nobody ever said that they started, once `startGraceMs` more have passed since they were assigned. Nobody, until
   * somebody has listened for `listenedMs`: after all schedulers or the database were away, the results that wait in
   * the starters' spools come first.
   */
  expireOverdue(rule: {
    timeLimitMs: number;
    graceMs: number;
    startGraceMs: number;
    listenedMs?: number;
    batch?: number;
  }): Promise<number>;
  /**
   * Gives up attempts whose starter was not heard of for `silentMs`. Silence counts only while somebody listened: after
   * all schedulers or the database were away, starters get the whole time again. To be called every
   * `silentMs / 4` or more often; a longer gap between calls counts as having been away.
   */
  loseSilent(rule: { silentMs: number; batch?: number }): Promise<number>;
  /** Deletes tasks, with their outputs, that ended more than `days` ago. */
  deleteOldTasks(rule: { days: number; batch?: number }): Promise<number>;
  deleteOldStatistics(rule: { days: number; batch?: number }): Promise<number>;
  /** Deletes what is remembered of monthly limits, of months that ended more than `days` ago. */
  deleteOldLimitMonths(rule: { days: number }): Promise<number>;
  /** Forgets starters that were not heard of for so long. One that comes back is recorded anew. */
  forgetSilentStarters(rule: { silentMs: number }): Promise<number>;

  /** How many tasks are in each state that is not final. */
  countByState(): Promise<Record<'queued' | 'starting' | 'running', number>>;
  /** How long the oldest queued task has been waiting, in ms; null when none is. */
  oldestQueuedAgeMs(): Promise<number | null>;
}

export interface ClaimWish {
  /** Most tasks to claim at once; at most 200. */
  limit: number;
  /** A starter not heard of for longer gets nothing. */
  liveWithinMs: number;
}

/** A task that is now `starting`, and where to push it. */
export interface Claim {
  task: TaskRecord;
  attemptId: string;
  starterId: string;
  starterUrl: string;
}

export interface AttemptResult {
  taskId: number;
  attemptId: string;
  state: EndOf<'finish'>;
  returnCode: number | null;
  output: string | null;
  cause: AttemptCause;
  /** Seconds the script ran; null when it never started. */
  spendTimeS: number | null;
  /** When the script started, if the starter says so and no running report said so before. */
  startedAt: Date | null;
}

export interface TaskRefusal {
  taskId: number;
  attemptId?: string;
  output: string;
  returnCode: number | null;
  cause: AttemptCause;
}

export interface StarterRecord extends Omit<StarterStatus, 'starter_id' | 'url' | 'attempts'> {
  id: string;
  /** null: it said none and none was configured; it gets no tasks. */
  url: string | null;
  configured: boolean;
  /** Attempts that are in flight on it as far as we know. */
  inFlight: number;
  lastSeenAt: Date;
  refusedUntil: Date | null;
}

export interface HeldNowhere {
  taskId: number;
  attemptId: string;
  state: 'starting' | 'running';
}
