/** A whole starter on a loopback port with a temporary exchange directory, between a fake scheduler and a fake host. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createRegistry, listen, type Registry } from '@stadion/service-kit';
import { type FakeHostApp, fakeHostApp, type FakeScheduler, fakeScheduler } from '@stadion/testkit';
import { createStarter, type Starter } from '../app.js';
import { readStarterSettings } from '../config.js';
import { Exchange } from '../exchange/exchange.js';
import { removeTree } from '../exchange/remove-tree.js';
import type { Executor } from '../executors/executor.js';
import { readProfiles } from '../profiles.js';
import { StandInExecutor } from './stand-in-executor.js';

export const testSecret = 'q7Zp-3vXr-9LmK-2sWt-5bNc';

export interface Stage {
  dir: string;
  host: FakeHostApp;
  scheduler: FakeScheduler;
  /** Starts a starter on this stage's exchange directory; the one before must be stopped or abandoned. */
  start<E extends Executor = StandInExecutor>(options?: {
    executor?: E;
    env?: Record<string, string>;
    /** Told the address before the starter is started. */
    onListening?: (url: string) => void;
  }): Promise<RunningStarter<E>>;
  exchange(): Promise<Exchange>;
  end(): Promise<void>;
}

export interface RunningStarter<E extends Executor = Executor> {
  starter: Starter;
  url: string;
  executor: E;
  registry: Registry;
  log: string[];
  stop(): Promise<void>;
}

export async function setStage(): Promise<Stage> {
  const dir = await mkdtemp(join(tmpdir(), 'stadion-starter-test-'));
  const host = await fakeHostApp();
  const scheduler = await fakeScheduler(testSecret);
  const open: RunningStarter[] = [];

  return {
    dir,
    host,
    scheduler,
    exchange: () => Exchange.open(join(dir, 'exchange')),
    async start<E extends Executor>({
      executor,
      env,
      onListening,
    }: Parameters<Stage['start']>[0] & { executor?: E } = {}) {
      // Without an executor of its own, E is the stand-in's type by default.
      const chosen = executor ?? (new StandInExecutor() as Executor as E);
      const running = await startStarter(chosen, onListening, {
        STADION_SCHEDULER_URL: scheduler.url,
        STADION_AUTH_TOKEN: testSecret,
        STADION_HOST_URL: host.url,
        STADION_EXCHANGE_DIR: join(dir, 'exchange'),
        STADION_EXECUTOR: 'process',
        STADION_STOP_GRACE: '0',
        ...env,
      });
      open.push(running);
      return running;
    },
    async end() {
      await Promise.all(open.map((running) => running.stop()));
      await Promise.all([host.close(), scheduler.close()]);
      await removeTree(dir, tmpdir());
    },
  };
}

async function startStarter<E extends Executor>(
  executor: E,
  onListening: ((url: string) => void) | undefined,
  env: Record<string, string>,
): Promise<RunningStarter<E>> {
  const log: string[] = [];
  const logger = createLogger(
    { service: 'starter', level: 'debug' },
    { write: (line) => void log.push(line) },
  );
  const registry = createRegistry('starter', { withProcess: false });
  const settings = readStarterSettings(env);
  const profiles = await readProfiles(settings);
  const starter = createStarter(settings, { executor, profiles, logger, registry });
  const listening = await listen(starter.app, { host: '127.0.0.1', port: 0 });
  const url = `http://127.0.0.1:${listening.port}`;
  onListening?.(url);
  await starter.start();
  let stopped: Promise<void> | undefined;
  return {
    starter,
    url,
    executor,
    registry,
    log,
    stop: () =>
      (stopped ??= (async () => {
        await starter.stop();
        await listening.close(0);
      })()),
  };
}
