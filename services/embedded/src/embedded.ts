/**
 * Scheduler, starter and SQLite in one process, listening on loopback only. The two speak HTTP to each other as they
 * do in production; only who constructs them differs.
 */
import { createServer } from 'node:net';
import express from 'express';
import { createScheduler, openSqlite } from '@stadion/scheduler';
import { codeOf, createRegistry, Lifecycle, listen, type Logger } from '@stadion/service-kit';
import {
  createExecutor,
  createStarter,
  type Language,
  readProfiles,
  readStarterId,
  type Surroundings,
} from '@stadion/starter';
import { chooseExecutor, type ExecutorChoice } from './choose-executor.js';
import { starterSettingsOf, type EmbeddedSettings } from './config.js';
import { readOrMakeSecret, type DataDir } from './data-dir.js';
import { startExampleHost, type ExampleHost } from './example-host.js';

export interface Embedded {
  url: string;
  authToken: string;
  /** Undefined when the secret came from the environment. */
  secretFile: string | undefined;
  dataDir: DataDir;
  exampleHost: ExampleHost;
  choice: ExecutorChoice;
  stop(reason: string): Promise<void>;
}

export interface EmbeddedParts {
  dataDir: DataDir;
  logger: Logger;
  /** Folder whose scripts the built-in host application serves. */
  examplesDir: string;
  /** Nobody asked for this port in particular: a free one does as well when it is taken. */
  anyPortWillDo: boolean;
  /** Of the script at hand: it shall run at once. */
  language: Language;
  surroundings: Omit<Surroundings, 'starterId'>;
}

const host = '127.0.0.1';

export async function startEmbedded(settings: EmbeddedSettings, parts: EmbeddedParts): Promise<Embedded> {
  const { dataDir, logger } = parts;
  const lifecycle = new Lifecycle(logger, settings.stopGraceS * 1_000 + 60_000);
  lifecycle.onStop('data directory', () => dataDir.release());
  try {
    return await start();
  } catch (error) {
    await lifecycle.stop('failed start');
    throw error;
  }

  async function start(): Promise<Embedded> {
    const authToken = settings.authToken ?? (await readOrMakeSecret(dataDir.secretFile));
    const exampleHost = await startExampleHost(parts.examplesDir, authToken);
    lifecycle.onStop('example host application', () => exampleHost.close());
    const hostUrl = settings.hostUrl ?? exampleHost.url;

    const scheduler = createScheduler(
      { ...settings, authToken, hostUrl, starterUrls: [] },
      {
        store: openSqlite({ file: dataDir.database, timeZone: settings.timeZone }),
        logger: logger.child({ part: 'scheduler' }),
        registry: createRegistry('scheduler'),
      },
    );
    lifecycle.onStop('scheduler', () => scheduler.stop('embedded stop'));
    const { port } = await scheduler.start({ host, port: await portFor(settings.port, parts.anyPortWillDo) });
    const url = `http://${host}:${port}`;

    // The starter must know its own address before it is made; so a listener is made first and handed over.
    const front = express();
    const listening = await listen(front, { host, port: 0 });
    lifecycle.onStop('starter http', () => listening.close());
    const place = {
      authToken,
      schedulerUrl: url,
      advertiseUrl: `http://${host}:${listening.port}`,
      exchangeDir: dataDir.exchange,
      scriptHosts: [
        ...(settings.scriptHosts ?? []),
        ...[hostUrl, exampleHost.url].map((address) => new URL(address).host),
      ],
    };
    const surroundings = { ...parts.surroundings, starterId: await readStarterId(dataDir.exchange) };
    const profiles = await readProfiles(starterSettingsOf(settings, { ...place, executor: 'docker' }));
    const make = (executor: 'docker' | 'process') =>
      createExecutor(starterSettingsOf(settings, { ...place, executor }), profiles, surroundings);
    const candidates = { docker: () => make('docker'), process: () => make('process') };
    const choice = await chooseExecutor(settings.executor, candidates, parts.language);
    const starter = createStarter(starterSettingsOf(settings, { ...place, executor: choice.executor.name }), {
      executor: choice.executor,
      profiles,
      logger: logger.child({ part: 'starter' }),
      registry: createRegistry('starter', { withProcess: false }),
    });
    front.use(starter.app);
    lifecycle.onStop('starter', () => starter.stop());
    await starter.start();

    return {
      url,
      authToken,
      secretFile: settings.authToken === undefined ? dataDir.secretFile : undefined,
      dataDir,
      exampleHost,
      choice,
      stop: (reason) => lifecycle.stop(reason),
    };
  }
}

/** The port itself, or 0 (any free one) when something else listens there and any port will do. */
async function portFor(port: number, anyPortWillDo: boolean): Promise<number> {
  if (!anyPortWillDo) return port;
  return await new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error) => (codeOf(error) === 'EADDRINUSE' ? resolve(0) : reject(error)));
    probe.listen(port, host, () => probe.close(() => resolve(port)));
  });
}
