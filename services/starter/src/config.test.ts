import { SettingsError } from '@stadion/service-kit';
import {
  fileServerRootOf,
  namesForSandboxes,
  readStarterSettings,
  scriptHostsOf,
  starterKeyOf,
} from './config.js';
import { relocateAddress } from './exchange/script-address.js';
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
  const keyOf = (env: Record<string, string>) => starterKeyOf(readStarterSettings({ ...enough, ...env }))!.id;
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

describe("the original pipeline's settings", () => {
  const read = (env: Record<string, string>) => readStarterSettings({ ...enough, ...env });

  test('each means one of ours', () => {
    const settings = read({
      PYTHON_SCHEDULER_URL: 'http://scheduler/',
      STADION_SCHEDULER_URL: '',
      PYTHON_STARTER_THREAD_COUNT: '3',
      PYTHON_PROCESS_TIMEOUT: '60',
      PYTHON_RUNNER_OUTPUT_LIMIT: '5000',
      PYTHON_RUNNER_IMAGE: 'seatable/python-runner:1',
      PYTHON_STARTER_LOG_LEVEL: 'WARNING',
      PYTHON_TRANSFER_DIRECTORY: '/transfer',
      CONTAINER_MEMORY: '2g',
      CONTAINER_CPUS: '0.5',
      TIME_ZONE: 'Europe/Berlin',
      UID: '1001',
      GID: '1002',
      ALTERNATIVE_FILE_SERVER_ROOT: 'http://files:8082/seafhttp/',
      USE_ALTERNATIVE_FILE_SERVER_ROOT: 'True',
      PYTHON_RUNNER_OTHER_OPTIONS: '["--pids-limit=64", "--network", "scripts-net", "--dns=192.0.2.53"]',
    });
    expect(settings).toMatchObject({
      schedulerUrl: 'http://scheduler',
      slots: 3,
      timeLimitS: 60,
      outputLimit: 5000,
      runnerImage: 'seatable/python-runner:1',
      logLevel: 'warn',
      exchangeDir: '/transfer',
      memoryBytes: 2 * 1024 ** 3,
      cpus: 0.5,
      timeZone: 'Europe/Berlin',
      runnerUid: 1001,
      runnerGid: 1002,
      pids: 64,
      network: 'scripts-net',
    });
    expect(fileServerRootOf(settings)).toBe('http://files:8082/seafhttp');
    expect(scriptHostsOf(settings)).toContain('files:8082');
    expect(namesForSandboxes(settings)).toEqual({ dns: ['192.0.2.53'], extraHosts: [] });
  });

  test.each([
    ['INFO', 'info'],
    ['warning', 'warn'],
    ['CRITICAL', 'fatal'],
    ['Debug', 'debug'],
    ['ERROR', 'error'],
  ])('the log level %s is %s', (given, level) => {
    expect(read({ PYTHON_STARTER_LOG_LEVEL: given }).logLevel).toBe(level);
  });

  test('what cannot be had is refused with the reason, every problem at once', () => {
    expect(
      problemsOf({ ...enough, OTHER_OPTIONS: '--privileged -v /:/host', UID: '0', GID: 'users' }),
    ).toEqual([
      expect.stringMatching(/^UID is root/),
      expect.stringMatching(/^GID is a name/),
      expect.stringMatching(/^OTHER_OPTIONS has --privileged, which is refused/),
      expect.stringMatching(/^OTHER_OPTIONS has -v=.*a script sees no folder but its own/),
    ]);
    expect(problemsOf({ ...enough, USE_ALTERNATIVE_FILE_SERVER_ROOT: 'true' })).toEqual([
      expect.stringContaining('STADION_FILE_SERVER_ROOT is required'),
    ]);
  });

  test('an option and a setting that say different things stop the start', () => {
    expect(problemsOf({ ...enough, OTHER_OPTIONS: '--memory 512m', CONTAINER_MEMORY: '1g' })).toEqual([
      expect.stringContaining('STADION_RUNNER_OPTIONS and CONTAINER_MEMORY say different things'),
    ]);
    expect(read({ OTHER_OPTIONS: '--memory 512m', CONTAINER_MEMORY: '512m' }).memoryBytes).toBe(
      512 * 1024 ** 2,
    );
  });

  test('without being told to, the alternative file server is not used', () => {
    const settings = read({ ALTERNATIVE_FILE_SERVER_ROOT: 'http://files:8082' });
    expect(fileServerRootOf(settings)).toBeUndefined();
    expect(scriptHostsOf(settings)).not.toContain('files:8082');
  });
});

test("a script's address gets another scheme and host, and nothing else of it changes", () => {
  expect(relocateAddress('https://cloud.example/f/a%20b.py?op=1', 'http://files:8082')).toBe(
    'http://files:8082/f/a%20b.py?op=1',
  );
  expect(relocateAddress('https://user:pw@cloud.example/x', 'http://files:8082/')).toBe(
    'http://files:8082/x',
  );
  for (const odd of ['', 'nonsense', 'file:///etc/passwd']) {
    expect(relocateAddress(odd, 'http://files:8082')).toBe(odd);
  }
});
