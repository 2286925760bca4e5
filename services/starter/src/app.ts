/** Puts a starter together and starts and stops it in order. Listening is left to whoever made it. */
import { randomUUID } from 'node:crypto';
import type { Express } from 'express';
import type { DispatchRequest, StarterStatus } from '@stadion/contracts';
import {
  createHttpApp,
  type HealthChecks,
  healthRoutes,
  type Logger,
  Lifecycle,
  loopsHealth,
  namedPeer,
  PeriodicLoop,
  type Registry,
  Refusal,
} from '@stadion/service-kit';
import { fileServerRootOf, scriptHostsOf, starterKeyOf, type StarterSettings } from './config.js';
import { Exchange } from './exchange/exchange.js';
import { allowHosts, relocateAddress } from './exchange/script-address.js';
import { ExecutorWatch } from './executor-watch.js';
import type { Executor } from './executors/executor.js';
import { dispatchGate, schedulerGate, starterRoutes } from './http/routes.js';
import { createStarterMetrics } from './metrics.js';
import { createOriginalSchedulerClient, noRunToken, routeByOrigin } from './outbox/original-scheduler.js';
import { createSchedulerClient } from './outbox/scheduler-client.js';
import { Outbox } from './outbox/outbox.js';
import type { Profiles } from './profiles.js';
import { recover, type Recovered, sweepOrphans } from './recover.js';
import { Supervisor } from './supervisor.js';
import { starterVersion } from './version.js';

export interface StarterParts {
  /** Belongs to the starter from now on: `stop` closes it. */
  executor: Executor;
  /** The same that the executor was made with. */
  profiles: Profiles;
  logger: Logger;
  /** One per starter. */
  registry: Registry;
}

export interface Starter {
  app: Express;
  /** Deals with what an earlier process left, then accepts attempts. */
  start(): Promise<Recovered>;
  /** Throws `Refusal('unavailable')` before `start` knows every attempt that an earlier process left. */
  status(): StarterStatus;
  /** Running scripts get the stop grace to end; what cannot be delivered now is delivered after the next start. */
  stop(): Promise<void>;
  /** Removes what nobody holds, now; the timer does the same every minute. */
  sweep(): Promise<Record<string, number>>;
}

const flushOnStopMs = 3_000;
/** The contract is a day; two spare an argument about clocks. */
const keepTombstonesMs = 48 * 3600 * 1000;

export function createStarter(settings: StarterSettings, parts: StarterParts): Starter {
  const { executor, profiles, logger, registry } = parts;
  const key = starterKeyOf(settings);
  const metrics = createStarterMetrics(registry);
  const watch = new ExecutorWatch(executor, logger);
  const { schedulerUrl, originalSchedulerUrl } = settings;
  const client = routeByOrigin(
    key && schedulerUrl ? createSchedulerClient(schedulerUrl, key) : undefined,
    originalSchedulerUrl ? createOriginalSchedulerClient(originalSchedulerUrl) : undefined,
  );
  // Longer than the longest release: the grace, then the time a sandbox takes to end.
  const lifecycle = new Lifecycle(logger, settings.stopGraceS * 1000 + 30_000);
  let opened:
    { exchange: Exchange; supervisor: Supervisor; outbox: Outbox; loops: PeriodicLoop[] } | undefined;

  function requireOpened() {
    if (!opened) throw new Refusal('unavailable', 'The starter is starting.', { retryAfterS: 1 });
    return opened;
  }

  function status(): StarterStatus {
    const { exchange, supervisor, outbox } = requireOpened();
    return {
      starter_id: exchange.starterId,
      version: starterVersion,
      executor: executor.name,
      isolation: watch.last?.isolation.slice(0, 500) || 'not known yet',
      ...(settings.advertiseUrl ? { url: settings.advertiseUrl } : {}),
      slots: settings.slots,
      busy: supervisor.busy + supervisor.queued,
      draining: supervisor.isDraining,
      attempts: [...new Set([...supervisor.ids(), ...outbox.ids()])],
    };
  }

  /** The script's address as this starter reaches it. */
  function relocated(request: DispatchRequest): DispatchRequest {
    const root = fileServerRootOf(settings);
    return root && request.script_url
      ? { ...request, script_url: relocateAddress(request.script_url, root) }
      : request;
  }

  function makeLoops(sweep: () => Promise<Record<string, number>>) {
    const loopOf = (
      name: string,
      cron: string,
      runOnce: (signal: AbortSignal) => Promise<Record<string, number>>,
    ) => new PeriodicLoop({ name, cron, behindAfterMs: 5 * 60_000, runOnce }, logger);
    return {
      watch: loopOf('watch-executor', '*/10 * * * * *', async () => {
        await watch.look();
        return {};
      }),
      sweep: loopOf('sweep-orphans', '30 * * * * *', sweep),
      heartbeat: settings.advertiseUrl
        ? loopOf('heartbeat', '*/5 * * * * *', async (signal) => {
            await client.postHeartbeat(status(), signal);
            return {};
          })
        : undefined,
    };
  }

  async function start(): Promise<Recovered> {
    const exchange = await Exchange.open(settings.exchangeDir);
    lifecycle.onStop('executor', () => executor.close());
    lifecycle.onStop('scheduler client', () => client.close());
    const outbox = new Outbox({ exchange, client, logger, onSettled: metrics.resultSettled });
    lifecycle.onStop('outbox', async () => {
      await outbox.flush(flushOnStopMs);
      await outbox.stop();
    });
    const supervisor = new Supervisor({
      ...settings,
      exchange,
      executor,
      profiles,
      outbox,
      client,
      metrics,
      logger,
      allowedHosts: allowHosts(scriptHostsOf(settings)),
      baseEnv: { is_cloud: '1', ...(settings.timeZone ? { TZ: settings.timeZone } : {}) },
      unreadyBecause: () => watch.problem,
      onEngineUnavailable: () => others.watch.nudge(),
    });
    metrics.show({
      slots: () => settings.slots,
      busy: () => supervisor.busy,
      queued: () => supervisor.queued,
      outbox: () => outbox.size,
    });
    const recovery = { exchange, executor, outbox, supervisor, logger };
    const { heartbeat, ...others } = makeLoops(() => sweepOrphans(recovery, keepTombstonesMs));
    const loops = [...Object.values(others), ...(heartbeat ? [heartbeat] : [])];
    // Scripts may take long to end, and the scheduler must not take them for lost meanwhile.
    if (heartbeat) lifecycle.onStop('heartbeat', () => heartbeat.stop());
    lifecycle.onStop('scripts', () => supervisor.stop(settings.stopGraceS * 1000));
    for (const loop of Object.values(others)) lifecycle.onStop(loop.name, () => loop.stop());

    await watch.look();
    const recovered = await recover(recovery);
    if (Object.values(recovered).some((count) => count > 0))
      logger.info(recovered, 'picked up what was left');
    // Not before: a status without the attempts that are being recovered would say that they are gone.
    opened = { exchange, supervisor, outbox, loops };
    for (const loop of loops) loop.start();
    heartbeat?.nudge();
    return recovered;
  }

  const checks: HealthChecks = {
    starter: () => ({ ready: opened !== undefined && !opened.supervisor.isDraining }),
    executor: () => ({ ready: watch.last?.ready ?? false, detail: watch.last }),
    loops: () => loopsHealth(opened?.loops ?? []),
  };

  const app = createHttpApp({
    routes: [
      ...starterRoutes({
        accept: async (request) => await requireOpened().supervisor.accept(relocated(request)),
        acceptOriginal: async (request) =>
          await requireOpened().supervisor.accept(
            relocated({ ...request, attempt_id: randomUUID(), run_token: noRunToken }),
            { canWait: true },
          ),
        status,
        problem: () => (opened ? watch.problem : 'The starter is starting.'),
      }),
      ...healthRoutes(checks, registry),
    ],
    gates: {
      scheduler: schedulerGate(key),
      dispatch: dispatchGate(key, originalSchedulerUrl ? namedPeer(originalSchedulerUrl) : undefined),
    },
    logger,
    registry,
  });

  return {
    app,
    start,
    status,
    stop: () => lifecycle.stop('asked to'),
    sweep: async () => {
      const { exchange, outbox, supervisor } = requireOpened();
      return await sweepOrphans({ exchange, executor, outbox, supervisor, logger }, keepTombstonesMs);
    },
  };
}
