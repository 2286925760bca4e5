/** Embedded mode's settings: the scheduler's and the starter's, less what one process decides for itself. */
import { readSettings, type Environment, type Settings, type SettingsTable } from '@stadion/service-kit';
import { schedulerContradictions, schedulerTable } from '@stadion/scheduler';
import { starterSettings as starterTable } from '@stadion/starter';

export const embeddedTable = {
  authToken: {
    ...schedulerTable.authToken,
    required: false,
    defaultText: 'generated, kept in the data directory',
  },
  starterSecret: schedulerTable.starterSecret,
  hostUrl: {
    ...schedulerTable.hostUrl,
    required: false,
    defaultText: 'a built-in example that serves the folder `examples`',
  },
  timeLimitS: schedulerTable.timeLimitS,
  timeZone: schedulerTable.timeZone,
  logLevel: schedulerTable.logLevel,
  port: schedulerTable.port,
  overdueGraceS: schedulerTable.overdueGraceS,
  starterSilentS: schedulerTable.starterSilentS,
  starterLostS: schedulerTable.starterLostS,
  keepTasksDays: schedulerTable.keepTasksDays,
  keepStatisticsDays: schedulerTable.keepStatisticsDays,
  scriptHosts: starterTable.scriptHosts,
  slots: starterTable.slots,
  queueLimit: starterTable.queueLimit,
  outputLimit: starterTable.outputLimit,
  memoryBytes: starterTable.memoryBytes,
  cpus: starterTable.cpus,
  pids: starterTable.pids,
  openFiles: starterTable.openFiles,
  fileBytes: starterTable.fileBytes,
  tmpBytes: starterTable.tmpBytes,
  runnerImage: starterTable.runnerImage,
  runtime: starterTable.runtime,
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
  return readSettings(embeddedTable, environment, schedulerContradictions);
}
