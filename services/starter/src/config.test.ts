import { SettingsError } from '@stadion/service-kit';
import { readStarterSettings, scriptHostsOf, starterKeyOf } from './config.js';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { starterVersion } from './version.js';

const secret = 'q7Zp-3vXr-9LmK-2sWt-5bNc';
const enough = {
  STADION_SCHEDULER_URL: 'http://scheduler:8080/',
  STADION_AUTH_TOKEN: secret,
  STADION_HOST_URL: 'https://seatable.example.com',
};

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    readStarterSettings(env);
    return [];
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
}

test('the names of the original pipeline mean the same', () => {
  const settings = readStarterSettings({
    PYTHON_SCHEDULER_URL: 'http://scheduler:8080',
    PYTHON_SCHEDULER_AUTH_TOKEN: secret,
    SEATABLE_SERVER_URL: 'https://seatable.example.com',
    PYTHON_TRANSFER_DIRECTORY: '/tmp/exchange',
    PYTHON_PROCESS_TIMEOUT: '60',
    PYTHON_RUNNER_OUTPUT_LIMIT: '5000',
    PYTHON_RUNNER_IMAGE: 'seatable/python-runner',
    THREAD_COUNT: '3',
    TIME_ZONE: 'Europe/Berlin',
    PYTHON_STARTER_LOG_LEVEL: 'debug',
  });
  expect(settings).toMatchObject({
    schedulerUrl: 'http://scheduler:8080',
    exchangeDir: '/tmp/exchange',
    timeLimitS: 60,
    outputLimit: 5000,
    runnerImage: 'seatable/python-runner',
    slots: 3,
    timeZone: 'Europe/Berlin',
    logLevel: 'debug',
  });
});

test('every problem is listed at once', () => {
  expect(problemsOf({ STADION_AUTH_TOKEN: 'topsecret', STADION_SLOTS: '0', TIME_ZONE: 'Mars/Base' })).toEqual(
    [
      expect.stringContaining('STADION_SCHEDULER_URL is required'),
      expect.stringContaining('STADION_AUTH_TOKEN is 9 characters long'),
      expect.stringContaining('STADION_SLOTS must be'),
      expect.stringContaining('TIME_ZONE must be a name'),
    ],
  );
});

test('a secret and a host to download from are needed, in one form or the other', () => {
  expect(problemsOf({ STADION_SCHEDULER_URL: 'http://s' })).toEqual([
    expect.stringContaining('STADION_STARTER_SECRET or STADION_AUTH_TOKEN'),
    expect.stringContaining('STADION_SCRIPT_HOSTS or STADION_HOST_URL'),
  ]);
  const own = {
    STADION_SCHEDULER_URL: 'http://s',
    STADION_STARTER_SECRET: secret,
    STADION_SCRIPT_HOSTS: 'files:81',
  };
  expect(problemsOf(own)).toEqual([]);
});

test('contradictions are refused', () => {
  const problems = problemsOf({
    ...enough,
    STADION_EXECUTOR: 'process',
    STADION_RUNTIME: 'runsc',
    STADION_EXCHANGE_HOST_DIR: '/srv/exchange',
    STADION_TMP_SIZE: '2g',
    STADION_SCRIPT_HOSTS: 'http://files/',
  });
  for (const name of ['RUNTIME', 'EXCHANGE_HOST_DIR', 'TMP_SIZE', 'SCRIPT_HOSTS']) {
    expect(problems).toContainEqual(expect.stringContaining(`STADION_${name}`));
  }
});

test("scripts come from the host application's host unless others are named", () => {
  expect(scriptHostsOf(readStarterSettings(enough))).toEqual(['seatable.example.com']);
  expect(scriptHostsOf(readStarterSettings({ ...enough, STADION_HOST_URL: 'http://web:8000' }))).toEqual([
    'web:8000',
  ]);
  expect(scriptHostsOf(readStarterSettings({ ...enough, STADION_SCRIPT_HOSTS: 'a b:1' }))).toEqual([
    'a',
    'b:1',
  ]);
});

test("a secret of the starters' own takes the place of the shared one", () => {
  const other = 'another-Secret-of-24-chars-0';
  const keyOf = (env: Record<string, string>) => starterKeyOf(readStarterSettings({ ...enough, ...env })).id;
  expect(keyOf({ STADION_STARTER_SECRET: other })).not.toBe(keyOf({}));
  expect(keyOf({ STADION_STARTER_SECRET: other, STADION_AUTH_TOKEN: '' })).toBe(
    keyOf({ STADION_STARTER_SECRET: other }),
  );
});

test('the version is the one of the package', () => {
  const manifest = JSON.parse(readFileSync(join(__dirname, '../package.json'), 'utf8')) as {
    version: string;
  };
  expect(starterVersion).toBe(manifest.version);
});
