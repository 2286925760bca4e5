/**
 * `npm run import-history`: copies the history of the original pipeline into the scheduler's database, once. Ends with 0
 * when all of it is here, with 1 when it was copied and something differs, with 2 when it could not be done.
 */
import { messageOf, readSettings, type Environment } from '@stadion/service-kit';
import { schedulerTable } from './config.js';
import { importHistory } from './history-import/import-history.js';
import { historyImportTable } from './history-import/settings.js';
import { openMariaDb, openMariaDbDatabase } from './store/connect.js';
import { openOriginalHistory } from './store/history-import-source.js';
import { historyTarget } from './store/history-import-target.js';

const { timeZone, keepTasksDays } = schedulerTable;
const { databaseHost, databasePort, databaseUser, databasePassword, databaseName } = schedulerTable;
const own = {
  timeZone,
  keepTasksDays,
  databaseHost,
  databasePort,
  databaseUser,
  databasePassword,
  databaseName,
};

async function main(environment: Environment): Promise<number> {
  const settings = readSettings({ ...own, ...historyImportTable }, environment);
  const server = {
    host: settings.databaseHost,
    port: settings.databasePort,
    user: settings.databaseUser,
    password: settings.databasePassword,
    database: settings.databaseName,
    pool: 2,
    timeZone: settings.timeZone,
    patient: true,
  };
  const store = openMariaDb(server);
  try {
    await store.migrate();
  } finally {
    await store.close();
  }
  const source = await openOriginalHistory({
    host: settings.sourceHost,
    port: settings.sourcePort,
    user: settings.sourceUser,
    password: settings.sourcePassword,
    database: settings.sourceName,
  });
  const target = historyTarget(openMariaDbDatabase(server));
  try {
    const { agrees } = await importHistory({
      source,
      target,
      zone: settings.sourceTimeZone,
      keepTasksDays: settings.keepTasksDays,
      print: (line) => console.log(line),
    });
    return agrees ? 0 : 1;
  } finally {
    await target.close();
    await source.close();
  }
}

try {
  process.exitCode = await main(process.env);
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 2;
}
