/**
 * An image as the original pipeline had it, on a real engine: no protocol, told by variables and files, its output in a
 * file at the end. Made here from the image in `STADION_TEST_RUNNER_IMAGE`, whose label it takes back.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@stadion/testkit';
import Docker from 'dockerode';
import type { Sandbox, SandboxProfile, SandboxSpec } from '../executor.js';
import { conformanceLimits } from '../executor-conformance.js';
import { ownNetwork, runnerUser } from './container-options.js';
import { DockerExecutor } from './docker-executor.js';

const ourImage = process.env['STADION_TEST_RUNNER_IMAGE'] ?? 'stadion/runner-python:test';
const image = `stadion/original-${randomUUID()}:test`;
const docker = new Docker();
const user = runnerUser(process.getuid?.() ?? 0, process.getgid?.() ?? 0);
const exchangeRoot = mkdtempSync(join(tmpdir(), 'stadion-original-test-'));
chmodSync(exchangeRoot, 0o711);

/** As the original's: its only argument is `run`, and what the script prints goes into the file `output`. */
const dockerfile = `
FROM ${ourImage}
LABEL org.stadion.runner.protocol=""
USER root
RUN printf '%s\\n' '#!/bin/sh' 'test "$*" = run || exit 64' 'cd /scripts' 'cat input | python3 index.py > output' > /run.sh
USER runner
ENTRYPOINT ["/bin/sh", "/run.sh"]
`;

function executorFor(profile: Partial<SandboxProfile> = {}): DockerExecutor {
  const original: SandboxProfile = {
    name: 'python',
    language: 'python',
    image,
    protocol: 'original',
    network: ownNetwork,
    runtime: null,
    ...profile,
  };
  return new DockerExecutor({
    starterId: randomUUID(),
    engineUrl: null,
    profiles: [original],
    user,
    exchangeRoot: null,
  });
}

const executor = executorFor();
const open: Sandbox[] = [];

beforeAll(() => {
  const env = { ...process.env, DOCKER_BUILDKIT: '0' };
  execFileSync('docker', ['build', '--quiet', '--tag', image, '-'], {
    input: dockerfile,
    env,
    stdio: 'pipe',
  });
}, 120_000);
afterEach(async () => {
  await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
});
afterAll(async () => {
  await executor.close();
  await docker.getImage(image).remove({ force: true });
  rmSync(exchangeRoot, { recursive: true, force: true });
});

async function start(source: string, options: Partial<SandboxSpec> & { input?: string } = {}, by = executor) {
  const { input = '', ...spec } = options;
  const scriptsDir = join(exchangeRoot, randomUUID());
  mkdirSync(scriptsDir);
  for (const [name, content] of Object.entries({ 'index.py': source, input })) {
    writeFileSync(join(scriptsDir, name), content, { mode: 0o444 });
  }
  chmodSync(scriptsDir, 0o1777);
  const pieces = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const sandbox = await by.start({
    attemptId: randomUUID(),
    taskId: 7,
    profile: 'python',
    scriptFile: 'index.py',
    scriptsDir,
    env: {},
    limits: conformanceLimits,
    timeLimitS: 60,
    onOutput: (stream, chunk) => pieces[stream].push(Buffer.from(chunk)),
    ...spec,
  });
  open.push(sandbox);
  const container = docker.getContainer(`stadion-run-${sandbox.attemptId}`);
  const bytes = (stream: 'stdout' | 'stderr') => Buffer.concat(pieces[stream]);
  return { sandbox, container, scriptsDir, bytes };
}

async function run(source: string, options: Parameters<typeof start>[1] = {}) {
  const { sandbox, bytes } = await start(source, options);
  const exit = await sandbox.exited;
  return { exit, stdout: bytes('stdout').toString(), stderr: bytes('stderr').toString(), bytes };
}

test('P8: it gets input, environment and folder as it is used to, and its output is read from its file', async () => {
  const source = `
import datetime, json, os, sys
print(json.load(sys.stdin)['row'], os.environ['api_token'], os.getcwd())
print(datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.timezone.utc).astimezone().isoformat())
open('made', 'w').write('x')
print('to err', file=sys.stderr)
sys.exit(3)
`;
  const env = { api_token: 'a = "b"\nc', TZ: 'Asia/Tokyo' };
  const { exit, stdout, stderr } = await run(source, { input: '{"row": "ü"}', env });
  expect(stdout).toBe('ü a = "b"\nc /scripts\n2026-07-01T21:00:00+09:00\n');
  expect(stderr).toBe('to err\n');
  expect(exit).toMatchObject({ cause: 'exit', exitCode: 3 });
});

test('it is hardened like any other', async () => {
  const { stdout } = await run(`
import os
print(os.getuid(), os.getgid())
for line in open('/proc/self/status'):
    if line.startswith(('CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp:')): print(*line.split())
for path in ('/etc/passwd', '/new', '/scripts/index.py'):
    try: open(path, 'a'); print('could write', path)
    except OSError: pass
`);
  expect(stdout.trim().split('\n')).toEqual([
    `${user.uid} ${user.gid}`,
    'CapEff: 0000000000000000',
    'CapBnd: 0000000000000000',
    'NoNewPrivs: 1',
    'Seccomp: 2',
  ]);
});

test('R6: output that is not UTF-8 arrives unchanged', async () => {
  const { bytes } = await run(`import sys; sys.stdout.buffer.write(bytes(range(256)))`);
  expect(bytes('stdout')).toEqual(Buffer.from(Array.from({ length: 256 }, (_, i) => i)));
});

const plant = (deed: string) => `import os\nprint('hidden', flush=True)\nos.unlink('output')\n${deed}`;

test.each<[string, string, RegExp]>([
  ["a link to the machine's passwords", `os.symlink('/etc/shadow', 'output')`, /"output" is a link/],
  ['a link to the input', `os.symlink('input', 'output')`, /"output" is a link/],
  ['a FIFO', `os.mkfifo('output')`, /"output" is no plain file/],
  ['a folder', `os.mkdir('output')`, /"output" is a folder/],
  ['nothing', ``, /^$/],
])('Judge0: %s planted at the name of its output neither leaks nor hangs', async (_, deed, told) => {
  const { exit, stdout, stderr } = await run(plant(deed), { input: '{"a": "secret"}' });
  expect(exit).toMatchObject({ cause: 'exit', exitCode: 0 });
  expect(stdout).toBe('');
  expect(stderr).toMatch(told);
});

test('R6: a huge sparse output is read up to a bound', async () => {
  const limits = { ...conformanceLimits, fileBytes: 2 ** 42 };
  const { stdout } = await run(`import os; print('x', flush=True); os.truncate('output', 2 ** 40)`, {
    limits,
  });
  expect(stdout.length).toBe(16 * 1024 * 1024);
  expect(stdout.startsWith('x\n\0')).toBe(true);
});

test('R1: out of memory is told by name, and what was printed before is kept', async () => {
  const { exit, stdout } = await run(
    `print('before', flush=True)\nhog = []\nwhile True: hog.append(bytearray(8_000_000))`,
    { limits: { ...conformanceLimits, memoryBytes: 64 * 1024 * 1024 } },
  );
  expect(exit).toMatchObject({ cause: 'out_of_memory', exitCode: 137 });
  expect(stdout).toBe('before\n');
});

test('R19: stop ends it within two seconds, though its shell ignores signals, and keeps its output', async () => {
  const { sandbox, scriptsDir, bytes } = await start(
    `import time\nprint('up', flush=True)\nopen('ready', 'w').close()\nwhile True: time.sleep(1)`,
  );
  await eventually(() => existsSync(join(scriptsDir, 'ready')), { timeoutMs: 10_000 });
  const before = Date.now();
  await sandbox.stop();
  expect(await sandbox.exited).toMatchObject({ cause: 'stopped' });
  expect(Date.now() - before).toBeLessThan(2_000);
  expect(bytes('stdout').toString()).toBe('up\n');
});

test('an environment that no process can have is refused before a container is made', async () => {
  await expect(start('', { env: { 'a=b': 'c' } })).rejects.toMatchObject({ reason: 'engine_error' });
  expect(await executor.leftovers()).toEqual([]);
});

test('an image without the protocol needs the profile to say so, and one with it must not', async () => {
  for (const [profile, words] of [
    [{ protocol: 'stadion' }, 'or give it the protocol "original"'],
    [{ image: ourImage }, 'must not say protocol "original"'],
  ] as const) {
    const wrong = executorFor(profile);
    try {
      await expect(start('', {}, wrong)).rejects.toThrow(words);
      expect(await wrong.health()).toMatchObject({
        ready: false,
        profiles: [{ name: 'python', available: false, problem: expect.stringContaining(words) }],
      });
    } finally {
      await wrong.close();
    }
  }
});

test('health says that its secrets can be read by whoever may ask the engine', async () => {
  const { warnings, profiles } = await executor.health();
  expect(profiles).toEqual([{ name: 'python', language: 'python', runsIn: image, available: true }]);
  expect(warnings.join('\n')).toMatch(/profile python get their environment, API token included/);
});
