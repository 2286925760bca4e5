/**
 * What every executor must do, as a jest suite: `describeExecutor('docker', () => harness)`. A capability says where
 * technologies truly differ; everything else holds for all. A script is watched from outside only through what any
 * executor shows: its output, its end, and the files it writes into its folder.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { randomUUID } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultScriptFile, type Language } from '../script-file.js';
import { conformanceScripts } from './conformance-scripts.js';
import type { Executor, Sandbox, SandboxExit, SandboxLimits, SandboxSpec } from './executor.js';

export interface ExecutorCapabilities {
  /** Where the script finds itself: the design's `/scripts`, or (plain processes) the attempt's folder as the host has it. */
  workingFolder: '/scripts' | 'scriptsDir';
  /** The script runs as a user that neither owns its folder nor may act for the owner. */
  protectsScript: boolean;
  /** The script can have child processes and signals; CPython as WebAssembly can't. */
  childProcesses: boolean;
  /** A script can't see the processes of another sandbox. */
  privateProcesses: boolean;
  /** A script can't read the folder of another sandbox. */
  privateFiles: boolean;
  /** The limit on processes can be set for this attempt alone; yes when absent. */
  limitsProcesses?: boolean;
  /** How running out of memory ends: told as such, or only as an exit that is not 0. */
  outOfMemory: 'told' | 'not_zero';
  /** Seconds until a script's first line may run; a slow start widens the tests' patience, never the stop's two seconds. */
  startPatienceS?: number;
  /** Only the tests that a smoke run needs: where each start takes seconds and the rest is the same code anyway. */
  onlyEssential?: boolean;
}

export interface ExecutorHarness {
  capabilities: ExecutorCapabilities;
  /** In which language the scripts are; Python when absent. What only Python can express is tried in Python only. */
  language?: Language;
  executor: Executor;
  /** An executor of the same technology with another starter's id. */
  executorOfAnotherStarter: Executor;
  /**
   * A folder as `exchange/` prepares it: mode 1777, owned by this process's user; `index.py` and `input` (empty when
   * not given) mode 0444. In another language the script is called as `defaultScriptFile` says.
   */
  makeScriptsDir(source: string | Buffer, input?: string): Promise<string>;
  /** Runs after all tests: closes the executors and deletes the folders. */
  cleanUp(): Promise<void>;
}

export const conformanceLimits: SandboxLimits = {
  memoryBytes: 256 * 1024 * 1024,
  cpus: 1,
  pids: 64,
  openFiles: 256,
  fileBytes: 64 * 1024 * 1024,
  tmpBytes: 16 * 1024 * 1024,
};

/** The most a stopped script may take to be gone. */
const stopBoundMs = 2_000;

/** What is no longer reachable still counts as used until it is collected. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

export function describeExecutor(name: string, makeHarness: () => ExecutorHarness): void {
  describe(`executor conformance: ${name}`, () => {
    const harness = makeHarness();
    const { capabilities, executor, language = 'python' } = harness;
    const scripts = conformanceScripts[language];
    const scriptFile = defaultScriptFile(language);
    const patienceMs = (capabilities.startPatienceS ?? 10) * 1_000;
    const testTimeoutMs = patienceMs + 20_000;

    const open: Sandbox[] = [];
    afterEach(async () => {
      await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
    });
    afterAll(() => harness.cleanUp());

    const essential = (title: string, check: () => Promise<void>) => test(title, check, testTimeoutMs);
    const skipped = (title: string, check: () => Promise<void>) =>
      test.skip(`${title} (skipped: ${name} cannot, and its health says so)`, check);
    // What a harness leaves to another one's run of the same code is not a part of its own suite.
    const leftOut = () => undefined;
    const full = capabilities.onlyEssential ? leftOut : essential;
    const pythonOnly = language === 'python' ? full : leftOut;
    const needing = (capability: boolean) => (capability ? pythonOnly : skipped);

    async function start(source: string | Buffer, options: StartOptions = {}): Promise<Running> {
      const scriptsDir = await harness.makeScriptsDir(source, options.input);
      const spec = buildSpec(scriptsDir, options, language);
      const sandbox = await executor.start(spec.spec, options.signal);
      open.push(sandbox);
      return { sandbox, scriptsDir, ...spec };
    }

    async function run(source: string | Buffer, options: StartOptions = {}): Promise<Ended> {
      const running = await start(source, options);
      const exit = await running.sandbox.exited;
      await running.sandbox.remove();
      return {
        exit,
        scriptsDir: running.scriptsDir,
        stdout: running.text('stdout'),
        stderr: running.text('stderr'),
        output: running.output,
      };
    }

    const eventually = (what: string, condition: () => boolean | Promise<boolean>, boundMs = patienceMs) =>
      waitUntil(what, condition, boundMs);

    describe('what goes in', () => {
      essential('input arrives on standard input, which then ends', async () => {
        const input = JSON.stringify({ table: 'T1', row: { Name: 'ü €' } });
        const { stdout, exit } = await run(scripts.readContext, { input });
        expect({ stdout, cause: exit.cause, code: exit.exitCode }).toEqual({
          stdout: "ü € ''\n",
          cause: 'exit',
          code: 0,
        });
      });

      pythonOnly('a megabyte of input arrives whole', async () => {
        const { stdout } = await run(`import sys; print(len(sys.stdin.buffer.read()))`, {
          input: 'x'.repeat(1_048_577),
        });
        expect(stdout).toBe('1048577\n');
      });

      essential('without input, reading standard input does not block and gives nothing', async () => {
        const { stdout } = await run(scripts.readNothing);
        expect(stdout).toBe("'' ''\n");
      });

      essential(
        'the environment is what was given plus PATH, HOME and LANG, and nothing of the starter',
        async () => {
          const env = {
            api_token: 'secret = "x"\nline two',
            TZ: 'Europe/Berlin',
            is_cloud: '1',
            empty: '',
            'odd.name': 'ü',
          };
          process.env['STADION_CONFORMANCE_LEAK'] = 'must not be seen';
          try {
            const { stdout } = await run(scripts.showEnvironment, { env });
            const { PATH, HOME, LANG, ...rest } = JSON.parse(stdout) as Record<string, string>;
            expect(rest).toEqual(env);
            expect([PATH, HOME, LANG]).toEqual([expect.any(String), expect.any(String), expect.any(String)]);
          } finally {
            delete process.env['STADION_CONFORMANCE_LEAK'];
          }
        },
      );

      essential(
        'a loader variable in the environment reaches the script, and no helper before it',
        async () => {
          const env = { LD_PRELOAD: '/scripts/evil.so' };
          const { stdout, stderr, exit } = await run(scripts.showLoaderVariable, { env });
          expect({ stdout, code: exit.exitCode }).toEqual({ stdout: '/scripts/evil.so\n', code: 0 });
          // The loader complains once for each program that was started with it.
          expect(stderr.split('evil.so').length - 1).toBeLessThanOrEqual(1);
        },
      );
    });

    describe('where the script finds itself', () => {
      essential('the script is the main program, called by its name, in its working folder', async () => {
        const { stdout, scriptsDir } = await run(scripts.showPlace(scriptFile));
        const folder = capabilities.workingFolder === '/scripts' ? '/scripts' : scriptsDir;
        expect(JSON.parse(stdout)).toEqual([true, true, folder, [scriptFile, 'input']]);
      });

      essential('the script can create files in its folder, and the starter reads them', async () => {
        const { scriptsDir, exit } = await run(scripts.makeFile);
        expect(exit.exitCode).toBe(0);
        expect(await readFile(join(scriptsDir, 'out/a.txt'), 'utf8')).toBe('made');
      });

      needing(capabilities.protectsScript)(
        'the script can neither change nor replace index.py and input',
        async () => {
          const source = `
import os
for name in ('index.py', 'input'):
    for deed in (lambda: open(name, 'w'), lambda: open(name, 'a'), lambda: os.unlink(name), lambda: os.chmod(name, 0o777),
                 lambda: os.rename(name, 'other'), lambda: (open('mine', 'w').close(), os.rename('mine', name))):
        try:
            deed()
            print('could', name)
        except OSError:
            pass
`;
          const { stdout, scriptsDir } = await run(source, { input: '{}' });
          expect(stdout).toBe('');
          expect(await readFile(join(scriptsDir, 'index.py'), 'utf8')).toBe(source);
          expect(await readFile(join(scriptsDir, 'input'), 'utf8')).toBe('{}');
        },
      );

      needing(capabilities.privateProcesses || capabilities.privateFiles)(
        "two sandboxes at once don't see each other",
        async () => {
          const secret = `only-for-the-first-${randomUUID()}`;
          const first = await start(untilToldAfter(`open('private', 'w').write(${JSON.stringify(secret)})`), {
            env: { first_secret: secret },
          });
          await eventually('the first is up', () => first.text('stdout').includes('up'));
          const look = `
import os, sys
found = []
for folder, folders, files in os.walk(${JSON.stringify(capabilities.workingFolder === '/scripts' ? '/' : join(first.scriptsDir, '..'))}):
    if folder in ('/sys', '/usr', '/dev', '/nix') or folder.startswith('/proc/') and folder.count('/') > 2:
        folders.clear()
        continue
    for name in files + ['environ', 'cmdline'] * folder.startswith('/proc'):
        try:
            if ${JSON.stringify(secret.slice(0, 15))}.encode() + b'-' + ${JSON.stringify(secret.slice(16))}.encode() in open(os.path.join(folder, name), 'rb').read(65536): found.append(folder + '/' + name)
        except OSError: pass
print([f for f in found if not f.endswith('/index.py') or f.startswith(${JSON.stringify(first.scriptsDir)})])
`;
          const second = await run(look);
          await writeFile(join(first.scriptsDir, 'go'), '');
          expect({ found: second.stdout, stderr: second.stderr }).toEqual({ found: '[]\n', stderr: '' });
          expect((await first.sandbox.exited).exitCode).toBe(0);
        },
      );

      needing(capabilities.privateProcesses && capabilities.childProcesses)(
        'a script cannot signal anything outside',
        async () => {
          const first = await start(scripts.untilTold);
          await eventually('the first is up', () => first.text('stdout').includes('up'));
          const second = await run(
            `import os, signal\ntry:\n    os.kill(-1, 9)\nexcept OSError: pass\nfor pid in range(2, 40000):\n    if pid == os.getpid(): continue\n    try: os.kill(pid, 9)\n    except OSError: pass\nprint('done')`,
          );
          expect(second.stdout).toBe('done\n');
          await writeFile(join(first.scriptsDir, 'go'), '');
          expect((await first.sandbox.exited).exitCode).toBe(0);
        },
      );
    });

    describe('what comes out', () => {
      essential('standard output and standard error arrive on their own streams', async () => {
        const { stdout, stderr, exit } = await run(scripts.bothStreams);
        expect({ stdout, stderr }).toEqual({ stdout: 'to out\n', stderr: 'to err\n' });
        expect(exit).toMatchObject({ cause: 'exit', exitCode: 0 });
        expect(exit.finishedAt.getTime()).toBeGreaterThanOrEqual(exit.startedAt.getTime());
      });

      essential('a print without newline or flush is seen while the script still runs', async () => {
        const running = await start(scripts.untilTold);
        await eventually('"up" arrives', () => running.text('stdout') === 'up');
        await writeFile(join(running.scriptsDir, 'go'), '');
        expect((await running.sandbox.exited).exitCode).toBe(0);
      });

      full('bytes that are no UTF-8 arrive unchanged', async () => {
        const { output } = await run(scripts.bytes);
        expect(Buffer.concat(output.stdout)).toEqual(
          Buffer.from(Array.from({ length: 768 }, (_, i) => i % 256)),
        );
      });

      pythonOnly(
        '50 MB arrive completely, while the script runs, and without piling up in the starter',
        async () => {
          let bytes = 0;
          let largest = 0;
          const base = process.memoryUsage().arrayBuffers;
          const half = 25 * 1024 * 1024;
          const running = await start(
            `import sys, os, time\nblock = b'x' * 65536\nfor _ in range(400): sys.stdout.buffer.write(block)\nsys.stdout.buffer.flush()\nwhile not os.path.exists('go'): time.sleep(0.01)\nfor _ in range(400): sys.stdout.buffer.write(block)`,
            {
              onOutput: (_, chunk) => {
                bytes += chunk.length;
                largest = Math.max(largest, chunk.length);
              },
            },
          );
          await eventually('half has arrived', () => bytes === half);
          await eventually('none of it is kept', () => {
            collectGarbage();
            return process.memoryUsage().arrayBuffers - base < 10 * 1024 * 1024;
          });
          await writeFile(join(running.scriptsDir, 'go'), '');
          expect((await running.sandbox.exited).exitCode).toBe(0);
          expect(bytes).toBe(2 * half);
          expect(largest).toBeLessThanOrEqual(4 * 1024 * 1024);
        },
      );

      pythonOnly('a single huge write arrives whole', async () => {
        const { output } = await run(`import sys; sys.stdout.write('y' * 8_000_000)`);
        expect(Buffer.concat(output.stdout).length).toBe(8_000_000);
      });

      pythonOnly('a flood on standard error does not block standard output', async () => {
        const { output, exit } = await run(
          `import sys\nfor _ in range(100): sys.stderr.write('e' * 65536)\nprint('end')`,
        );
        expect(exit.exitCode).toBe(0);
        expect(Buffer.concat(output.stderr).length).toBe(100 * 65_536);
        expect(Buffer.concat(output.stdout).toString()).toBe('end\n');
      });

      needing(capabilities.childProcesses)(
        'what is written right before a hard exit is not lost',
        async () => {
          const { stdout, exit } = await run(`import os\nos.write(1, b'z' * 300_000)\nos._exit(5)`);
          expect({ length: stdout.length, code: exit.exitCode }).toEqual({ length: 300_000, code: 5 });
        },
      );

      needing(capabilities.childProcesses)('a script may close its own output early', async () => {
        const { stdout, exit } = await run(
          `import os, time\nprint('before')\nos.close(1); os.close(2)\ntime.sleep(0.2)\nopen('after', 'w').close()\nos._exit(0)`,
        );
        expect({ stdout, code: exit.exitCode }).toEqual({ stdout: 'before\n', code: 0 });
      });
    });

    describe('how it ends', () => {
      essential('an empty script ends with 0', async () => {
        const { exit, stdout, stderr } = await run(scripts.empty);
        expect({ cause: exit.cause, code: exit.exitCode, stdout, stderr }).toEqual({
          cause: 'exit',
          code: 0,
          stdout: '',
          stderr: '',
        });
      });

      essential('an exit with 3 ends with 3', async () => {
        const { exit, stdout } = await run(scripts.exitWith3);
        expect({ cause: exit.cause, code: exit.exitCode, stdout }).toEqual({
          cause: 'exit',
          code: 3,
          stdout: 'before\n',
        });
      });

      essential('an uncaught exception ends with 1 and a traceback that names the script', async () => {
        const { exit, stderr } = await run(scripts.uncaught);
        expect(exit).toMatchObject({ cause: 'exit', exitCode: 1 });
        expect(stderr).toMatch(scripts.uncaughtTold);
      });

      pythonOnly('sys.exit with a sentence writes it to standard error and ends with 1', async () => {
        const { exit, stderr } = await run(`import sys; sys.exit('no such table')`);
        expect({ code: exit.exitCode, stderr }).toEqual({ code: 1, stderr: 'no such table\n' });
      });

      essential('a syntax error ends with 1 and says where', async () => {
        const { exit, stderr } = await run(scripts.syntaxError);
        expect(exit).toMatchObject({ cause: 'exit', exitCode: 1 });
        expect(stderr).toMatch(scripts.syntaxErrorTold);
      });

      (capabilities.childProcesses ? full : skipped)('death by signal n ends with 128 + n', async () => {
        for (const [signal, code] of [
          ['SIGTERM', 143],
          ['SIGSEGV', 139],
          ['SIGABRT', 134],
        ] as const) {
          const { exit } = await run(scripts.dieBy(signal));
          expect([signal, exit.cause, exit.exitCode]).toEqual([signal, 'exit', code]);
        }
      });

      essential('a memory hog ends, and another script runs on', async () => {
        const neighbour = await start(scripts.untilTold);
        const { exit, stdout } = await run(scripts.memoryHog);
        expect(stdout).toBe('start\n');
        expect(exit.exitCode).not.toBe(0);
        if (capabilities.outOfMemory === 'told')
          expect(exit).toMatchObject({ cause: 'out_of_memory', detail: expect.any(String) });
        else expect(['exit', 'out_of_memory']).toContain(exit.cause);
        await writeFile(join(neighbour.scriptsDir, 'go'), '');
        expect((await neighbour.sandbox.exited).exitCode).toBe(0);
      });

      needing(capabilities.childProcesses && capabilities.limitsProcesses !== false)(
        'a fork bomb ends, or hurts only itself',
        async () => {
          const { exit, stdout } = await run(
            `import os, time\nn = 0\ntry:\n    while n < 500:\n        if os.fork() == 0: time.sleep(20); os._exit(0)\n        n += 1\nexcept OSError: pass\nprint(n)`,
          );
          if (exit.cause === 'exit') expect(Number(stdout)).toBeLessThan(500);
          else expect(exit.cause).toBe('pids_limit');
        },
      );

      needing(capabilities.childProcesses)(
        'orphans that hold the output open, and daemons in their own session, are gone with the script',
        async () => {
          const running = await start(`
import os, sys, time, signal
def beat(name):
    signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)
    while True:
        with open(name, 'a') as f: f.write('.')
        time.sleep(0.02)
if os.fork() == 0: beat('orphan')
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        null = os.open('/dev/null', os.O_RDWR)
        for fd in (0, 1, 2): os.dup2(null, fd)
        os.chdir('/')
        os.chdir(${JSON.stringify(capabilities.workingFolder === '/scripts' ? '/scripts' : '')} or os.path.dirname(os.path.abspath(__file__)))
        beat('daemon')
    os._exit(0)
while not (os.path.exists('orphan') and os.path.exists('daemon')): time.sleep(0.01)
print('leaving')
`);
          const exit = await bounded('the end', running.sandbox.exited, patienceMs);
          expect(exit).toMatchObject({ cause: 'exit', exitCode: 0 });
          expect(running.text('stdout')).toBe('leaving\n');
          for (const name of ['orphan', 'daemon']) await hasStopped(join(running.scriptsDir, name));
        },
      );
    });

    describe('stop and remove', () => {
      essential('stop ends a script at once, keeps what it printed, and says so', async () => {
        const running = await start(scripts.beating);
        await eventually('it beats', () => exists(join(running.scriptsDir, 'beat')));
        await eventually('its line arrived', () => running.text('stdout') === 'partial');
        await bounded('stop', running.sandbox.stop(), stopBoundMs);
        const exit = await bounded('the end', running.sandbox.exited, stopBoundMs);
        expect(exit.cause).toBe('stopped');
        expect(running.text('stdout')).toBe('partial');
        await hasStopped(join(running.scriptsDir, 'beat'));
      });

      needing(capabilities.childProcesses)(
        'stop does not care that SIGTERM is ignored, nor for children and daemons',
        async () => {
          const running = await start(`
import os, signal, time
for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)
if os.fork() == 0: os.setsid()
while True:
    with open('beat', 'a') as f: f.write('.')
    time.sleep(0.02)
`);
          await eventually('it beats', () => exists(join(running.scriptsDir, 'beat')));
          await bounded('stop', running.sandbox.stop(), stopBoundMs);
          await bounded('the end', running.sandbox.exited, stopBoundMs);
          await hasStopped(join(running.scriptsDir, 'beat'));
        },
      );

      essential('a busy loop that never yields is stopped too', async () => {
        const running = await start(scripts.spinning);
        await eventually('it spins', () => running.text('stdout') === 'spinning\n');
        await bounded('stop', running.sandbox.stop(), stopBoundMs);
        expect((await bounded('the end', running.sandbox.exited, stopBoundMs)).cause).toBe('stopped');
      });

      full('stop twice, at the same time and again, is one stop', async () => {
        const running = await start(scripts.beating);
        await Promise.all([running.sandbox.stop(), running.sandbox.stop()]);
        await running.sandbox.stop();
        expect((await running.sandbox.exited).cause).toBe('stopped');
      });

      full('stop after the end changes nothing', async () => {
        const running = await start(scripts.exitWith3);
        const exit = await running.sandbox.exited;
        await running.sandbox.stop();
        expect(await running.sandbox.exited).toEqual(exit);
        expect(exit).toMatchObject({ cause: 'exit', exitCode: 3 });
      });

      full('remove stops first, and may be called twice', async () => {
        const running = await start(scripts.beating);
        await eventually('it beats', () => exists(join(running.scriptsDir, 'beat')));
        await Promise.all([running.sandbox.remove(), running.sandbox.remove()]);
        await running.sandbox.remove();
        expect((await bounded('the end', running.sandbox.exited, stopBoundMs)).cause).toBe('stopped');
        await hasStopped(join(running.scriptsDir, 'beat'));
        expect(await readFile(join(running.scriptsDir, scriptFile), 'utf8')).toBe(scripts.beating);
      });
    });

    describe('leftovers and giving up', () => {
      essential(
        "leftovers lists this starter's sandboxes, running and ended, and nobody else's",
        async () => {
          const running = await start(scripts.untilTold);
          const find = async (which: Executor) =>
            (await which.leftovers()).find((one) => one.attemptId === running.spec.attemptId);
          expect(await find(executor)).toMatchObject({ running: true });
          expect(await find(harness.executorOfAnotherStarter)).toBeUndefined();
          await writeFile(join(running.scriptsDir, 'go'), '');
          await running.sandbox.exited;
          expect(await find(executor)).toMatchObject({ running: false });
          await running.sandbox.remove();
          expect(await find(executor)).toBeUndefined();
        },
      );

      full('a leftover that still runs is ended by its remove', async () => {
        const running = await start(scripts.beating);
        await eventually('it beats', () => exists(join(running.scriptsDir, 'beat')));
        const leftover = (await executor.leftovers()).find((one) => one.attemptId === running.spec.attemptId);
        await leftover?.remove();
        await hasStopped(join(running.scriptsDir, 'beat'));
        await bounded('the end', running.sandbox.exited, stopBoundMs);
        expect((await executor.leftovers()).map((one) => one.attemptId)).not.toContain(
          running.spec.attemptId,
        );
      });

      full('a signal aborted before the start leaves nothing and runs nothing', async () => {
        const scriptsDir = await harness.makeScriptsDir(scripts.touchRan);
        const { spec } = buildSpec(scriptsDir, {}, language);
        const reason = new Error('not wanted any more');
        await expect(executor.start(spec, AbortSignal.abort(reason))).rejects.toBe(reason);
        expect((await executor.leftovers()).map((one) => one.attemptId)).not.toContain(spec.attemptId);
        expect(await exists(join(scriptsDir, 'ran'))).toBe(false);
      });

      full('a signal aborted while starting leaves nothing, whenever it comes', async () => {
        for (const afterTurns of [0, 1, 5, 25, 125]) {
          const scriptsDir = await harness.makeScriptsDir(scripts.beating);
          const { spec } = buildSpec(scriptsDir, {}, language);
          const giveUp = new AbortController();
          const reason = new Error(`given up after ${afterTurns} turns`);
          const starting = executor.start(spec, giveUp.signal).then(
            (sandbox) => sandbox.remove(),
            (error: unknown) => expect(error).toBe(reason),
          );
          for (let turn = 0; turn < afterTurns; turn += 1) await new Promise(setImmediate);
          giveUp.abort(reason);
          await starting;
          expect((await executor.leftovers()).map((one) => one.attemptId)).not.toContain(spec.attemptId);
          if (await exists(join(scriptsDir, 'beat'))) await hasStopped(join(scriptsDir, 'beat'));
        }
      });
    });

    essential('health is ready, says what isolates, and never throws', async () => {
      const health = await executor.health();
      expect(health).toMatchObject({
        ready: true,
        isolation: expect.stringMatching(/^.{10,500}$/),
        warnings: expect.any(Array),
      });
    });
  });
}

interface StartOptions {
  input?: string;
  env?: Record<string, string>;
  limits?: Partial<SandboxLimits>;
  signal?: AbortSignal;
  onOutput?: SandboxSpec['onOutput'];
}

type Output = Record<'stdout' | 'stderr', Buffer[]>;

interface Running {
  sandbox: Sandbox;
  spec: SandboxSpec;
  scriptsDir: string;
  output: Output;
  text(stream: 'stdout' | 'stderr'): string;
}

interface Ended {
  exit: SandboxExit;
  scriptsDir: string;
  stdout: string;
  stderr: string;
  output: Output;
}

let nextTaskId = 1;

function buildSpec(scriptsDir: string, options: StartOptions, language: Language) {
  const output: Output = { stdout: [], stderr: [] };
  const spec: SandboxSpec = {
    attemptId: randomUUID(),
    taskId: nextTaskId++,
    profile: language,
    scriptFile: defaultScriptFile(language),
    scriptsDir,
    env: options.env ?? {},
    limits: { ...conformanceLimits, ...options.limits },
    timeLimitS: 60,
    onOutput: options.onOutput ?? ((stream, chunk) => output[stream].push(Buffer.from(chunk))),
  };
  return { spec, output, text: (stream: 'stdout' | 'stderr') => Buffer.concat(output[stream]).toString() };
}

/** In Python: like `untilTold`, after a first line. */
function untilToldAfter(first: string): string {
  return `${first}\n${conformanceScripts.python.untilTold}`;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** A file that a process lets grow every 20 ms has stopped growing, which is soon so when the process is gone. */
async function hasStopped(path: string): Promise<void> {
  let size = -1;
  await waitUntil(
    `${path} no longer grows`,
    async () => {
      const before = size;
      size = (await stat(path)).size;
      return size === before;
    },
    stopBoundMs,
    200,
  );
}

async function waitUntil(
  what: string,
  condition: () => boolean | Promise<boolean>,
  boundMs: number,
  everyMs = 10,
): Promise<void> {
  const end = Date.now() + boundMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`Waited ${boundMs} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

async function bounded<T>(what: string, promise: Promise<T>, boundMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${boundMs} ms`)), boundMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
