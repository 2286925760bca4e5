/** The starter as a process of its own: environment in, signals handled, everything else in `app.ts`. */
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  createLogger,
  createRegistry,
  Lifecycle,
  listen,
  messageOf,
  SettingsError,
} from '@stadion/service-kit';
import { createStarter } from './app.js';
import { readStarterSettings } from './config.js';
import { createExecutor } from './create-executor.js';
import { readStarterId } from './exchange/exchange.js';
import { readProfiles } from './profiles.js';

async function main(): Promise<void> {
  const settings = readStarterSettings(process.env);
  const logger = createLogger({ service: 'starter', level: settings.logLevel });
  const profiles = await readProfiles(settings);
  const executor = createExecutor(settings, profiles, {
    starterId: await readStarterId(settings.exchangeDir),
    searchPath: process.env['PATH'] ?? '',
    temporaryDir: tmpdir(),
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    node: {
      nodePath: process.execPath,
      preload: fileURLToPath(new URL('./executors/process/node-preload.mjs', import.meta.url)),
    },
    pyodide: {
      nodePath: process.execPath,
      runner: fileURLToPath(new URL('./executors/process/pyodide-runner.mjs', import.meta.url)),
      packageDir: dirname(fileURLToPath(import.meta.resolve('pyodide'))),
    },
  });
  const starter = createStarter(settings, {
    executor,
    profiles,
    logger,
    registry: createRegistry('starter'),
  });
  const lifecycle = new Lifecycle(logger, settings.stopGraceS * 1000 + 60_000);
  const stop = (reason: string) => {
    void lifecycle.stop(reason).then(() => process.exit(0));
  };
  process.once('SIGTERM', () => stop('SIGTERM'));
  process.once('SIGINT', () => stop('SIGINT'));

  // Listens first and stops last: meanwhile attempts are refused with a reason, and health and status are answered.
  const listening = await listen(starter.app, { host: settings.host, port: settings.port });
  lifecycle.onStop('http', () => listening.close());
  lifecycle.onStop('starter', () => starter.stop());
  await starter.start();
  logger.info(
    { port: listening.port, executor: executor.name, slots: settings.slots },
    'starter is listening',
  );
}

main().catch((error: unknown) => {
  process.stderr.write(
    `${error instanceof SettingsError ? error.message : `The starter cannot start: ${messageOf(error)}`}\n`,
  );
  process.exit(1);
});
