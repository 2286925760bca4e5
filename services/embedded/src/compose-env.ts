/**
 * The text of `.env.example`: what an operator of docker-compose.yml may set. Settings of the services come from their
 * tables; what only Compose reads is told here.
 */
import type { Setting, SettingsTable } from '@stadion/service-kit';
import { schedulerTable } from '@stadion/scheduler';
import { starterSettings } from '@stadion/starter';

/** Variables of docker-compose.yml that no service reads: name, default there, meaning. */
const composeOnly: Readonly<Record<string, readonly (readonly [string, string, string])[]>> = {
  'This machine': [
    [
      'STADION_PUBLISH_ADDRESS',
      '127.0.0.1',
      'Address of this machine on which the scheduler is reached. With one that scripts reach too, only the secret keeps them out.',
    ],
    ['STADION_PUBLISH_PORT', '5055', 'Port there; a range like 5055-5056 for `--scale scheduler=2`.'],
    ['STADION_DOCKER_SOCKET', '/var/run/docker.sock', "The Docker engine's socket on this machine."],
    [
      'STADION_EXCHANGE_HOST_DIR',
      '/var/lib/stadion/exchange',
      'Folder of this machine for scripts while they run, and results not yet delivered. Made when it is missing; must survive a restart and belong to one starter alone.',
    ],
    [
      'STADION_STARTER_USER',
      '0:0',
      'User and group ids of the starter. Other than root needs the group of the socket, and a folder above that is theirs; see docs/operations.md.',
    ],
    [
      'STADION_RUNNERS_NETWORK',
      'stadion-runners',
      'Name of the network for scripts that Compose makes; give STADION_NETWORK the same, or `none`.',
    ],
  ],
  Images: [
    [
      'STADION_TAG',
      'latest',
      'Tag of the images of scheduler and starter. A tag for each version makes going back easy.',
    ],
    [
      'NODE_IMAGE',
      'node:22-bookworm-slim',
      'What scheduler, starter and the image for JavaScript are built from.',
    ],
    ['PYTHON_IMAGE', 'python:3.13-slim-bookworm', 'What the image for Python scripts is built from.'],
    ['MARIADB_IMAGE', 'mariadb:11.4', 'The database.'],
    ['STADION_PYTHON_VARIANT', 'slim', "`full` adds the Python packages that the original's image has."],
    [
      'STADION_PIP_PACKAGES',
      '',
      'Python packages that scripts may import, as pip takes them, e.g. `requests seatable-api`. Build again after a change.',
    ],
    [
      'STADION_NPM_PACKAGES',
      '',
      'npm packages that JavaScript scripts may import, as npm takes them, e.g. `lodash dayjs`.',
    ],
    ['NPM_CONFIG_REGISTRY', '', "npm registry for the build, when it is not npm's own."],
    ['PIP_INDEX_URL', '', "Package index for STADION_PIP_PACKAGES, when it is not Python's own."],
    ['HTTP_PROXY', '', 'Proxy for the build.'],
    ['HTTPS_PROXY', '', 'Proxy for the build.'],
    ['NO_PROXY', '', 'What the build reaches without a proxy.'],
  ],
};

const required: Readonly<Record<string, string>> = {
  STADION_AUTH_TOKEN: 'Make one with `openssl rand -hex 32`.',
  STADION_HOST_URL: 'As the containers reach it; `localhost` would be the container itself.',
  STADION_DATABASE_PASSWORD:
    'Used between the containers only. It is set when the database is made: change it there too later.',
};

/** Set by docker-compose.yml itself, to what fits the containers. */
export const setByCompose: ReadonlySet<string> = new Set([
  'STADION_HOST',
  'STADION_PORT',
  'STADION_DATABASE_HOST',
  'STADION_DATABASE_PORT',
  'STADION_STARTER_HOST',
  'STADION_STARTER_PORT',
  'STADION_SCHEDULER_URL',
  'STADION_ADVERTISE_URL',
  'STADION_EXECUTOR',
  'STADION_DOCKER_HOST',
  'STADION_EXCHANGE_DIR',
]);

const composeOnlyNames = new Set(Object.values(composeOnly).flatMap((rows) => rows.map(([name]) => name)));

export function composeEnvExample(): string {
  const scheduler: SettingsTable = schedulerTable;
  const starter: SettingsTable = starterSettings;
  const shared = Object.values(scheduler).filter((one) => hasName(starter, one.name));
  const sections: [string, string[]][] = [
    ['Required', Object.entries(required).map(([name, hint]) => requiredEntry(settingNamed(name), hint))],
    ...Object.entries(composeOnly).map(([title, rows]): [string, string[]] => [
      title,
      rows.map(([name, value, meaning]) => entry(name, value, meaning)),
    ]),
    ['Scheduler and starter', optional(shared)],
    ['Scheduler', optional(Object.values(scheduler).filter((one) => !shared.includes(one)))],
    ['Starter', optional(Object.values(starter).filter((one) => !hasName(scheduler, one.name)))],
  ];
  return `${comment(
    'Settings of docker-compose.yml: copy this file to .env, fill in what is required, and run `docker compose up -d`. Lines with a # show the default. Names of the original pipeline work as well, but for the required ones; in a file that has them, write e.g. STADION_AUTH_TOKEN=${PYTHON_SCHEDULER_AUTH_TOKEN}. A value with a $ or a space goes into single quotes.',
  )}
#
# Written by \`npm run docs:settings\` from the tables in the code; do not edit.

${sections.map(([title, entries]) => `# ── ${title} ${'─'.repeat(100 - title.length)}\n\n${entries.join('\n\n')}\n`).join('\n')}`;
}

function optional(settings: readonly Setting[]): string[] {
  return settings
    .filter(({ name }) => !(name in required) && !setByCompose.has(name) && !composeOnlyNames.has(name))
    .map((setting) => entry(setting.name, defaultOf(setting), described(setting)));
}

function described(setting: Setting): string {
  const { meaning, defaultText, unit = '', kind, name } = setting;
  const aliases = readByCompose(name) ? [] : aliasesOf(name);
  const facts = [
    ...(['seconds', 'days', 'characters'].includes(unit) ? [`in ${unit}`] : []),
    ...(kind === 'bytes' ? ['a size like 512m or 1g'] : []),
    ...(defaultText ? [`default: ${defaultText}`] : []),
    ...(aliases.length ? [`also accepted: ${aliases.join(', ')}`] : []),
  ];
  return facts.length ? `${meaning} (${facts.join('; ')})` : meaning;
}

/** Compose itself reads these, under this name alone: it makes the database, and builds the images. */
export function readByCompose(name: string): boolean {
  return /^STADION_(?:DATABASE_(?:USER|NAME|PASSWORD)|(?:NODE_)?RUNNER_IMAGE)$/.test(name);
}

/** Names that both services know for it, in either. Not UID and GID, which shells set for themselves. */
export function aliasesOf(name: string): string[] {
  const all = [...Object.values<Setting>(schedulerTable), ...Object.values<Setting>(starterSettings)];
  const aliases = all.filter((one) => one.name === name).flatMap((one) => one.aliases ?? []);
  return [...new Set(aliases)].filter((alias) => alias !== 'UID' && alias !== 'GID');
}

function requiredEntry(setting: Setting, hint: string): string {
  return `${comment(`${setting.meaning} ${hint}`)}\n${setting.name}=`;
}

function entry(name: string, value: string, meaning: string): string {
  return `${comment(meaning)}\n# ${name}=${value}`;
}

function defaultOf(setting: Setting): string {
  if (setting.default === undefined || setting.defaultText) return '';
  if (setting.kind !== 'bytes') return String(setting.default);
  const mebibytes = (setting.default as number) / 1024 ** 2;
  return mebibytes % 1024 === 0 ? `${mebibytes / 1024}g` : `${mebibytes}m`;
}

/** Broken into lines of a readable length. */
function comment(text: string): string {
  const lines = ['#'];
  for (const word of text.split(' ')) {
    const last = lines.length - 1;
    if (`${lines[last]} ${word}`.length > 110) lines.push(`# ${word}`);
    else lines[last] += ` ${word}`;
  }
  return lines.join('\n');
}

function settingNamed(name: string): Setting {
  const found = Object.values<Setting>({ ...schedulerTable, ...starterSettings }).find(
    (one) => one.name === name,
  );
  if (!found) throw new Error(`there is no setting ${name}`);
  return found;
}

function hasName(table: SettingsTable, name: string): boolean {
  return Object.values(table).some((one) => one.name === name);
}
