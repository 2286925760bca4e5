/** Production entry point of the scheduler: reads the environment, constructs, starts, stops on a signal. */
import { createLogger, createRegistry, SettingsError } from '@stadion/service-kit';
import { createScheduler } from './app.js';
import { readSchedulerSettings, type SchedulerSettings } from './config.js';
import { openMariaDb } from './store/connect.js';

let settings: SchedulerSettings;
try {
  settings = readSchedulerSettings(process.env);
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  console.error(error.message);
  process.exit(1);
}
const logger = createLogger({ service: 'scheduler', level: settings.logLevel });
const store = openMariaDb({
  host: settings.databaseHost,
  port: settings.databasePort,
  user: settings.databaseUser,
  password: settings.databasePassword,
  database: settings.databaseName,
  pool: settings.databasePool,
  timeZone: settings.timeZone,
});
const scheduler = createScheduler(settings, { store, logger, registry: createRegistry('scheduler') });

let stopping = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (stopping) return;
    stopping = true;
    scheduler.stop(signal).then(
      () => process.exit(0),
      (error: unknown) => {
        logger.fatal({ err: error }, 'could not stop cleanly');
        process.exit(1);
      },
    );
  });
}
try {
  await scheduler.start({ host: settings.host, port: settings.port });
} catch (error) {
  logger.fatal({ err: error }, 'could not start');
  await scheduler.stop('failed start');
  process.exit(1);
}
