/**
 * Settings that more than one service has, declared once. A service's own table takes the ones it needs and adds
 * what is special there, e.g. `{ ...sharedSettings.authToken, required: true }`.
 */
import { defaultOutputLimit, defaultTimeLimitS, maxResultBytes } from '@stadion/contracts';
import { logLevels } from './logger.js';
import type { SettingsTable } from './settings.js';
import { weaknessOf } from './tokens.js';

/** JSON writes a control character as six bytes; what is left over is for the other fields of a result. */
const maxOutputLimit = Math.floor((maxResultBytes - 64 * 1024) / 6);

export const sharedSettings = {
  authToken: {
    kind: 'secret',
    name: 'STADION_AUTH_TOKEN',
    aliases: ['PYTHON_SCHEDULER_AUTH_TOKEN'],
    refuse: weaknessOf,
    meaning:
      'Secret shared with the host application. The keys that scheduler and starters use among themselves are derived from it.',
  },
  starterSecret: {
    kind: 'secret',
    name: 'STADION_STARTER_SECRET',
    refuse: weaknessOf,
    meaning:
      'Secret between scheduler and starters. When set, the key between them is derived from it, and a starter need not know STADION_AUTH_TOKEN.',
  },
  hostUrl: {
    kind: 'url',
    name: 'STADION_HOST_URL',
    aliases: ['SEATABLE_SERVER_URL'],
    meaning: 'Where the host application is reached.',
  },
  timeLimitS: {
    kind: 'integer',
    name: 'STADION_TIME_LIMIT',
    aliases: ['PYTHON_PROCESS_TIMEOUT'],
    unit: 'seconds',
    min: 1,
    max: 86_400,
    default: defaultTimeLimitS,
    meaning: 'How long a script may run, counted from its own start.',
  },
  outputLimit: {
    kind: 'integer',
    name: 'STADION_OUTPUT_LIMIT',
    aliases: ['PYTHON_RUNNER_OUTPUT_LIMIT'],
    unit: 'characters',
    min: 1_000,
    max: maxOutputLimit,
    default: defaultOutputLimit,
    meaning: 'How much of what a script prints is kept. What follows is cut, and the output says so.',
  },
  logLevel: {
    kind: 'choice',
    name: 'STADION_LOG_LEVEL',
    choices: logLevels,
    // Python's words for them, which the original's settings are written in.
    synonyms: { critical: 'fatal', warning: 'warn', notset: 'trace' },
    default: 'info',
    meaning: 'Which log events are written: this level and all graver ones.',
  },
  timeZone: {
    kind: 'text',
    name: 'STADION_TIME_ZONE',
    aliases: ['TIME_ZONE'],
    refuse: (value) =>
      isTimeZone(value) ? undefined : 'must be a name from the time zone database, like Europe/Berlin',
    meaning:
      'Time zone of scripts (their TZ variable), of times that the host application reads, and of the days and months that runs are counted by.',
    defaultText: 'UTC',
  },
} as const satisfies SettingsTable;

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
