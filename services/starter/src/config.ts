/** The starter's settings: one table, and the contradictions among them that stop the start. */
import {
  deriveKey,
  type Environment,
  readSettings,
  type Settings,
  type SettingsTable,
  sharedSettings,
  type SigningKey,
} from '@stadion/service-kit';

const mebibyte = 1024 ** 2;

export const starterSettings = {
  host: {
    kind: 'text',
    name: 'STADION_STARTER_HOST',
    default: '0.0.0.0',
    meaning: 'Address the starter listens on.',
  },
  port: {
    kind: 'integer',
    name: 'STADION_STARTER_PORT',
    min: 0,
    max: 65_535,
    default: 8088,
    meaning: 'Port the starter listens on; 0 takes a free one.',
  },
  schedulerUrl: {
    kind: 'url',
    name: 'STADION_SCHEDULER_URL',
    aliases: ['PYTHON_SCHEDULER_URL'],
    required: true,
    meaning: 'Where results are posted to.',
  },
  authToken: sharedSettings.authToken,
  starterSecret: sharedSettings.starterSecret,
  hostUrl: sharedSettings.hostUrl,
  scriptHosts: {
    kind: 'list',
    name: 'STADION_SCRIPT_HOSTS',
    meaning:
      'The only hosts that scripts are downloaded from, redirects included: `host:port`, or `host` for ports 80 and 443.',
    defaultText: 'the host of STADION_HOST_URL',
  },
  exchangeDir: {
    kind: 'text',
    name: 'STADION_EXCHANGE_DIR',
    aliases: ['PYTHON_TRANSFER_DIRECTORY'],
    default: '/var/lib/stadion/exchange',
    meaning:
      'Folder for attempts, their journal and results not yet delivered. Must survive a restart and belong to one starter alone.',
  },
  exchangeHostDir: {
    kind: 'text',
    name: 'STADION_EXCHANGE_HOST_DIR',
    meaning: 'The same folder as the Docker engine sees it, when the starter itself runs in a container.',
    defaultText: 'STADION_EXCHANGE_DIR',
  },
  timeLimitS: sharedSettings.timeLimitS,
  slots: {
    kind: 'integer',
    name: 'STADION_SLOTS',
    aliases: ['THREAD_COUNT'],
    min: 1,
    max: 10_000,
    default: 10,
    meaning: 'How many scripts run at once.',
  },
  queueLimit: {
    kind: 'integer',
    name: 'STADION_QUEUE_LIMIT',
    min: 0,
    max: 100_000,
    default: 10,
    meaning:
      'How many accepted attempts may wait for a slot; more are refused as busy and stay with the scheduler.',
  },
  outputLimit: sharedSettings.outputLimit,
  memoryBytes: {
    kind: 'bytes',
    name: 'STADION_MEMORY',
    min: 16 * mebibyte,
    default: 1024 * mebibyte,
    meaning: 'Memory and swap of a script together.',
  },
  cpus: {
    kind: 'number',
    name: 'STADION_CPUS',
    min: 0.01,
    max: 1024,
    default: 1,
    unit: 'processors',
    meaning: 'Share of processors a script may use.',
  },
  pids: {
    kind: 'integer',
    name: 'STADION_PIDS',
    min: 8,
    max: 100_000,
    default: 128,
    meaning: 'Processes and threads of a script together.',
  },
  openFiles: {
    kind: 'integer',
    name: 'STADION_OPEN_FILES',
    min: 32,
    max: 1_048_576,
    default: 1024,
    meaning: 'Files a script may have open at once.',
  },
  fileBytes: {
    kind: 'bytes',
    name: 'STADION_FILE_SIZE',
    min: mebibyte,
    default: 100 * mebibyte,
    meaning: 'Largest single file a script may write.',
  },
  tmpBytes: {
    kind: 'bytes',
    name: 'STADION_TMP_SIZE',
    min: mebibyte,
    default: 100 * mebibyte,
    meaning: "Size of a script's private /tmp.",
  },
  executor: {
    kind: 'choice',
    name: 'STADION_EXECUTOR',
    choices: ['docker', 'process'],
    default: 'docker',
    meaning: 'What a script runs in: a container, or a child process (weaker; needs no engine).',
  },
  runnerImage: {
    kind: 'text',
    name: 'STADION_RUNNER_IMAGE',
    aliases: ['PYTHON_RUNNER_IMAGE'],
    default: 'stadion/runner-python:latest',
    meaning: 'Image that scripts run in.',
  },
  runtime: {
    kind: 'text',
    name: 'STADION_RUNTIME',
    meaning: 'Container runtime of the engine to use, e.g. `runsc` for gVisor.',
    defaultText: "the engine's default",
  },
  dockerHost: {
    kind: 'text',
    name: 'STADION_DOCKER_HOST',
    aliases: ['DOCKER_HOST'],
    meaning: 'Where the Docker engine listens: `unix:///path` or `tcp://host:port`.',
    defaultText: "Docker's usual socket",
  },
  network: {
    kind: 'text',
    name: 'STADION_NETWORK',
    default: 'stadion-runners',
    meaning: 'Docker network of scripts: a bridge network, or `none`.',
  },
  timeZone: sharedSettings.timeZone,
  advertiseUrl: {
    kind: 'url',
    name: 'STADION_ADVERTISE_URL',
    meaning:
      'Address at which the scheduler reaches this starter. When set, the starter registers itself there by heartbeat.',
  },
  stopGraceS: {
    kind: 'integer',
    name: 'STADION_STOP_GRACE',
    unit: 'seconds',
    min: 0,
    max: 3_600,
    default: 10,
    meaning: 'When the starter is told to stop: how long running scripts may take to end by themselves.',
  },
  logLevel: { ...sharedSettings.logLevel, aliases: ['PYTHON_STARTER_LOG_LEVEL'] },
} as const satisfies SettingsTable;

export type StarterSettings = Settings<typeof starterSettings>;

export function readStarterSettings(environment: Environment): StarterSettings {
  return readSettings(starterSettings, environment, contradictionsIn);
}

/** Each contradiction as one sentence; empty when the settings go together. */
export function contradictionsIn(settings: StarterSettings): string[] {
  const problems: string[] = [];
  if (!settings.authToken && !settings.starterSecret) {
    problems.push('STADION_STARTER_SECRET or STADION_AUTH_TOKEN is required: the scheduler signs with it');
  }
  if (!settings.hostUrl && !settings.scriptHosts?.length) {
    problems.push(
      'STADION_SCRIPT_HOSTS or STADION_HOST_URL is required: scripts are downloaded from named hosts only',
    );
  }
  for (const entry of settings.scriptHosts ?? []) {
    if (!isHostEntry(entry)) {
      problems.push(
        `STADION_SCRIPT_HOSTS must list host or host:port without scheme and path, not ${JSON.stringify(entry)}`,
      );
    }
  }
  if (!settings.exchangeDir.startsWith('/')) problems.push('STADION_EXCHANGE_DIR must be an absolute path');
  if (settings.exchangeHostDir && !settings.exchangeHostDir.startsWith('/')) {
    problems.push('STADION_EXCHANGE_HOST_DIR must be an absolute path');
  }
  if (settings.executor === 'process') {
    if (settings.exchangeHostDir && settings.exchangeHostDir !== settings.exchangeDir) {
      problems.push('STADION_EXCHANGE_HOST_DIR has a meaning for STADION_EXECUTOR=docker only; remove it');
    }
    if (settings.runtime) {
      problems.push('STADION_RUNTIME has a meaning for STADION_EXECUTOR=docker only; remove it');
    }
  }
  if (settings.tmpBytes > settings.memoryBytes) {
    problems.push('STADION_TMP_SIZE must not exceed STADION_MEMORY: /tmp lies in memory');
  }
  return problems;
}

function isHostEntry(entry: string): boolean {
  if (/[/@?#\\]/.test(entry) || !URL.canParse(`http://${entry}/`)) return false;
  return new URL(`http://${entry}/`).hostname !== '';
}

/** The key that scheduler and starters sign with. */
export function starterKeyOf(settings: StarterSettings): SigningKey {
  const secret = settings.starterSecret ?? settings.authToken;
  if (!secret) throw new Error('neither STADION_STARTER_SECRET nor STADION_AUTH_TOKEN is set');
  return deriveKey(secret, 'starter');
}

/** `host` or `host:port` entries, the host application's when none are named. */
export function scriptHostsOf(settings: StarterSettings): readonly string[] {
  if (settings.scriptHosts?.length) return settings.scriptHosts;
  return settings.hostUrl ? [new URL(settings.hostUrl).host] : [];
}
