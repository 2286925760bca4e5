/**
 * What runs the scripts. JavaScript: this Node. Python: which Python runs the scripts: the one named by a setting, else the first good `python3` of the search path, else the
 * bundled Pyodide (CPython as WebAssembly, run by this Node), so that a machine with nothing but Node runs scripts too.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ScriptFile } from '../../script-file.js';
import { isSystemPath } from './isolation.js';
import { pythonLauncher, type Launch } from './launcher.js';
import { anyUnprivilegedUser } from './script-user.js';

export interface Interpreter {
  kind: 'cpython' | 'pyodide' | 'node';
  /** For operators: "Python 3.11.2 (/usr/bin/python3)". */
  description: string;
  /** The program that takes a `Launch` on descriptor 3 and then is the script. */
  command(limits: Launch['limits'], scriptFile: ScriptFile): string[];
  /** What the launcher is to become, if that is another program. */
  argv: string[];
  /** Folders and files outside the system's own that the interpreter must be able to read. */
  readOnlyPaths: string[];
  /** Whether a user without rights can run it where it is; if not, it must be bound into a sandbox. */
  readableByAll: boolean;
  warnings: string[];
}

export interface InterpreterOptions {
  /** An absolute path, or undefined to look for one. */
  python: string | undefined;
  /** A PATH. */
  searchPath: string;
  pyodide: PyodideOptions | undefined;
}

export interface PyodideOptions {
  /** This Node. */
  nodePath: string;
  /** The compiled `pyodide-runner.mjs`. `main` knows it: `fileURLToPath(new URL('./executors/process/pyodide-runner.mjs', import.meta.url))`. */
  runner: string;
  /** The folder of the npm package `pyodide`: `dirname(fileURLToPath(import.meta.resolve('pyodide')))`. */
  packageDir: string;
  /** A folder that only this starter writes, for Pyodide's memory right after its start: later starts are four times as fast. */
  snapshotDir: string;
}

export interface NodeOptions {
  /** This Node. */
  nodePath: string;
  /** The compiled `node-preload.mjs`; known to `main` like the Pyodide runner. */
  preload: string;
}

/** This Node as the interpreter of JavaScript: a module that it loads first takes the launch. */
export async function thisNode(options: NodeOptions): Promise<Interpreter> {
  const nodePath = await realpath(options.nodePath);
  const preload = await realpath(options.preload);
  const asAnybody = anyUnprivilegedUser();
  const readableByAll =
    (await run(nodePath, ['--version'], asAnybody)) !== undefined &&
    (await run('/bin/sh', ['-c', 'test -r "$0"', preload], asAnybody)) !== undefined;
  return {
    kind: 'node',
    description: `Node ${process.version} (${nodePath})`,
    command: (limits, scriptFile) => [
      ...prlimit(limits),
      nodePath,
      ...heapOption(limits),
      `--import=${pathToFileURL(preload).href}`,
      scriptFile,
    ],
    argv: [],
    readOnlyPaths: [nodePath, preload, besides(preload)].filter((one) => !isSystemPath(one)),
    readableByAll,
    warnings: [],
  };
}

/** Else Node would take this machine's memory for its own, and end without a word at the limit. */
function heapOption(limits: Launch['limits']): string[] {
  const bytes = limits.find(([name]) => name === 'DATA')?.[1];
  return bytes === undefined ? [] : [`--max-old-space-size=${Math.floor((bytes * 0.8) / 1024 ** 2)}`];
}

/** What both programs that are loaded into Node import. */
const besides = (program: string) => join(dirname(program), 'limits-in-force.mjs');

const oldestPython = [3, 9] as const;

/** Rejects with a sentence for the operator when there is none. */
export async function findInterpreter(options: InterpreterOptions): Promise<Interpreter> {
  const candidates = options.python ? [options.python] : pythonsOf(options.searchPath);
  const found: Interpreter[] = [];
  for (const candidate of candidates) {
    const python = await tryPython(candidate);
    if (python?.readableByAll) return python;
    if (python) found.push(python);
  }
  if (found[0]) return found[0];
  if (options.python)
    throw new Error(`${options.python} is no Python ${oldestPython.join('.')} or newer that can be run here`);
  if (options.pyodide) return bundledPyodide(options.pyodide);
  throw new Error(`No python3 (${oldestPython.join('.')} or newer) was found in ${options.searchPath}`);
}

function pythonsOf(searchPath: string): string[] {
  const folders = searchPath.split(delimiter).filter((folder) => isAbsolute(folder));
  return [...new Set(folders)].map((folder) => join(folder, 'python3'));
}

async function tryPython(path: string): Promise<Interpreter | undefined> {
  // sys.executable sees through a shim (pyenv, asdf), which would need its own folders and a home.
  const about = await ask(
    path,
    'import json,sys;print(json.dumps([list(sys.version_info[:3]),sys.executable,sys.prefix,sys.base_prefix]))',
  );
  if (!about) return undefined;
  const [version, executable, prefix, basePrefix] = JSON.parse(about) as [number[], string, string, string];
  const [major = 0, minor = 0] = version;
  if (major !== oldestPython[0] || minor < oldestPython[1] || !isAbsolute(executable)) return undefined;
  const real = await realpath(executable);
  const readOnlyPaths = [...new Set([executable, real, prefix, basePrefix])].filter(
    (one) => !isSystemPath(one),
  );
  const readableByAll = (await ask(executable, 'import json', anyUnprivilegedUser())) !== undefined;
  return {
    kind: 'cpython',
    description: `Python ${version.join('.')} (${executable})`,
    command: () => [executable, '-I', '-S', '-c', pythonLauncher],
    // Unbuffered: what a script printed is seen at once, and kept when the script is ended.
    argv: [executable, '-u', 'index.py'],
    readOnlyPaths,
    readableByAll,
    warnings: [],
  };
}

const ask = (executable: string, code: string, user: { uid?: number; gid?: number } = {}) =>
  run(executable, ['-I', '-S', '-c', code], user);

/** What it printed; undefined when it could not be run, or did not end well. */
function run(
  executable: string,
  args: string[],
  user: { uid?: number; gid?: number },
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = {
      timeout: 10_000,
      cwd: '/',
      env: { PATH: dirname(executable) + ':/usr/bin:/bin', LANG: 'C.UTF-8' },
      ...user,
    };
    try {
      execFile(executable, args, options, (error, stdout) => resolve(error ? undefined : stdout));
    } catch {
      resolve(undefined);
    }
  });
}

async function bundledPyodide(options: PyodideOptions): Promise<Interpreter> {
  const packageDir = await realpath(options.packageDir);
  const runner = await realpath(options.runner);
  const nodePath = await realpath(options.nodePath);
  const { version } = JSON.parse(await readFile(join(packageDir, 'package.json'), 'utf8')) as {
    version: string;
  };
  const snapshot = join(options.snapshotDir, `pyodide-${version}.snapshot`);
  const snapshotMade = existsSync(snapshot) || (await makeSnapshot(nodePath, runner, packageDir, snapshot));
  return {
    kind: 'pyodide',
    description: 'Pyodide (CPython as WebAssembly, run by Node)',
    command: (limits) => [...prlimit(limits), nodePath, runner, packageDir, snapshotMade ? snapshot : '-'],
    argv: [],
    readOnlyPaths: [
      packageDir,
      runner,
      besides(runner),
      ...(snapshotMade ? [snapshot] : []),
      nodePath,
    ].filter((one) => !isSystemPath(one)),
    readableByAll: true,
    warnings: [
      'No python3 was found, so scripts run in the bundled Pyodide: standard library only, no sockets, no child processes. Install Python 3.9 or newer (for example: apt-get install python3) and start again.',
    ],
  };
}

/** What Node itself takes of a limit before the script has any. Of address space it reserves far more than it uses. */
const ownNeeds: Record<string, number> = {
  DATA: 320 * 1024 * 1024,
  NPROC: 16,
  NOFILE: 32,
  CPU: 5,
  AS: Infinity,
};

/** Node can't limit itself; its runner tells afterwards which of these are in force. */
function prlimit(limits: Launch['limits']): string[] {
  if (!existsSync('/usr/bin/prlimit')) return [];
  const options = limits
    .map(([name, value]) => [name, value + (ownNeeds[name] ?? 0)] as const)
    .filter(([, value]) => Number.isFinite(value))
    .map(([name, value]) => `--${name.toLowerCase()}=${value}`);
  return ['/usr/bin/prlimit', ...options, '--'];
}

/** Pyodide's own, unstable feature; without a snapshot every start takes seconds, and nothing else changes. */
function makeSnapshot(
  nodePath: string,
  runner: string,
  packageDir: string,
  snapshot: string,
): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(
      nodePath,
      [runner, packageDir, snapshot, '--make-snapshot'],
      { timeout: 60_000, cwd: '/', env: {} },
      (error) => resolve(!error),
    );
  });
}
