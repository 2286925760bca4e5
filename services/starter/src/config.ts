/** The starter's settings: one table, and the contradictions among them that stop the start. */
import {
  deriveKey,
  type Environment,
  readSettings,
  type Settings,
  type SettingsTable,
  SettingsError,
  sharedSettings,
  type SigningKey,
} from '@stadion/service-kit';
import { parseRunnerOptions, type RunnerOptions } from './runner-options.js';

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
    requiredUnless: 'STADION_ORIGINAL_SCHEDULER_URL',
    meaning: 'Where results are posted to.',
  },
  originalSchedulerUrl: {
    kind: 'url',
    name: 'STADION_ORIGINAL_SCHEDULER_URL',
    meaning:
      'Address of one scheduler of the original pipeline (version 1, HTTP), which has no tokens: runs are taken from this address, and from this address only, without one, and their results are posted there.',
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
  fileServerRoot: {
    kind: 'url',
    name: 'STADION_FILE_SERVER_ROOT',
    aliases: ['ALTERNATIVE_FILE_SERVER_ROOT'],
    meaning:
      "Takes the place of scheme and host in every script's address when STADION_USE_FILE_SERVER_ROOT says so, for a starter that reaches the file server by another name. Its host is one that scripts are downloaded from.",
  },
  useFileServerRoot: {
    kind: 'flag',
    name: 'STADION_USE_FILE_SERVER_ROOT',
    aliases: ['USE_ALTERNATIVE_FILE_SERVER_ROOT'],
    default: false,
    meaning: 'Whether STADION_FILE_SERVER_ROOT is used.',
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
    aliases: ['PYTHON_STARTER_THREAD_COUNT', 'THREAD_COUNT'],
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
    aliases: ['PYTHON_RUNNER_CONTAINER_MEMORY', 'CONTAINER_MEMORY'],
    min: 16 * mebibyte,
    default: 1024 * mebibyte,
    meaning: 'Memory and swap of a script together.',
  },
  cpus: {
    kind: 'number',
    name: 'STADION_CPUS',
    aliases: ['PYTHON_RUNNER_CONTAINER_CPUS', 'CONTAINER_CPUS'],
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
    meaning: 'Image that Python scripts run in.',
  },
  runnerProtocol: {
    kind: 'choice',
    name: 'STADION_RUNNER_PROTOCOL',
    choices: ['stadion', 'original'],
    default: 'stadion',
    meaning:
      'How STADION_RUNNER_IMAGE is spoken to: `stadion`, or `original` for an image made for the original pipeline. Secrets of scripts are then visible in `docker inspect`.',
  },
  nodeRunnerImage: {
    kind: 'text',
    name: 'STADION_NODE_RUNNER_IMAGE',
    default: 'stadion/runner-node:latest',
    meaning: 'Image that JavaScript scripts run in.',
  },
  profilesFile: {
    kind: 'text',
    name: 'STADION_PROFILES',
    meaning:
      'JSON file of runner profiles (image, language, limits): changes to `python` and `node`, and others to be chosen by name. See docs/runners.md.',
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
  runnerUid: {
    kind: 'integer',
    name: 'STADION_RUNNER_UID',
    aliases: ['UID'],
    min: 1,
    max: 2_147_483_647,
    refuse: refuseRoot,
    meaning: 'Number of the user that scripts run as in their container; never root, and never a name.',
    defaultText: "1000, or the starter's own when that is not root",
  },
  runnerGid: {
    kind: 'integer',
    name: 'STADION_RUNNER_GID',
    aliases: ['GID'],
    min: 1,
    max: 2_147_483_647,
    refuse: refuseRoot,
    meaning: 'Number of the group that scripts run as in their container; never root, and never a name.',
    defaultText: "1000, or the starter's own when that is not root",
  },
  runnerOptions: {
    kind: 'text',
    name: 'STADION_RUNNER_OPTIONS',
    aliases: ['PYTHON_RUNNER_OTHER_OPTIONS', 'OTHER_OPTIONS'],
    refuse: (value) => parseRunnerOptions(value).problems,
    meaning:
      'Options of `docker run`, as words or as a JSON list: `--memory`, `--cpus`, `--pids-limit`, `--ulimit nofile=…`, `--ulimit fsize=…`, `--network`, `--runtime`, `--user`, `--dns`, `--add-host`. Each means the setting of its own; any that would give a script power over its machine is refused.',
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
    // Compose files and the systemd unit give the whole stop two minutes.
    max: 90,
    default: 10,
    meaning: 'When the starter is told to stop: how long running scripts may take to end by themselves.',
  },
  logLevel: { ...sharedSettings.logLevel, aliases: ['PYTHON_STARTER_LOG_LEVEL'] },
} as const satisfies SettingsTable;

export type StarterSettings = Settings<typeof starterSettings>;

export function readStarterSettings(environment: Environment): StarterSettings {
  const settings = readSettings(starterSettings, environment, contradictionsIn);
  return withRunnerOptions(settings, environment);
}

/** What the options of `docker run` say, as the settings that they mean. Throws when a setting says otherwise. */
function withRunnerOptions(settings: StarterSettings, environment: Environment): StarterSettings {
  if (settings.runnerOptions === undefined) return settings;
  const {
    dns: _dns,
    extraHosts: _extraHosts,
    ...chosen
  } = parseRunnerOptions(settings.runnerOptions).options;
  const problems: string[] = [];
  for (const key of Object.keys(chosen) as (keyof typeof chosen)[]) {
    const { name, aliases = [] } = starterSettings[key] as { name: string; aliases?: readonly string[] };
    const given = [name, ...aliases].find((one) => environment[one]?.trim());
    if (given && settings[key] !== chosen[key]) {
      problems.push(`STADION_RUNNER_OPTIONS and ${given} say different things about the same; keep one`);
    }
  }
  const merged: StarterSettings = { ...settings, ...chosen };
  if (problems.length === 0) problems.push(...contradictionsIn(merged));
  if (problems.length > 0) throw new SettingsError(problems);
  return merged;
}

/** The options that no other setting has. */
export function namesForSandboxes(settings: StarterSettings): Pick<RunnerOptions, 'dns' | 'extraHosts'> {
  const { dns, extraHosts } = parseRunnerOptions(settings.runnerOptions ?? '').options;
  return { dns, extraHosts };
}

function refuseRoot(value: string): string | undefined {
  if (/^0+$/.test(value)) return 'is root: scripts never run as root';
  return /^\d+$/.test(value)
    ? undefined
    : 'is a name: it means something else in each image, so give the number';
}

/** Each contradiction as one sentence; empty when the settings go together. */
export function contradictionsIn(settings: StarterSettings): string[] {
  const problems: string[] = [];
  if (servesOurs(settings) && !settings.authToken && !settings.starterSecret) {
    problems.push('STADION_STARTER_SECRET or STADION_AUTH_TOKEN is required: the scheduler signs with it');
  }
  if (!settings.hostUrl && !settings.scriptHosts?.length && !settings.useFileServerRoot) {
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
    const { dns, extraHosts } = namesForSandboxes(settings);
    for (const [isSet, what] of [
      [settings.runnerUid !== undefined, 'STADION_RUNNER_UID'],
      [settings.runnerGid !== undefined, 'STADION_RUNNER_GID'],
      [dns.length > 0, '--dns in STADION_RUNNER_OPTIONS'],
      [extraHosts.length > 0, '--add-host in STADION_RUNNER_OPTIONS'],
    ] as const) {
      if (isSet) problems.push(`${what} has a meaning for STADION_EXECUTOR=docker only; remove it`);
    }
  }
  if (settings.advertiseUrl && !servesOurs(settings)) {
    problems.push('STADION_ADVERTISE_URL has no meaning without a STADION_SCHEDULER_URL of ours; remove it');
  }
  if (settings.useFileServerRoot && !settings.fileServerRoot) {
    problems.push('STADION_FILE_SERVER_ROOT is required when STADION_USE_FILE_SERVER_ROOT is true');
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

/** Whether there is a scheduler of ours, beside an original one or alone. The original's own variable may name that. */
function servesOurs({ schedulerUrl, originalSchedulerUrl }: StarterSettings): boolean {
  return schedulerUrl !== undefined && schedulerUrl !== originalSchedulerUrl;
}

/** The key that scheduler and starters sign with; undefined when there is none but an original scheduler. */
export function starterKeyOf(settings: StarterSettings): SigningKey | undefined {
  if (!servesOurs(settings)) return undefined;
  const secret = settings.starterSecret ?? settings.authToken;
  if (!secret) throw new Error('neither STADION_STARTER_SECRET nor STADION_AUTH_TOKEN is set');
  return deriveKey(secret, 'starter');
}

/** `host` or `host:port` entries, the host application's when none are named; and the alternative file server's. */
export function scriptHostsOf(settings: StarterSettings): readonly string[] {
  const alternative = fileServerRootOf(settings);
  return [...namedScriptHosts(settings), ...(alternative ? [new URL(alternative).host] : [])];
}

function namedScriptHosts(settings: StarterSettings): readonly string[] {
  if (settings.scriptHosts?.length) return settings.scriptHosts;
  return settings.hostUrl ? [new URL(settings.hostUrl).host] : [];
}

/** What takes the place of scheme and host in a script's address; undefined when nothing does. */
export function fileServerRootOf(settings: StarterSettings): string | undefined {
  return settings.useFileServerRoot ? settings.fileServerRoot : undefined;
}
