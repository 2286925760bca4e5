/**
 * `npm run check:statistics`: reads the scheduler's settings, opens its database and changes nothing in it. Ends with 0
 * when the statistics agree with the history, with 1 when they do not, with 2 when that could not be found out.
 * `-- --sqlite <file>` checks the database of embedded mode.
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { messageOf, readSettings, type Environment } from '@stadion/service-kit';
import { checkStatistics } from './check-statistics.js';
import { schedulerTable } from './config.js';
import { openMariaDb, openSqlite } from './store/connect.js';
import type { Store } from './store/store.js';

const { timeZone, keepTasksDays, keepStatisticsDays } = schedulerTable;
const { databaseHost, databasePort, databaseUser, databasePassword, databaseName } = schedulerTable;
const kept = { timeZone, keepTasksDays, keepStatisticsDays };
const database = { databaseHost, databasePort, databaseUser, databasePassword, databaseName };

async function main(environment: Environment): Promise<number> {
  const { values } = parseArgs({ options: { sqlite: { type: 'string' } } });
  const settings = readSettings(kept, environment);
  // Opening would make it.
  if (values.sqlite !== undefined && !existsSync(values.sqlite))
    throw new Error(`There is no file ${values.sqlite}.`);
  const store =
    values.sqlite === undefined
      ? openProduction(environment, settings.timeZone)
      : openSqlite({ file: values.sqlite, timeZone: settings.timeZone });
  try {
    const agree = await checkStatistics({ store, ...settings, print: (line) => console.log(line) });
    return agree ? 0 : 1;
  } finally {
    await store.close();
  }
}

function openProduction(environment: Environment, zone: string): Store {
  const server = readSettings(database, environment);
  return openMariaDb({
    host: server.databaseHost,
    port: server.databasePort,
    user: server.databaseUser,
    password: server.databasePassword,
    database: server.databaseName,
    pool: 1,
    timeZone: zone,
    patient: true,
  });
}

try {
  process.exitCode = await main(process.env);
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 2;
}
