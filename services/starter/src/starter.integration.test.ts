/** The starter with real sandboxes: what a stand-in cannot show. Each executor that this machine has is tried. */
import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixedOutput } from '@stadion/contracts';
import { eventually } from '@stadion/testkit';
import { ProcessExecutor } from './executors/process/process-executor.js';
import { type RunningStarter, type Stage, setStage } from './testing/starter-harness.js';

let stage: Stage;
let running: RunningStarter<ProcessExecutor>;

const makeExecutor = async () =>
  new ProcessExecutor({
    starterId: (await stage.exchange()).starterId,
    stateDir: join(stage.dir, 'processes'),
    temporaryDir: tmpdir(),
    searchPath: process.env['PATH'] ?? '',
  });

beforeEach(async () => {
  stage = await setStage();
});
afterEach(() => stage.end());

async function startStarter(env: Record<string, string> = {}) {
  running = await stage.start({ executor: await makeExecutor(), env });
}

async function dispatch(source: string, more: Parameters<Stage['scheduler']['dispatchOf']>[1] = {}) {
  const request = stage.scheduler.dispatchOf(stage.host.script(`/${randomUUID()}.py`, source), more);
  expect((await stage.scheduler.dispatch(running.url, request)).status).toBe(200);
  return request;
}

async function run(source: string, more: Parameters<typeof dispatch>[1] = {}) {
  const request = await dispatch(source, more);
  return await stage.scheduler.resultOf(request.attempt_id, 30_000);
}

const folders = () => readdir(join(stage.dir, 'exchange', 'attempts'));

test('a script gets input and environment, and its output and exit code come back', async () => {
  await startStarter();
  const source = [
    'import json, os, sys',
    'print(json.load(sys.stdin)["a"], os.environ["api_token"], os.environ["is_cloud"])',
    'print("oops", file=sys.stderr)',
    'sys.exit(3)',
  ].join('\n');
  expect(await run(source, { context_data: { a: 'ü' }, env: { api_token: 'tok' } })).toMatchObject({
    success: false,
    return_code: 3,
    output: 'ü tok 1\noops\n',
    cause: 'exit',
  });
  await eventually(async () => (await folders()).length === 0);
});

test('R6: output that is not UTF-8, and more of it than is kept, is a result', async () => {
  await startStarter();
  const odd = await run('import sys; sys.stdout.buffer.write(b"a\\xff\\xfeb\\n")');
  expect(odd).toMatchObject({ success: true, output: 'a\ufffd\ufffdb\n' });
  const source =
    'import sys\nfor _ in range(20): sys.stdout.write("x" * 1_000_000)\nraise SystemExit("the reason")';
  const huge = await run(source);
  expect(huge.return_code).toBe(1);
  expect(huge.output).toContain('the reason');
  expect(huge.output).toMatch(/\[output truncated: \d+ characters kept of more\]$/);
  expect(huge.output!.length).toBeLessThanOrEqual(1_000_000);
});

test.each([
  ['control characters', '\\u0001'],
  ['emoji', '\\U0001F600'],
])('R16: a million %s printed by a script arrive whole', async (_name, character) => {
  await startStarter();
  const result = await run(
    `import sys; sys.stdout.reconfigure(encoding="utf-8"); sys.stdout.write("${character}" * 1_000_000)`,
  );
  expect(result.success).toBe(true);
  expect([...result.output!].length).toBe(1_000_000);
});

test('R9: at the limit the script and what it started are gone within two seconds, and its output is kept', async () => {
  await startStarter();
  const source = [
    'import signal, subprocess, time',
    'signal.signal(signal.SIGTERM, signal.SIG_IGN)',
    'print("before", flush=True)',
    'time.sleep(600)',
  ].join('\n');
  const startedAt = Date.now();
  const result = await run(source, { time_limit_s: 1 });
  expect(result).toMatchObject({
    success: false,
    return_code: -1,
    output: `before\n${fixedOutput.timeLimit}`,
    cause: 'time_limit',
  });
  expect(result.spend_time).toBeGreaterThanOrEqual(1);
  expect(result.spend_time).toBeLessThan(3);
  expect(Date.now() - startedAt).toBeLessThan(10_000);
  await eventually(
    async () => (await folders()).length === 0 && (await running.executor.leftovers()).length === 0,
  );
});

test('what a script planted in its folder harms nothing and is gone afterwards', async () => {
  await startStarter();
  const source = [
    'import os',
    'os.symlink("/", "root"); os.symlink("/etc/passwd", "output"); os.mkfifo("fifo")',
    'os.makedirs("a/b"); open("a/b/file", "w").close(); os.chmod("a/b", 0); os.chmod("a", 0)',
    'for path in ("index.py", "input"):',
    '    try: os.remove(path); print("removed", path)',
    '    except OSError: print("kept", path)',
  ].join('\n');
  const result = await run(source);
  expect(result.success).toBe(true);
  if (process.getuid?.() === 0) expect(result.output).toBe('kept index.py\nkept input\n');
  await eventually(async () => (await folders()).length === 0);
  await eventually(async () => (await readdir(join(stage.dir, 'exchange', 'trash'))).length === 0);
});

test('R18: after a restart the sandboxes of the process before are gone and their runs are told so', async () => {
  const abandoned = await makeExecutor();
  const request = stage.scheduler.dispatchOf(null);
  const exchange = await stage.exchange();
  await exchange.journal(request);
  await exchange.prepareScripts(request.attempt_id, Buffer.from('import time; time.sleep(600)'), '');
  await exchange.markLaunching(request.attempt_id);
  const sandbox = await abandoned.start({
    attemptId: request.attempt_id,
    taskId: request.script_id,
    profile: 'python',
    scriptFile: 'index.py',
    scriptsDir: exchange.scriptsDir(request.attempt_id),
    env: {},
    limits: {
      memoryBytes: 256 * 1024 ** 2,
      cpus: 1,
      pids: 64,
      openFiles: 256,
      fileBytes: 1024 ** 2,
      tmpBytes: 16 * 1024 ** 2,
    },
    timeLimitS: 900,
    onOutput: () => undefined,
  });
  await startStarter();
  expect(await stage.scheduler.resultOf(request.attempt_id)).toMatchObject({
    success: false,
    cause: 'starter_restarted',
  });
  await sandbox.exited;
  await eventually(
    async () => (await folders()).length === 0 && (await running.executor.leftovers()).length === 0,
  );
  await abandoned.close();
});
