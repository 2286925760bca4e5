/** Embedded mode's settings: the scheduler's and the starter's, less what one process decides for itself. */
import { readSettings, type Environment, type Settings, type SettingsTable } from '@stadion/service-kit';
import { schedulerContradictions, schedulerTable } from '@stadion/scheduler';
import {
  contradictionsIn as starterContradictions,
  starterSettings as starterTable,
  type StarterSettings,
} from '@stadion/starter';

export const embeddedTable = {
  ...without(
    schedulerTable,
    'host',
    'starterUrls',
    'originalStarterUrl',
    'originalStarterSlots',
    'databaseHost',
    'databasePort',
    'databaseUser',
    'databasePassword',
    'databaseName',
    'databasePool',
  ),
  ...without(
    starterTable,
    'host',
    'port',
    'schedulerUrl',
    'originalSchedulerUrl',
    'advertiseUrl',
    'exchangeDir',
    'exchangeHostDir',
    'fileServerRoot',
    'useFileServerRoot',
    'runnerUid',
    'runnerGid',
    'runnerOptions',
    'timeZone',
  ),
  authToken: {
    ...schedulerTable.authToken,
    required: false,
    defaultText: 'generated, kept in the data directory',
  },
  hostUrl: {
    ...schedulerTable.hostUrl,
    required: false,
    defaultText: 'a built-in example that serves the folder `examples`',
  },
  stopGraceS: { ...starterTable.stopGraceS, default: 2 },
  executor: {
    ...starterTable.executor,
    choices: ['auto', 'docker', 'process'],
    default: 'auto',
    meaning:
      'What a script runs in: `docker`, `process`, or `auto` for Docker when an engine answers and has the runner image, and a process otherwise.',
  },
  dataDir: {
    name: 'STADION_DATA_DIR',
    kind: 'text',
    default: '.stadion',
    meaning: 'Folder for the database, the generated secret, the log, and scripts while they run.',
  },
} as const satisfies SettingsTable;

export type EmbeddedSettings = Settings<typeof embeddedTable>;

export function readEmbeddedSettings(environment: Environment): EmbeddedSettings {
  return readSettings(embeddedTable, environment, (settings) => [
    ...schedulerContradictions(settings),
    ...starterContradictions(starterSettingsOf(settings, notKnownYet)),
  ]);
}

/** What this process decides for its starter. */
export interface StarterPlace {
  authToken: string;
  schedulerUrl: string;
  advertiseUrl: string;
  exchangeDir: string;
  executor: 'docker' | 'process';
  /** Hosts that serve scripts, `host:port`. */
  scriptHosts: readonly string[];
}

const notKnownYet: StarterPlace = {
  authToken: 'generated',
  schedulerUrl: 'http://127.0.0.1',
  advertiseUrl: 'http://127.0.0.1',
  exchangeDir: '/',
  executor: 'docker',
  scriptHosts: ['127.0.0.1'],
};

export function starterSettingsOf(settings: EmbeddedSettings, place: StarterPlace): StarterSettings {
  return {
    ...settings,
    ...place,
    host: '127.0.0.1',
    port: 0,
    exchangeHostDir: undefined,
    originalSchedulerUrl: undefined,
    fileServerRoot: undefined,
    useFileServerRoot: false,
    runnerUid: undefined,
    runnerGid: undefined,
    runnerOptions: undefined,
  };
}

function without<T extends object, K extends keyof T>(table: T, ...names: K[]): Omit<T, K> {
  const rest = { ...table };
  for (const name of names) delete rest[name];
  return rest;
}
