/** `npm start` on a fresh clone, in an environment that has nothing but Node and npm. */
import { execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '@stadion/testkit';

jest.setTimeout(300_000);

let folder: string;
let clone: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stadion-clone-'));
  clone = join(folder, 'stadion');
  await promisify(execFile)('git', ['clone', '--quiet', process.cwd(), clone]);
});
const unended = new Set<() => void>();
afterEach(() => {
  for (const kill of unended) kill();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Ended {
  code: number | null;
  output: string;
}

/** A home of its own, and of the environment no more than the registry's certificates and settings. */
function start(args: string[], options: { env?: Record<string, string>; node?: string } = {}) {
  const kept = ['NODE_EXTRA_CA_CERTS', 'npm_config_registry', 'HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY'];
  const env = {
    PATH: process.env['PATH']!,
    HOME: join(folder, 'home'),
    ...Object.fromEntries(kept.flatMap((name) => (process.env[name] ? [[name, process.env[name]!]] : []))),
    ...options.env,
  };
  const command = options.node
    ? ['npx', '--yes', '-p', `node@${options.node}`, 'node', 'scripts/start.mjs', ...args]
    : ['npm', 'start', '--', ...args];
  const child = spawn(command[0]!, command.slice(1), {
    cwd: clone,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const kill = () => process.kill(-child.pid!, 'SIGKILL');
  unended.add(kill);
  const ended = new Promise<Ended>((resolve) =>
    child.once('close', (code) => {
      unended.delete(kill);
      resolve({ code, output });
    }),
  );
  return {
    ended,
    output: () => output,
    /** To the whole group, as a terminal does. */
    interrupt: () => process.kill(-child.pid!, 'SIGINT'),
    isOver: () => child.exitCode !== null,
  };
}

it('installs, builds, runs the example, and ends with its outcome', async () => {
  const { code, output } = await start(['--once']).ended;
  expect(output).toMatch(/Installing .*\n[^]*Building .*\n/);
  expect(output).toMatch(/Isolation: .+/);
  expect(output).toContain('| Hello, world!');
  expect(output).toMatch(/hello\.py succeeded with return code 0, \d+ ms after/);
  expect(code).toBe(0);
  const secret = join(clone, '.stadion/secret');
  expect((await stat(secret)).mode & 0o777).toBe(0o600);
});

it('finds its data again, and neither installs nor builds a second time', async () => {
  const { output } = await start(['--once']).ended;
  expect(output).not.toMatch(/Installing|Building/);
  expect(output).toContain('| Hello, world!');
  const files = await readdir(join(clone, '.stadion'));
  expect(files).not.toContain('lock');
});

it("runs a user's own script, and ends with its exit code", async () => {
  await writeFile(join(clone, 'mine.py'), `print('mine')\nraise SystemExit(3)\n`);
  const { code, output } = await start(['mine.py', '--once']).ended;
  expect(output).toContain('| mine');
  expect(code).toBe(3);
});

it('serves until Ctrl-C, and the calls it prints work as they stand', async () => {
  const serving = start(['--port', '0']);
  await eventually(
    () => {
      if (serving.isOver()) throw new Error(serving.output());
      return serving.output().includes('Press Ctrl-C');
    },
    { timeoutMs: 60_000 },
  );
  const [submit, read] = serving.output().match(/^ {2}curl (?:.*\\\n)*.*$/gm)!;
  const run = async (command: string) =>
    (await promisify(execFile)('sh', ['-c', command], { cwd: clone })).stdout;
  const { script_id: id } = JSON.parse(await run(submit!)) as { script_id: number };
  const output = await eventually(async () => {
    const answer = await run(read!.replace(/run-script\/\d+\//, `run-script/${id}/`));
    return (JSON.parse(answer) as { script: { output: string | null } }).script.output;
  });
  expect(output).toContain('Hello, you!');
  serving.interrupt();
  expect((await serving.ended).code).toBe(0);
});

it('runs Python where no Python is installed', async () => {
  // A PATH with Node, npm and a shell, and nothing else.
  const bare = join(folder, 'bare');
  await mkdir(bare, { recursive: true });
  for (const tool of ['sh', 'env', 'uname']) {
    const found = (await promisify(execFile)('sh', ['-c', `command -v ${tool}`])).stdout.trim();
    await symlink(found, join(bare, tool));
  }
  await symlink(process.execPath, join(bare, 'node'));
  const npm = (await promisify(execFile)('sh', ['-c', 'readlink -f "$(command -v npm)"'])).stdout.trim();
  await writeFile(join(bare, 'npm'), `#!/bin/sh\nexec "${process.execPath}" "${npm}" "$@"\n`);
  await chmod(join(bare, 'npm'), 0o755);
  const { code, output } = await start(['--once'], {
    env: { PATH: [bare, dirname(process.execPath)].slice(0, 1).join(delimiter) },
  }).ended;
  expect(output).toMatch(/Pyodide/);
  expect(output).toContain('| Hello, world!');
  expect(code).toBe(0);
});

it.each([
  [['--executor', 'rocket'], /STADION_EXECUTOR must be one of auto, docker, process/],
  [['--port', '99999'], /STADION_PORT must be a whole number/],
  [['--wat'], /Unknown option '--wat'/],
  [['nowhere.py'], /nowhere\.py cannot be read/],
  [['README.md'], /must be Python \(\.py\) or JavaScript/],
])('says what is wrong with %j', async (args, message) => {
  const { code, output } = await start(args).ended;
  expect(output).toMatch(message);
  expect(output).not.toMatch(/\n\s+at /);
  expect(code).toBe(1);
});

it.each(['22', '24'])('works on Node %s', async (node) => {
  const { code, output } = await start(['--once'], { node }).ended;
  expect(output).toContain('| Hello, world!');
  expect(code).toBe(0);
});
