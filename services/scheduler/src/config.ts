/** The scheduler's settings. */
import {
  readSettings,
  sharedSettings,
  type Environment,
  type Settings,
  type SettingsTable,
} from '@stadion/service-kit';

export const schedulerTable = {
  authToken: { ...sharedSettings.authToken, required: true },
  starterSecret: sharedSettings.starterSecret,
  hostUrl: { ...sharedSettings.hostUrl, required: true },
  timeLimitS: sharedSettings.timeLimitS,
  timeZone: { ...sharedSettings.timeZone, default: 'UTC' },
  logLevel: { ...sharedSettings.logLevel, aliases: ['PYTHON_SCHEDULER_LOG_LEVEL'] },
  host: {
    name: 'STADION_HOST',
    kind: 'text',
    default: '0.0.0.0',
    meaning: 'Address on which the scheduler listens.',
  },
  port: {
    name: 'STADION_PORT',
    aliases: ['PORT'],
    kind: 'integer',
    min: 0,
    max: 65_535,
    default: 5055,
    unit: 'port',
    meaning: 'Port on which the scheduler listens; 0 takes a free one.',
  },
  starterUrls: {
    name: 'STADION_STARTER_URLS',
    aliases: ['PYTHON_STARTER_URL'],
    kind: 'urls',
    default: [],
    meaning:
      'Addresses of starters, separated by commas. Starters that register themselves need not be listed.',
  },
  originalStarterUrl: {
    name: 'STADION_ORIGINAL_STARTER_URL',
    kind: 'url',
    meaning:
      'Address of one starter of the original pipeline (version 1, HTTP), which has no tokens: its results are taken from this address, and from this address only, without one.',
  },
  originalStarterSlots: {
    name: 'STADION_ORIGINAL_STARTER_SLOTS',
    kind: 'integer',
    min: 1,
    max: 10_000,
    default: 10,
    meaning: 'How many scripts the original starter runs at once: its number of threads.',
  },
  databaseHost: {
    name: 'STADION_DATABASE_HOST',
    aliases: ['DB_HOST'],
    kind: 'text',
    default: '127.0.0.1',
    meaning: 'Host of the MariaDB server (10.6 or newer).',
  },
  databasePort: {
    name: 'STADION_DATABASE_PORT',
    aliases: ['DB_PORT'],
    kind: 'integer',
    min: 1,
    max: 65_535,
    default: 3306,
    unit: 'port',
    meaning: 'Port of the MariaDB server.',
  },
  databaseUser: {
    name: 'STADION_DATABASE_USER',
    aliases: ['DB_USER'],
    kind: 'text',
    default: 'stadion',
    meaning: 'User that may create and change tables in the database.',
  },
  databasePassword: {
    name: 'STADION_DATABASE_PASSWORD',
    aliases: ['DB_ROOT_PASSWD', 'DB_PASSWD'],
    kind: 'secret',
    required: true,
    meaning: "The database user's password.",
  },
  databaseName: {
    name: 'STADION_DATABASE_NAME',
    aliases: ['DB_NAME'],
    kind: 'text',
    default: 'stadion',
    meaning: 'Database that holds the tables; it must exist.',
  },
  databasePool: {
    name: 'STADION_DATABASE_POOL',
    kind: 'integer',
    min: 2,
    max: 500,
    default: 16,
    unit: 'connections',
    meaning: 'Connections to the database that are kept at most.',
  },
  overdueGraceS: {
    name: 'STADION_OVERDUE_GRACE',
    kind: 'integer',
    min: 5,
    max: 3_600,
    default: 60,
    unit: 'seconds',
    meaning:
      'How much longer than its time limit a run may be reported as running before the scheduler ends it itself, because its starter did not.',
  },
  starterSilentS: {
    name: 'STADION_STARTER_UNREACHABLE',
    kind: 'integer',
    min: 10,
    max: 3_600,
    default: 30,
    unit: 'seconds',
    meaning: 'A starter that was silent for this long gets no new runs.',
  },
  starterLostS: {
    name: 'STADION_STARTER_LOST',
    kind: 'integer',
    min: 15,
    max: 86_400,
    default: 60,
    unit: 'seconds',
    meaning:
      'The runs of a starter that was silent for this long are lost. A true result that arrives later still counts.',
  },
  keepTasksDays: {
    name: 'STADION_KEEP_TASKS',
    aliases: ['DELETE_LOG_DAYS'],
    kind: 'number',
    min: 0.01,
    max: 36_500,
    default: 30,
    unit: 'days',
    meaning: 'Finished tasks and their output are deleted after this long.',
  },
  keepStatisticsDays: {
    name: 'STADION_KEEP_STATISTICS',
    aliases: ['DELETE_STATISTICS_DAYS'],
    kind: 'number',
    min: 1,
    max: 36_500,
    default: 90,
    unit: 'days',
    meaning: 'Run statistics are deleted after this long. Monthly limits need at least 31.',
  },
} satisfies SettingsTable;

export type SchedulerSettings = Settings<typeof schedulerTable>;

export function readSchedulerSettings(environment: Environment): SchedulerSettings {
  return readSettings(schedulerTable, environment, schedulerContradictions);
}

/** Settings that are fine alone and wrong together. */
export function schedulerContradictions(
  settings: Pick<
    SchedulerSettings,
    | 'starterLostS'
    | 'starterSilentS'
    | 'keepTasksDays'
    | 'keepStatisticsDays'
    | 'timeLimitS'
    | 'overdueGraceS'
  > &
    Partial<Pick<SchedulerSettings, 'originalStarterUrl' | 'starterUrls'>>,
): string[] {
  const problems: string[] = [];
  if (settings.originalStarterUrl && settings.starterUrls?.includes(settings.originalStarterUrl)) {
    problems.push(
      'STADION_ORIGINAL_STARTER_URL is also in STADION_STARTER_URLS; a starter is either the original or ours',
    );
  }
  if (settings.starterLostS <= settings.starterSilentS) {
    problems.push(
      `STADION_STARTER_LOST (${settings.starterLostS} s) must be longer than STADION_STARTER_UNREACHABLE (${settings.starterSilentS} s): a starter becomes unreachable before its runs are given up`,
    );
  }
  if (settings.keepTasksDays * 86_400 <= settings.timeLimitS + settings.overdueGraceS) {
    problems.push(
      `STADION_KEEP_TASKS (${settings.keepTasksDays} days) must be longer than STADION_TIME_LIMIT and STADION_OVERDUE_GRACE together: a run would be deleted before its result could be read`,
    );
  }
  if (settings.keepStatisticsDays < 31) {
    problems.push(
      'STADION_KEEP_STATISTICS must be at least 31 days: monthly counts are made from the statistics',
    );
  }
  return problems;
}
