/**
 * The conformance suite on every level that this machine offers, and what only processes can get wrong. A level that
 * does not work here is reported as skipped, with the reason in its name.
 */
import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ScriptFile } from '../../script-file.js';
import { conformanceLimits, describeExecutor, type ExecutorHarness } from '../executor-conformance.js';
import type { Sandbox, SandboxSpec } from '../executor.js';
import { isolationLevels, type IsolationLevel } from './isolation.js';
import { ProcessExecutor, type ProcessExecutorOptions } from './process-executor.js';
import { factsOf } from './stragglers.js';

const here = dirname(expect.getState().testPath ?? '');
const starterRoot = join(here, '../../..');
const isRoot = process.getuid?.() === 0;

/** All of a test's folders are below one that only its owner may enter, as a data directory in /root is. */
const top = mkdtempSync(join(isRoot && existsSync('/root') ? '/root' : tmpdir(), 'stadion-process-test-'));
const plainTop = mkdtempSync(join(tmpdir(), 'stadion-process-test-'));
afterAll(() => {
  for (const folder of [top, plainTop]) rmSync(folder, { recursive: true, force: true });
});

const unlessRoot = isRoot ? '' : ' (skipped: this user is not root)';

for (const level of isolationLevels) {
  const missing = whyMissing(level);
  if (missing)
    describe.skip(`executor conformance: process, ${level} (skipped: ${missing.replaceAll(')', ']')})`, () =>
      test('', () => {}));
  else
    describeExecutor(`process, ${level}`, () => harnessOf(level, { searchPath: '/usr/local/bin:/usr/bin' }));
}

for (const level of isolationLevels.filter((one) => whyMissing(one) === undefined)) {
  describeExecutor(`process, node in ${level}`, () => {
    const preload = join(starterRoot, 'dist/executors/process/node-preload.mjs');
    const node = { nodePath: process.execPath, preload };
    const options = { searchPath: '/usr/local/bin:/usr/bin', node };
    return { ...harnessOf(level, options, false, 'index.mjs'), language: 'node' };
  });
}

const levelForPyodide = isolationLevels.find((level) => whyMissing(level) === undefined) ?? 'plain';
describe('Pyodide', () => {
  // One for all, since making the snapshot takes seconds.
  const harness = harnessOf(levelForPyodide, { searchPath: '/nowhere', pyodide: bundledPyodide() }, true);

  test('it is what runs when the search path has no python3, and health says what that means', async () => {
    const health = await harness.executor.health();
    expect(health).toMatchObject({ ready: true, isolation: expect.stringContaining('Pyodide') });
    expect(health.warnings.join('\n')).toMatch(/no sockets.*Install Python/);
    const output: Buffer[] = [];
    const sandbox = await harness.executor.start({
      attemptId: randomUUID(),
      taskId: 1,
      profile: 'python',
      scriptFile: 'index.py',
      scriptsDir: await harness.makeScriptsDir('import sys; print(sys.platform)'),
      env: {},
      limits: conformanceLimits,
      timeLimitS: 30,
      onOutput: (_, chunk) => output.push(chunk),
    });
    await sandbox.exited;
    await sandbox.remove();
    expect(Buffer.concat(output).toString()).toBe('emscripten\n');
  }, 30_000);

  describeExecutor(`process, Pyodide in ${levelForPyodide}`, () => ({
    ...harness,
    capabilities: { ...harness.capabilities, childProcesses: false, onlyEssential: true, startPatienceS: 20 },
  }));
});

describe('process executor', () => {
  const own = whyMissing('bubblewrap') ? (whyMissing('unshare') ? undefined : 'unshare') : 'bubblewrap';
  const open: Sandbox[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
  });

  const run = async (
    source: string,
    options: Partial<ProcessExecutorOptions> = {},
    spec: Partial<SandboxSpec> = {},
  ) => {
    const harness = harnessOf(options.isolation ?? own ?? 'plain', {
      searchPath: '/usr/local/bin:/usr/bin',
      ...options,
    });
    const output: Buffer[] = [];
    const sandbox = await harness.executor.start({
      attemptId: randomUUID(),
      taskId: 1,
      profile: 'python',
      scriptFile: 'index.py',
      scriptsDir: await harness.makeScriptsDir(source),
      env: {},
      limits: conformanceLimits,
      timeLimitS: 30,
      onOutput: (_, chunk) => output.push(chunk),
      ...spec,
    });
    open.push(sandbox);
    return { sandbox, executor: harness.executor, text: () => Buffer.concat(output).toString() };
  };

  for (const level of isolationLevels.filter((one) => whyMissing(one) === undefined)) {
    test(`the environment stands in no command line (${level})`, async () => {
      const secret = `secret-${randomUUID()}`;
      const { text } = await run(
        `import time; print('up'); time.sleep(20)`,
        { isolation: level },
        { env: { api_token: secret } },
      );
      await until(() => text() === 'up\n');
      const lines = readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .map((pid) => readOr(`/proc/${pid}/cmdline`));
      expect(lines.some((line) => line.includes('index.py'))).toBe(true);
      expect(lines.filter((line) => line.includes(secret))).toEqual([]);
    });

    (isRoot ? test : test.skip)(
      `a script of a starter that is root is not root, has no rights and no way to them (${level})${unlessRoot}`,
      async () => {
        const { sandbox, text } = await run(
          `import os\nprint(0 in os.getresuid() + os.getresgid(), os.getgroups())\nfor line in open('/proc/self/status'):\n    if line[:6] in ('CapEff', 'CapPrm', 'CapInh', 'CapAmb', 'NoNewP'): print(line.split()[-1])`,
          { isolation: level },
        );
        await sandbox.exited;
        expect(text().split('\n').slice(0, 6)).toEqual([
          'False []',
          '0000000000000000',
          '0000000000000000',
          '0000000000000000',
          '0000000000000000',
          '1',
        ]);
      },
    );
  }

  for (const level of ['bubblewrap', 'unshare'] as const) {
    const missing = whyMissing(level);
    const absent = missing ? ` (skipped: ${missing.replaceAll(')', ']')})` : '';
    const confined = missing ? test.skip : test;
    confined(
      `neither the data directory nor a home nor the host's passwords are there (${level})${absent}`,
      async () => {
        const { sandbox, text } = await run(
          `import os\nfor path in (${JSON.stringify(top)}, '/root', '/home', '/etc/shadow', '/var', '/sys', '/run'):\n    print(path, os.path.exists(path))\nprint(sorted(line.split(':')[0] for line in open('/etc/passwd')))\nprint(os.listdir('/etc/ssl/certs') != [])`,
          { isolation: level },
        );
        await sandbox.exited;
        const [certificates, users, ...paths] = text().trimEnd().split('\n').reverse();
        expect([certificates, users]).toEqual(['True', "['root', 'script']"]);
        expect(paths.filter((line) => line.endsWith('True'))).toEqual([]);
      },
    );

    confined(`processes of the host are invisible (${level})`, async () => {
      const { sandbox, text } = await run(
        `import os\nprint(len([p for p in os.listdir('/proc') if p.isdigit()]) < 6, os.path.exists('/proc/${process.pid}/environ') and b'jest' in open('/proc/${process.pid}/cmdline', 'rb').read())`,
        { isolation: level },
      );
      await sandbox.exited;
      expect(text()).toBe('True False\n');
    });

    confined(
      `nothing but the own folder, /tmp and /dev/shm can be written, and /tmp has a bound (${level})`,
      async () => {
        const { sandbox, text } = await run(
          `
import os
def can(path):
    try: open(path, 'w').close(); return True
    except OSError: return False
print([p for p in ('/x', '/usr/x', '/etc/x', '/dev/x', '/proc/x', '/tmp/x', '/dev/shm/x', '/scripts/x') if can(p)])
try:
    with open('/tmp/x', 'wb') as f:
        for _ in range(64): f.write(b'x' * (1 << 20))
    print('unbounded')
except OSError as error: print(error.strerror)
`,
          { isolation: level },
        );
        await sandbox.exited;
        expect(text()).toBe("['/tmp/x', '/dev/shm/x', '/scripts/x']\nNo space left on device\n");
      },
    );
  }

  test('limits on memory, file size, open files and core dumps are in force', async () => {
    const { sandbox, text } = await run(`
import resource, sys
print(resource.getrlimit(resource.RLIMIT_NOFILE)[1], resource.getrlimit(resource.RLIMIT_CORE)[1])
try: bytearray(400 << 20); print('had it')
except MemoryError: print('MemoryError')
try:
    with open('big', 'wb') as f:
        for _ in range(80): f.write(b'x' * (1 << 20))
    print('wrote it')
except OSError as error: print(error.strerror)
`);
    await sandbox.exited;
    expect(text()).toBe('256 0\nMemoryError\nFile too large\n');
  });

  test('a script ends when its starter is killed, on every level', async () => {
    for (const level of isolationLevels.filter((one) => whyMissing(one) === undefined)) {
      const harness = harnessOf(level, { searchPath: '/usr/local/bin:/usr/bin' });
      const scriptsDir = await harness.makeScriptsDir(
        `import time\nwhile True:\n    with open('beat', 'a') as f: f.write('.')\n    time.sleep(0.02)`,
      );
      const starter = spawn(
        process.execPath,
        ['--input-type=module', '-e', starterProgram(level, scriptsDir, harness)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      await until(() => existsSync(join(scriptsDir, 'beat')));
      starter.kill('SIGKILL');
      let size = -1;
      await until(() => {
        const before = size;
        size = statSync(join(scriptsDir, 'beat')).size;
        return size === before;
      }, 250);
      const [leftover, ...more] = await harness.executor.leftovers();
      expect([level, more, leftover?.running]).toEqual([level, [], false]);
      await leftover?.remove();
      expect(await harness.executor.leftovers()).toEqual([]);
    }
  }, 30_000);

  test("a record whose process number is someone else's by now ends nobody", async () => {
    const harness = harnessOf('plain', { searchPath: '/usr/bin' });
    const stranger = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
    try {
      const pid = stranger.pid ?? 0;
      expect(await factsOf(pid)).toBeDefined();
      const folder = join(harness.stateDir, harness.starterId, 'attempts');
      mkdirSync(folder, { recursive: true });
      const attemptId = randomUUID();
      await writeFile(
        join(folder, `${attemptId}.json`),
        JSON.stringify({ attemptId, pid, startTicks: '1', home: '/tmp/stadion-home-none' }),
      );
      const [leftover] = await harness.executor.leftovers();
      expect(leftover).toMatchObject({ attemptId, running: false });
      await leftover?.remove();
      expect(await factsOf(pid)).toMatchObject({ zombie: false });
    } finally {
      stranger.kill('SIGKILL');
    }
  });

  test('health says plainly that the plain level is not isolation', async () => {
    const { executor } = harnessOf('plain', { searchPath: '/usr/bin' });
    const health = await executor.health();
    expect(health.isolation).toMatch(/^(WEAK|NONE): /);
    expect(health.warnings.join('\n')).toMatch(/NOT ISOLATED.*Install bubblewrap/);
  });

  test('without any Python, health says what to do and start is refused as unavailable', async () => {
    const { executor, makeScriptsDir } = harnessOf('plain', { python: '/nowhere/python3', searchPath: '' });
    expect(await executor.health()).toMatchObject({
      ready: false,
      problem: expect.stringContaining('/nowhere/python3'),
    });
    const scriptsDir = await makeScriptsDir('');
    const spec: SandboxSpec = {
      attemptId: randomUUID(),
      taskId: 1,
      profile: 'python',
      scriptFile: 'index.py',
      scriptsDir,
      env: {},
      limits: conformanceLimits,
      timeLimitS: 5,
      onOutput: () => {},
    };
    await expect(executor.start(spec)).rejects.toMatchObject({
      name: 'SandboxStartError',
      reason: 'engine_unavailable',
    });
    expect(await executor.leftovers()).toEqual([]);
  });

  (isRoot ? test : test.skip)(
    `a plain script below a folder that only root may enter is refused in words${unlessRoot}`,
    async () => {
      const closed = harnessOf('bubblewrap', {});
      const scriptsDir = await closed.makeScriptsDir('');
      const starting = run('', { isolation: 'plain' }, { scriptsDir });
      await expect(starting).rejects.toMatchObject({
        reason: 'engine_error',
        cause: { message: expect.stringContaining('chmod o+x') },
      });
    },
  );

  test('several first looks at once do not disturb each other', async () => {
    const { executor } = harnessOf(own ?? 'plain', { searchPath: '/usr/local/bin:/usr/bin' });
    const healths = await Promise.all([executor.health(), executor.health(), executor.health()]);
    expect(healths.map(({ ready, problem }) => [ready, problem])).toEqual(Array(3).fill([true, undefined]));
  });

  test('an environment no process can have is refused in words', async () => {
    await expect(run('', {}, { env: { token: 'a\0b' } })).rejects.toThrow(/environment variable "token"/);
  });
});

function harnessOf(
  level: IsolationLevel,
  options: Partial<ProcessExecutorOptions>,
  pyodide = false,
  scriptFile: ScriptFile = 'index.py',
): ExecutorHarness & { stateDir: string; starterId: string } {
  // A plain script's working folder must be its to enter; the other levels bind it before they give up root.
  const base = level === 'plain' ? plainTop : top;
  if (level === 'plain') execFileSync('chmod', ['755', plainTop]);
  const stateDir = mkdtempSync(join(base, 'state-'));
  if (level === 'plain') execFileSync('chmod', ['755', stateDir]);
  const starterId = randomUUID();
  const make = (id: string) =>
    new ProcessExecutor({
      starterId: id,
      stateDir,
      temporaryDir: tmpdir(),
      searchPath: '',
      isolation: level,
      ...options,
    });
  const executor = make(starterId);
  return {
    stateDir,
    starterId,
    capabilities: {
      workingFolder: level === 'plain' && !pyodide ? 'scriptsDir' : '/scripts',
      protectsScript: level !== 'plain' || isRoot,
      childProcesses: true,
      limitsProcesses: level !== 'plain' || isRoot,
      privateProcesses: level !== 'plain',
      privateFiles: level !== 'plain',
      outOfMemory: 'not_zero',
    },
    executor,
    executorOfAnotherStarter: make(randomUUID()),
    async makeScriptsDir(source, input = '') {
      const folder = await mkdtemp(join(base, 'attempt-'));
      await chmod(folder, 0o1777);
      await writeFile(join(folder, scriptFile), source, { mode: 0o444 });
      await writeFile(join(folder, 'input'), input, { mode: 0o444 });
      return folder;
    },
    async cleanUp() {
      await executor.close();
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

/** Undefined when the tools are there; whether the level then works is what its tests say. */
function whyMissing(level: IsolationLevel): string | undefined {
  const attempts: Record<IsolationLevel, string[][]> = {
    bubblewrap: [['bwrap', '--unshare-pid', '--ro-bind', '/', '/', 'true']],
    unshare: [
      ['unshare', ...(isRoot ? [] : ['--user', '--map-root-user']), '--mount', '--pid', '--fork', 'true'],
      ['setpriv', '--version'],
    ],
    plain: [],
  };
  for (const [command = '', ...args] of attempts[level]) {
    try {
      execFileSync(command, args, { stdio: 'pipe' });
    } catch (error) {
      return String((error as Error).message).split('\n')[0];
    }
  }
  return undefined;
}

/** Needs `dist`, as the tests' own command builds it: the runner is a program, not a module of this one. */
function bundledPyodide() {
  const require = createRequire(join(starterRoot, 'package.json'));
  const runner = join(starterRoot, 'dist/executors/process/pyodide-runner.mjs');
  return { nodePath: process.execPath, runner, packageDir: dirname(require.resolve('pyodide')) };
}

function starterProgram(
  level: IsolationLevel,
  scriptsDir: string,
  { stateDir, starterId }: { stateDir: string; starterId: string },
): string {
  return `
import { ProcessExecutor } from ${JSON.stringify(join(starterRoot, 'dist/executors/process/process-executor.js'))};
const executor = new ProcessExecutor({ starterId: ${JSON.stringify(starterId)}, stateDir: ${JSON.stringify(stateDir)}, temporaryDir: ${JSON.stringify(tmpdir())}, searchPath: '/usr/local/bin:/usr/bin', isolation: ${JSON.stringify(level)} });
await executor.start({ attemptId: ${JSON.stringify(randomUUID())}, taskId: 1, profile: 'python', scriptFile: 'index.py', scriptsDir: ${JSON.stringify(scriptsDir)}, env: {}, limits: ${JSON.stringify(conformanceLimits)}, timeLimitS: 30, onOutput() {} });
setInterval(() => {}, 1000);
`;
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

async function until(condition: () => boolean, everyMs = 10): Promise<void> {
  for (const end = Date.now() + 10_000; !condition();) {
    if (Date.now() > end) throw new Error('Waited 10 s in vain');
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
