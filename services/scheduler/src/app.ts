/**
 * The scheduler, put together from its parts: which action serves which route, which periodic tasks run, and in
 * which order everything starts and stops. Both composition roots (production and embedded) call this.
 */
import {
  createHttpApp,
  deriveKey,
  gauge,
  healthRoutes,
  Lifecycle,
  listen,
  loopsHealth,
  pause,
  PeriodicLoop,
  Refusal,
  type Logger,
  type Registry,
} from '@stadion/service-kit';
import type { Express } from 'express';
import type { SchedulerSettings } from './config.js';
import { Dispatcher } from './dispatch/dispatcher.js';
import { createHostClient, createHostLimits } from './host-client.js';
import { hostRoutes } from './http/host-routes.js';
import { starterRoutes } from './http/starter-routes.js';
import { janitorTasks } from './periodic/janitor.js';
import { tellExceededLimits } from './periodic/tell-exceeded-limits.js';
import { createStarterClient } from './starter-client.js';
import {
  createOriginalStarter,
  reportOriginalResult,
  WatchOriginalStarter,
} from './starters/original-starter.js';
import { WatchStarters } from './starters/watch-starters.js';
import { StoreUnavailableError } from './store/errors.js';
import type { Store } from './store/store.js';
import { reportResult, reportRunning } from './tasks/report-attempt.js';
import { rememberLimits, submitTask } from './tasks/submit-task.js';
import { hostGate, resultGate, tokenGate } from './tokens.js';
import { version } from './version.js';

export type SchedulerAppSettings = Pick<
  SchedulerSettings,
  | 'authToken'
  | 'starterSecret'
  | 'hostUrl'
  | 'timeLimitS'
  | 'timeZone'
  | 'starterUrls'
  | 'overdueGraceS'
  | 'starterSilentS'
  | 'starterLostS'
  | 'keepTasksDays'
  | 'keepStatisticsDays'
> &
  Partial<Pick<SchedulerSettings, 'originalStarterUrl' | 'originalStarterSlots'>>;

export interface Scheduler {
  app: Express;
  /**
   * Listens, waits for the database, migrates it, and begins periodic work. Until then requests are answered 503.
   */
  start(address: { host: string; port: number }): Promise<{ port: number }>;
  /** Stops accepting, lets requests and pushes in flight end, closes the store. */
  stop(reason: string): Promise<void>;
}

export interface SchedulerParts {
  store: Store;
  logger: Logger;
  registry: Registry;
}

export function createScheduler(
  settings: SchedulerAppSettings,
  { store, logger, registry }: SchedulerParts,
): Scheduler {
  const starterKey = deriveKey(settings.starterSecret ?? settings.authToken, 'starter');
  const runKey = deriveKey(settings.authToken, 'run');
  const lifecycle = new Lifecycle(logger);
  const starters = createStarterClient({ key: starterKey, version });
  const originalStarter =
    settings.originalStarterUrl === undefined
      ? undefined
      : createOriginalStarter({
          url: settings.originalStarterUrl,
          slots: settings.originalStarterSlots ?? 10,
          version,
        });

  const dispatcher = new Dispatcher({
    store,
    starters,
    originalStarter,
    host: createHostClient({ hostUrl: settings.hostUrl, authToken: settings.authToken }),
    runKey,
    hostUrl: settings.hostUrl,
    timeLimitS: settings.timeLimitS,
    starterSilentMs: settings.starterSilentS * 1_000,
    logger,
  });
  const dispatchLoop = new PeriodicLoop(dispatcher, logger);
  const nudge = () => dispatchLoop.nudge();

  const watch = new WatchStarters({
    store,
    starters,
    starterUrls: settings.starterUrls,
    logger,
    pushAgain: (claim) => dispatcher.pushAgain(claim),
    onHeartbeat: nudge,
  });
  const watchLoop = new PeriodicLoop(watch, logger);
  const janitorLoops = janitorTasks({ store, ...settings }).map((task) => new PeriodicLoop(task, logger));
  const originalLoops = originalStarter
    ? [
        new PeriodicLoop(
          new WatchOriginalStarter({ store, starter: originalStarter, logger, onHeartbeat: nudge }),
          logger,
        ),
      ]
    : [];
  const limits = createHostLimits({ hostUrl: settings.hostUrl, authToken: settings.authToken });
  const exceededLoop = new PeriodicLoop(tellExceededLimits({ store, limits, logger }), logger);
  const loops = [dispatchLoop, watchLoop, exceededLoop, ...originalLoops, ...janitorLoops];

  const submitting = {
    store,
    askLimit: rememberLimits(limits),
    onQueued: nudge,
    onExceeded: () => exceededLoop.nudge(),
    logger,
  };
  const reports = { store, logger, onFinished: nudge };
  let migrated = false;
  const app = createHttpApp({
    logger,
    registry,
    refusalOf,
    notReadyBecause: () => (migrated ? undefined : databaseAway),
    gates: {
      host: hostGate(settings.authToken),
      run: tokenGate(runKey),
      result: resultGate(runKey, originalStarter?.peer),
      starter: tokenGate(starterKey),
    },
    routes: [
      ...hostRoutes(
        {
          submitTask: (task, limit) => submitTask(submitting, task, limit),
          findTask: (taskId) => store.getTask(taskId),
          listRunsOfScript: (script, page) => store.listRunsOfScript(script, page),
          today: () => store.today(),
          countChargedRuns: (payer, month) => store.countChargedRuns(payer, month),
          monthlyTotals: (query) => store.monthlyTotals(query),
          runTotals: (query) => store.runTotals(query),
          listRuns: (filter, page) => store.listRuns(filter, page),
        },
        settings,
      ),
      ...starterRoutes({
        reportRunning: (run, startedAt) => reportRunning(reports, run, startedAt),
        reportResult: (run, report) => reportResult(reports, run, report),
        reportOriginalResult: async (result) =>
          originalStarter
            ? await reportOriginalResult(
                {
                  store,
                  starter: originalStarter,
                  report: (run, report) => reportResult(reports, run, report),
                },
                result,
              )
            : 'not_its_own',
        recordHeartbeat: (status, url) => watch.recordHeartbeat(status, url, false),
      }),
      ...healthRoutes(
        {
          database: async () => {
            await store.ping();
            return { ready: migrated };
          },
          periodicWork: () => loopsHealth(loops),
          starters: async () => ({ ready: true, detail: await store.listStarters() }),
        },
        registry,
      ),
    ],
  });

  const tasks = gauge(registry, 'stadion_tasks', 'Unfinished tasks by state.', ['state']);
  const oldestQueued = gauge(registry, 'stadion_oldest_queued_seconds', 'Age of the oldest queued task.');
  const countLoop = new PeriodicLoop(
    {
      name: 'count-tasks',
      cron: '*/10 * * * * *',
      behindAfterMs: 120_000,
      runOnce: async () => {
        const counts = await store.countByState();
        for (const [state, count] of Object.entries(counts)) tasks.set({ state }, count);
        oldestQueued.set(((await store.oldestQueuedAgeMs()) ?? 0) / 1_000);
        return {};
      },
    },
    logger,
  );
  loops.push(countLoop);

  const stopping = new AbortController();

  /** Waits for a database that is not up yet, as when everything starts at once. False when told to stop meanwhile. */
  async function migrateWhenAwake(): Promise<boolean> {
    for (let tries = 0; !stopping.signal.aborted; tries += 1) {
      try {
        await store.migrate();
        return true;
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
        if (tries % 30 === 0)
          logger.warn({ error: error.message }, 'the database is not there yet; waiting for it');
        await pause(1_000, stopping.signal);
      }
    }
    return false;
  }

  return {
    app,
    async start(address) {
      lifecycle.onStop('store', () => store.close());
      const listening = await listen(app, address);
      lifecycle.onStop('http', () => listening.close());
      logger.info({ host: address.host, port: listening.port }, 'scheduler is listening');
      migrated = await migrateWhenAwake();
      if (!migrated) return { port: listening.port };
      lifecycle.onStop('pushes under way', () => dispatcher.stop());
      for (const loop of loops) {
        loop.start();
        lifecycle.onStop(loop.name, () => loop.stop());
      }
      // What fell due while nobody ran is done now, and not at the next full hour.
      for (const loop of loops) loop.nudge();
      return { port: listening.port };
    },
    stop(reason) {
      stopping.abort();
      return lifecycle.stop(reason);
    },
  };
}

const databaseAway = 'The database cannot be reached just now; try again.';

/** A database that is away is nobody's mistake: the client is asked to come again. */
function refusalOf(error: unknown): Refusal | undefined {
  if (!(error instanceof StoreUnavailableError)) return undefined;
  return new Refusal('unavailable', databaseAway, {
    retryAfterS: 2,
    cause: error,
  });
}
