/**
 * The Docker executor on a real engine: `DOCKER_HOST`, and runner images named by `STADION_TEST_RUNNER_IMAGE` and
 * `STADION_TEST_NODE_RUNNER_IMAGE`.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@stadion/testkit';
import Docker from 'dockerode';
import type { Sandbox, SandboxExit, SandboxProfile, SandboxSpec } from '../executor.js';
import { defaultScriptFile, type Language, languageOf, type ScriptFile } from '../../script-file.js';
import { conformanceLimits, describeExecutor, type ExecutorHarness } from '../executor-conformance.js';
import { labels, ownNetwork, runnerUser } from './container-options.js';
import { DockerExecutor, type DockerExecutorSettings } from './docker-executor.js';

const docker = new Docker();
const patience = { timeoutMs: 10_000 };
const runnerImage = process.env['STADION_TEST_RUNNER_IMAGE'] ?? 'stadion/runner-python:test';
const nodeRunnerImage = process.env['STADION_TEST_NODE_RUNNER_IMAGE'] ?? 'stadion/runner-node:test';
const exchangeRoot = mkdtempSync(join(tmpdir(), 'stadion-docker-test-'));
chmodSync(exchangeRoot, 0o711);

type Options = Partial<
  DockerExecutorSettings & Pick<SandboxProfile, 'image' | 'network' | 'runtime' | 'protocol'>
>;

function makeExecutor(
  { image = runnerImage, ...options }: Options = {},
  language: Language = 'python',
): DockerExecutor {
  const { network = ownNetwork, runtime = null, protocol = 'stadion', ...settings } = options;
  return new DockerExecutor({
    starterId: randomUUID(),
    engineUrl: null,
    profiles: [{ name: language, language, image, protocol, network, runtime }],
    user: runnerUser(process.getuid?.() ?? 0, process.getgid?.() ?? 0),
    exchangeRoot: null,
    ...settings,
  });
}

async function makeScriptsDir(source: string | Buffer, input = '', name: ScriptFile = 'index.py') {
  const folder = join(exchangeRoot, randomUUID());
  mkdirSync(folder);
  chmodSync(folder, 0o1777);
  for (const [file, content] of [
    [name, source],
    ['input', input],
  ] as const) {
    await writeFile(join(folder, file), content);
    chmodSync(join(folder, file), 0o444);
  }
  return folder;
}

afterAll(() => rmSync(exchangeRoot, { recursive: true, force: true }));

for (const language of ['python', 'node'] as const) {
  describeExecutor(`docker, ${language}`, () => harnessOf(language));
}

function harnessOf(language: Language): ExecutorHarness {
  const options = language === 'node' ? { image: nodeRunnerImage } : {};
  const executor = makeExecutor(options, language);
  const executorOfAnotherStarter = makeExecutor(options, language);
  return {
    language,
    capabilities: {
      workingFolder: '/scripts',
      protectsScript: process.getuid?.() === 0,
      childProcesses: true,
      privateProcesses: true,
      privateFiles: true,
      outOfMemory: 'told',
    },
    executor,
    executorOfAnotherStarter,
    makeScriptsDir: (source, input) => makeScriptsDir(source, input, defaultScriptFile(language)),
    async cleanUp() {
      await executor.close();
      await executorOfAnotherStarter.close();
    },
  };
}

describe('docker executor', () => {
  const executor = makeExecutor();
  const open: Sandbox[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
  });
  afterAll(() => executor.close());

  async function start(source: string, options: Partial<SandboxSpec> = {}, by = executor) {
    const told = { stdout: '', stderr: '' };
    const scriptsDir = await makeScriptsDir(source);
    const sandbox = await by.start({
      attemptId: randomUUID(),
      taskId: 7,
      profile: 'python',
      scriptFile: 'index.py',
      scriptsDir,
      env: {},
      limits: conformanceLimits,
      timeLimitS: 60,
      onOutput: (stream, chunk) => {
        told[stream] += chunk.toString();
      },
      ...options,
    });
    open.push(sandbox);
    const container = docker.getContainer(`stadion-run-${sandbox.attemptId}`);
    return { sandbox, told, scriptsDir, container };
  }

  async function run(source: string, options: Partial<SandboxSpec> = {}, by = executor) {
    const running = await start(source, options, by);
    const exit: SandboxExit = await running.sandbox.exited;
    return { exit, ...running };
  }

  const untilTold = `import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\n`;

  test('no secret is in what Docker tells of the container, nor in any command line', async () => {
    const secret = `secret-${randomUUID()}`;
    const { told, container } = await start(
      `import os, time\nprint(os.environ['api_token'], flush=True)\n` + untilTold,
      { env: { api_token: secret } },
    );
    await eventually(() => told.stdout.includes(secret), patience);
    expect(JSON.stringify(await container.inspect())).not.toContain(secret);
    expect(JSON.stringify(await container.top({ ps_args: 'axww' }))).not.toContain(secret);
    expect(execFileSync('ps', ['axww'], { encoding: 'utf8' })).not.toContain(secret);
  });

  test('the script is not root, has no capability and cannot gain any', async () => {
    const { told } = await run(`
import os
print(os.getuid(), os.getgid(), os.getgroups())
for line in open('/proc/self/status'):
    if line.startswith(('Cap', 'NoNewPrivs', 'Seccomp:')): print(*line.split())
`);
    const { uid, gid } = runnerUser(process.getuid?.() ?? 0, process.getgid?.() ?? 0);
    const none = '0000000000000000';
    expect(told.stdout.trim().split('\n')).toEqual([
      expect.stringMatching(new RegExp(`^${uid} ${gid} \\[(${gid})?\\]$`)),
      ...['CapInh:', 'CapPrm:', 'CapEff:', 'CapBnd:', 'CapAmb:'].map((name) => `${name} ${none}`),
      'NoNewPrivs: 1',
      'Seccomp: 2',
    ]);
  });

  test('the image cannot be written to, /tmp can up to its size, and code may run from there', async () => {
    const { told, exit } = await run(`
import os, errno, subprocess
for path in ('/opt/stadion/stadion_runner.py', '/etc/passwd', '/home/seatable/x', '/usr/local/bin/python', '/new'):
    try: open(path, 'a'); print('could write', path)
    except OSError: pass
with open('/tmp/tool', 'w') as f: f.write('#!/bin/sh\\necho ran')
os.chmod('/tmp/tool', 0o755)
print(subprocess.run(['/tmp/tool'], capture_output=True, text=True).stdout.strip())
try:
    with open('/tmp/big', 'wb') as f:
        for _ in range(64): f.write(bytes(1024 * 1024))
except OSError as error: print(errno.errorcode[error.errno])
print([l.split()[3] for l in open('/proc/mounts') if l.split()[1] == '/tmp'][0])
`);
    expect(exit).toMatchObject({ cause: 'exit', exitCode: 0 });
    const [ran, full, mounted] = told.stdout.trim().split('\n');
    expect([ran, full]).toEqual(['ran', 'ENOSPC']);
    expect(mounted).toMatch(/^rw,nosuid,nodev,relatime,size=16384k/);
  });

  test("a script's local time is that of its TZ, in summer and in winter", async () => {
    const tokyoAndBerlin = async (source: string, scriptFile: ScriptFile, by: DockerExecutor) => {
      const hours = [];
      for (const TZ of ['Asia/Tokyo', 'Europe/Berlin']) {
        const scriptsDir = await makeScriptsDir(source, '', scriptFile);
        const profile = languageOf(scriptFile);
        const { told } = await run('', { env: { TZ }, scriptsDir, scriptFile, profile }, by);
        hours.push(told.stdout);
      }
      return hours;
    };
    const inPython = `
import datetime as d, time
print(*(d.datetime(2026, month, 1, 12, tzinfo=d.timezone.utc).astimezone().isoformat()[11:] for month in (1, 7)))
assert d.datetime.now().astimezone().utcoffset().total_seconds() == time.localtime().tm_gmtoff`;
    expect(await tokyoAndBerlin(inPython, 'index.py', executor)).toEqual([
      '21:00:00+09:00 21:00:00+09:00\n',
      '13:00:00+01:00 14:00:00+02:00\n',
    ]);
    const node = makeExecutor({ image: nodeRunnerImage }, 'node');
    try {
      const inNode = `console.log(...[0, 6].map((month) => new Date(Date.UTC(2026, month, 1, 12)).getHours()));`;
      expect(await tokyoAndBerlin(inNode, 'index.mjs', node)).toEqual(['21 21\n', '13 14\n']);
    } finally {
      await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
      await node.close();
    }
  }, 30_000);

  test('JavaScript: CommonJS runs too, and daemons that it leaves are gone with it', async () => {
    const node = makeExecutor({ image: nodeRunnerImage }, 'node');
    try {
      const source = `
const { spawn } = require('node:child_process');
const { existsSync } = require('node:fs');
const beat = 'const fs = require("fs"); setInterval(() => fs.appendFileSync("/scripts/beat", "."), 20)';
spawn(process.execPath, ['-e', beat], { detached: true, stdio: 'inherit' }).unref();
const look = setInterval(() => { if (existsSync('beat')) { clearInterval(look); console.log(require.main === module, __filename); } }, 10);
`;
      const scriptsDir = await makeScriptsDir(source, '', 'index.js');
      const { exit, told } = await run('', { scriptsDir, scriptFile: 'index.js', profile: 'node' }, node);
      expect(exit).toMatchObject({ cause: 'exit', exitCode: 0 });
      expect(told).toEqual({ stdout: 'true /scripts/index.js\n', stderr: '' });
    } finally {
      await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
      await node.close();
    }
  });

  test('R12: JavaScript that starts too many processes is told so', async () => {
    const node = makeExecutor({ image: nodeRunnerImage }, 'node');
    try {
      const source = `import { spawn } from 'node:child_process';\nfor (let n = 0; n < 500; n += 1) spawn('sleep', ['20'], { stdio: 'ignore' });`;
      const scriptsDir = await makeScriptsDir(source, '', 'index.mjs');
      const { exit } = await run('', { scriptsDir, scriptFile: 'index.mjs', profile: 'node' }, node);
      expect(exit).toMatchObject({ cause: 'pids_limit', detail: expect.stringContaining('limit 64') });
    } finally {
      await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
      await node.close();
    }
  });

  test('R1: a script out of memory is told so by name, with 137 and what it printed before', async () => {
    const { exit, told } = await run(
      `print('before')\nhog = []\nwhile True: hog.append(bytearray(8_000_000))`,
      { limits: { ...conformanceLimits, memoryBytes: 64 * 1024 * 1024 } },
    );
    expect(exit).toMatchObject({
      cause: 'out_of_memory',
      exitCode: 137,
      detail: 'out of memory (limit 64 MiB)',
    });
    expect(told).toEqual({ stdout: 'before\n', stderr: '' });
  });

  test('a script that survives its child being out of memory has not failed of it', async () => {
    const { exit, told } = await run(
      `import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'x = []\\nwhile True: x.append(bytearray(8_000_000))']).returncode)`,
      { limits: { ...conformanceLimits, memoryBytes: 64 * 1024 * 1024 } },
    );
    expect(told.stdout).toBe('-9\n');
    expect(exit).toMatchObject({ cause: 'exit', exitCode: 0 });
  });

  test('R12: a fork bomb ends of the pids limit, and its neighbour goes on', async () => {
    const neighbour = await start(untilTold);
    await eventually(() => neighbour.told.stdout === 'up\n', patience);
    const bomb = await run(`import os\nwhile True: os.fork()`);
    expect(bomb.exit).toMatchObject({
      cause: 'pids_limit',
      exitCode: 1,
      detail: 'too many processes (limit 64 processes and threads)',
    });
    await writeFile(join(neighbour.scriptsDir, 'go'), '');
    expect(await neighbour.sandbox.exited).toMatchObject({ cause: 'exit', exitCode: 0 });
  });

  test('R19: two seconds after the stop of a script that ignores every signal, its container does not run', async () => {
    const { sandbox, told, container } = await start(
      `import signal\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except OSError: pass\nprint('deaf')\nwhile True: pass`,
    );
    await eventually(() => told.stdout === 'deaf\n', patience);
    const before = Date.now();
    await sandbox.stop();
    expect(await sandbox.exited).toMatchObject({ cause: 'stopped', exitCode: 137 });
    expect(Date.now() - before).toBeLessThan(2_000);
    expect((await container.inspect()).State.Running).toBe(false);
    expect(told.stdout).toBe('deaf\n');
  });

  test('a script whose starter forgets it is ended by its sandbox after the time limit', async () => {
    const { exit, told } = await run(`print('spinning')\nwhile True: pass`, { timeLimitS: 0.2 });
    expect(exit).toMatchObject({
      cause: 'stopped',
      exitCode: 137,
      detail: expect.stringMatching('time limit'),
    });
    expect(exit.finishedAt.getTime() - exit.startedAt.getTime()).toBeGreaterThan(5_000);
    expect(told.stdout).toBe('spinning\n');
  }, 30_000);

  test('two containers at once cannot reach each other, by address or by name', async () => {
    const server = await start(`
import socket, threading
s = socket.socket(); s.bind(('0.0.0.0', 8000)); s.listen()
def serve():
    while True:
        c, _ = s.accept(); c.sendall(b'reached'); c.close()
threading.Thread(target=serve, daemon=True).start()
print(socket.create_connection(('127.0.0.1', 8000)).recv(9).decode())
${untilTold}`);
    await eventually(() => server.told.stdout === 'reached\nup\n', patience);
    const { NetworkSettings, Name } = await server.container.inspect();
    const address = NetworkSettings.Networks[ownNetwork]?.IPAddress;
    expect(address).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    const client = await run(`
import socket
for host in ('${address}', '${Name.slice(1)}'):
    try: print(socket.create_connection((host, 8000), 2).recv(9).decode())
    except OSError as error: print('refused')
`);
    expect(client.told.stdout).toBe('refused\nrefused\n');
  }, 30_000);

  test('executors that start together on an engine without the network end up with one that works', async () => {
    await docker
      .getNetwork(ownNetwork)
      .remove()
      .catch((error: { statusCode?: number }) => expect([403, 404]).toContain(error.statusCode));
    const many = Array.from({ length: 4 }, () => makeExecutor());
    try {
      const runs = await Promise.all(many.map((one) => run(`print('ran')`, {}, one)));
      expect(runs.map(({ told }) => told.stdout)).toEqual(many.map(() => 'ran\n'));
      await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
      const last = makeExecutor();
      many.push(last);
      await run(`print('ran')`, {}, last);
      const networks = await docker.listNetworks({ filters: { name: [ownNetwork] } });
      expect(networks.map((network) => network.Name)).toEqual([ownNetwork]);
    } finally {
      await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
      await Promise.all(many.map((one) => one.close()));
    }
  }, 30_000);

  test('without a network there is only loopback', async () => {
    const offline = makeExecutor({ network: 'none' });
    try {
      const { told } = await run(
        `import socket; print([name for _, name in socket.if_nameindex()])`,
        {},
        offline,
      );
      expect(told.stdout).toBe("['lo']\n");
    } finally {
      await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
      await offline.close();
    }
  });

  test('open files, file size and core dumps are limited', async () => {
    const { told } = await run(
      `import resource as r\nfor n in (r.RLIMIT_NOFILE, r.RLIMIT_FSIZE, r.RLIMIT_CORE): print(*r.getrlimit(n))\nopen('core-size', 'w')\nimport os\nprint(sorted(os.listdir('/proc/self/fd'))[:-1])`,
    );
    expect(told.stdout).toBe('256 256\n67108864 67108864\n0 0\n' + "['0', '1', '2']\n");
  });

  test('remove leaves no container, and a second attempt of that id would be a new one', async () => {
    const first = await run(`print('once')`);
    await first.sandbox.remove();
    await expect(first.container.inspect()).rejects.toMatchObject({ statusCode: 404 });
  });

  test('an attempt that already has a sandbox gets no second one, and the first goes on', async () => {
    const first = await start(untilTold);
    await eventually(() => first.told.stdout === 'up\n', patience);
    await expect(start(`print('again')`, { attemptId: first.sandbox.attemptId })).rejects.toMatchObject({
      name: 'SandboxStartError',
      reason: 'engine_error',
    });
    await writeFile(join(first.scriptsDir, 'go'), '');
    expect(await first.sandbox.exited).toMatchObject({ cause: 'exit', exitCode: 0 });
  });

  test('a container killed by somebody else is no fault of the script', async () => {
    const { sandbox, told, container } = await start(untilTold);
    await eventually(() => told.stdout === 'up\n', patience);
    await container.kill();
    expect(await sandbox.exited).toMatchObject({
      cause: 'engine_error',
      exitCode: 137,
      detail: expect.any(String),
    });
  });

  test('a script that kills itself has ended by itself', async () => {
    const { exit } = await run(`import os; os.kill(os.getpid(), 9)`);
    expect(exit).toMatchObject({ cause: 'exit', exitCode: 137 });
  });

  test("standard error that looks like the runner's last words stays output", async () => {
    const forged = `\\x00${'0'.repeat(32)}{"exit_code": 0}`;
    const { exit, told } = await run(`import sys; sys.stderr.write('${forged}'); sys.exit(4)`);
    expect(exit).toMatchObject({ cause: 'exit', exitCode: 4 });
    expect(told.stderr).toBe(`\0${'0'.repeat(32)}{"exit_code": 0}`);
  });

  test("health lists every profile with its image and whether it is there, and Python's decides", async () => {
    const names = {
      python: runnerImage,
      node: nodeRunnerImage,
      science: `stadion/none-${randomUUID()}:test`,
    };
    const profiles = Object.entries(names).map(([name, given]): SandboxProfile => {
      const language = name === 'node' ? 'node' : 'python';
      return { name, language, image: given, protocol: 'stadion', network: 'none', runtime: null };
    });
    const several = makeExecutor({ profiles });
    try {
      expect(await several.health()).toMatchObject({
        ready: true,
        profiles: [
          { name: 'python', language: 'python', runsIn: runnerImage, available: true },
          { name: 'node', language: 'node', runsIn: nodeRunnerImage, available: true },
          { name: 'science', available: false, problem: expect.stringContaining('docker build') },
        ],
      });
      await expect(start('', { profile: 'science' }, several)).rejects.toMatchObject({
        reason: 'image_missing',
      });
      expect((await run(`print('ran')`, {}, several)).told.stdout).toBe('ran\n');
    } finally {
      await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
      await several.close();
    }
  });

  test("an image of one's own, made as the example shows, has its modules and speaks the protocol", async () => {
    const own = `stadion/own-${randomUUID()}:test`;
    const folder = join(__dirname, '../../../../runner/examples/own-packages');
    const build = ['build', '--quiet', '--build-arg', `RUNNER_IMAGE=${runnerImage}`, '--tag', own, folder];
    execFileSync('docker', build, { env: { ...process.env, DOCKER_BUILDKIT: '0' }, stdio: 'pipe' });
    const executorOfOwn = makeExecutor({ image: own });
    try {
      const source = `from own_tools import greet\nprint(greet('you'))`;
      expect((await run(source, {}, executorOfOwn)).told).toEqual({
        stdout: 'Hello, you, from a module of our own!\n',
        stderr: '',
      });
    } finally {
      await Promise.all(open.splice(0).map((sandbox) => sandbox.remove()));
      await executorOfOwn.close();
      await docker.getImage(own).remove({ force: true });
    }
  }, 60_000);

  test('a missing image is named, with the command that builds it, and nothing is pulled', async () => {
    const name = `stadion/none-${randomUUID()}:test`;
    const without = makeExecutor({ image: name });
    try {
      await expect(start(`print(1)`, {}, without)).rejects.toMatchObject({
        name: 'SandboxStartError',
        reason: 'image_missing',
        userMessage: expect.stringContaining(`docker build -t ${name} services/runner/python`),
      });
      expect(await without.health()).toMatchObject({
        ready: false,
        problem: expect.stringContaining('docker build'),
      });
    } finally {
      await without.close();
    }
  });

  test('a runtime that the engine does not have is named by health, and starts fail without leaving a container', async () => {
    const starterId = randomUUID();
    const odd = makeExecutor({ starterId, runtime: 'no-such-runtime' });
    try {
      expect(await odd.health()).toMatchObject({
        ready: false,
        problem: expect.stringContaining('no-such-runtime'),
      });
      await expect(start(`print(1)`, {}, odd)).rejects.toMatchObject({ reason: 'engine_error' });
      expect(await odd.leftovers()).toEqual([]);
    } finally {
      await odd.close();
    }
  });

  test('an exchange directory that the engine cannot see fails the start instead of running nothing', async () => {
    const misplaced = makeExecutor({ exchangeRoot: { here: exchangeRoot, onHost: '/no/such/place' } });
    try {
      await expect(start(`print(1)`, {}, misplaced)).rejects.toMatchObject({ reason: 'engine_error' });
      expect(await misplaced.leftovers()).toEqual([]);
    } finally {
      await misplaced.close();
    }
  });

  test('the own network is made when missing, labelled and without traffic between containers', async () => {
    await run(`print(1)`);
    // In use by somebody else on this engine it stays, which the rest does not mind.
    await docker
      .getNetwork(ownNetwork)
      .remove()
      .catch((error: { statusCode?: number }) => expect(error.statusCode).toBe(403));
    expect((await run(`print('again')`)).told.stdout).toBe('again\n');
    const network = await docker.getNetwork(ownNetwork).inspect();
    expect(network.Options).toMatchObject({ 'com.docker.network.bridge.enable_icc': 'false' });
    expect(network.Labels).toEqual({ [labels.owner]: 'stadion' });
  });

  test('after close, a running script goes on in the engine and its sandbox resolves', async () => {
    const starterId = randomUUID();
    const leaving = makeExecutor({ starterId });
    const { sandbox, told, scriptsDir, container } = await start(untilTold, {}, leaving);
    open.length = 0;
    await eventually(() => told.stdout === 'up\n', patience);
    await leaving.close();
    expect(await sandbox.exited).toMatchObject({ cause: 'engine_error', exitCode: null });
    expect((await container.inspect()).State.Running).toBe(true);
    const next = makeExecutor({ starterId });
    try {
      await writeFile(join(scriptsDir, 'go'), '');
      expect(await container.wait()).toMatchObject({ StatusCode: 0 });
      const [leftover] = await next.leftovers();
      expect(leftover).toMatchObject({ attemptId: sandbox.attemptId, running: false });
      await leftover?.remove();
      expect(await next.leftovers()).toEqual([]);
    } finally {
      await next.close();
    }
  });

  test('a warm container whose starter is gone exits by itself', async () => {
    const container = await docker.createContainer({
      Image: runnerImage,
      OpenStdin: true,
      StdinOnce: true,
      HostConfig: { NetworkMode: 'none' },
    });
    try {
      const stream = await container.attach({
        stream: true,
        stdin: true,
        stdout: true,
        stderr: true,
        hijack: true,
      });
      await container.start();
      stream.end();
      expect(await container.wait()).toMatchObject({ StatusCode: 125 });
    } finally {
      await container.remove({ force: true });
    }
  });

  test('health tells runtime and isolation, and warns of versions with known escapes', async () => {
    const health = await executor.health();
    expect(health).toMatchObject({
      ready: true,
      isolation: expect.stringMatching(
        /^Docker container \(\w+\), read-only root, no capabilities, .*own network$/,
      ),
    });
    expect(health.problem).toBeUndefined();
    const version = (await docker.version()) as unknown as {
      Components: { Name: string; Version: string }[];
    };
    const runc = version.Components.find((component) => component.Name === 'runc')?.Version;
    if (runc?.startsWith('1.1.5')) {
      expect(health.warnings).toEqual(
        expect.arrayContaining([
          expect.stringContaining('CVE-2024-21626'),
          expect.stringContaining('CVE-2025-31133'),
        ]),
      );
    }
  });
});
