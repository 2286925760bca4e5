/**
 * Runs scripts as processes of this machine, for machines without a container engine. What separates them from it is
 * the best that `isolation.ts` finds, and `health` says honestly how much that is.
 */
import { chmod, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  SandboxStartError,
  type Executor,
  type ExecutorHealth,
  type LeftoverSandbox,
  type ProfileHealth,
  type Sandbox,
  type SandboxProfile,
  type SandboxSpec,
} from '../executor.js';
import { type Language, languageOf } from '../../script-file.js';
import { AttemptRecords, type AttemptRecord } from './attempt-records.js';
import {
  findInterpreter,
  type Interpreter,
  type NodeOptions,
  type PyodideOptions,
  thisNode,
} from './interpreter.js';
import { findIsolation, systemPath, type Isolation, type IsolationLevel } from './isolation.js';
import type { Launch } from './launcher.js';
import { isAlive, ProcessSandbox } from './process-sandbox.js';
import { scriptUser } from './script-user.js';
import { endStragglers, factsOf, kill, type Belongings } from './stragglers.js';

export interface ProcessExecutorOptions {
  starterId: string;
  /** A folder that only this machine's starters write, in which this one keeps a folder named by its id. */
  stateDir: string;
  /** Where home folders of plain scripts are made: `os.tmpdir()`. */
  temporaryDir: string;
  /** The starter's PATH, to look for python3 in. */
  searchPath: string;
  /** A setting: this interpreter and no other. */
  python?: string | undefined;
  /** For machines without Python; absent means that those can't run scripts. */
  pyodide?: Omit<PyodideOptions, 'snapshotDir'> | undefined;
  /** Runs JavaScript; absent means that no such script can run. */
  node?: NodeOptions | undefined;
  /** Only for health: what runs a script follows from its file. */
  profiles?: readonly SandboxProfile[] | undefined;
  /** A setting: this level or nothing. */
  isolation?: IsolationLevel | undefined;
}

interface Means {
  isolation: Isolation;
  /** The executor is not to be had without a Python; a language besides may be. */
  python: Interpreter;
  node: Interpreter | { problem: string };
}

export class ProcessExecutor implements Executor {
  readonly name = 'process';
  private readonly folder: string;
  private readonly records: AttemptRecords;
  private readonly live = new Map<string, ProcessSandbox>();
  private means: Promise<Means> | undefined;

  constructor(private readonly options: ProcessExecutorOptions) {
    this.folder = join(options.stateDir, options.starterId);
    this.records = new AttemptRecords(join(this.folder, 'attempts'));
  }

  async health(): Promise<ExecutorHealth> {
    const means = this.findMeans();
    try {
      const found = await means;
      const { isolation, python } = found;
      this.means = means;
      const limits = await this.tryOut();
      return {
        ready: true,
        profiles: this.profiles.map((profile) => profileHealth(profile, found)),
        isolation: `${isolation.sentence}; ${python.description}`,
        warnings: [
          ...isolation.warnings,
          ...python.warnings,
          ...limitWarnings(limits),
          ...this.profiles.flatMap(profileWarnings),
        ],
      };
    } catch (error) {
      const words =
        error instanceof SandboxStartError && error.cause instanceof Error
          ? error.cause.message
          : String((error as Error).message);
      return {
        ready: false,
        profiles: [],
        isolation: 'none: no script can run',
        warnings: [],
        problem: words,
      };
    }
  }

  async start(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    signal?.throwIfAborted();
    refuseNul(spec.env);
    const { isolation, ...means } = await this.currentMeans();
    const interpreter = means[languageOf(spec.scriptFile)];
    if ('problem' in interpreter) throw new SandboxStartError('engine_error', interpreter.problem);
    signal?.throwIfAborted();
    const user = scriptUser();
    const home = await mkdtemp(join(this.options.temporaryDir, 'stadion-home-'));
    const belongings: Belongings = { pid: undefined, startTicks: undefined, user, home };
    const forget = async () => {
      this.live.delete(spec.attemptId);
      await rm(home, { recursive: true, force: true, maxRetries: 3 });
      await this.records.delete(spec.attemptId);
    };
    try {
      if (user) await chown(home, user.uid, user.gid);
      await this.records.write(recordOf(spec.attemptId, belongings));
      if (user && !isolation.ownFiles) await refuseClosedFolders(spec.scriptsDir);
      const launch = launchOf(spec, isolation, interpreter, home);
      const plan = {
        command: interpreter.command(launch.limits, spec.scriptFile),
        scriptsDir: spec.scriptsDir,
        scriptFile: spec.scriptFile,
        readOnlyPaths: interpreter.readOnlyPaths,
        user,
        limits: spec.limits,
        home,
      };
      const sandbox = await ProcessSandbox.start(
        {
          spec,
          command: isolation.wrap(plan),
          launch,
          belongings,
          endsTogether: isolation.ownProcesses,
          onPid: () => this.records.write(recordOf(spec.attemptId, belongings)),
          onRemove: forget,
        },
        signal,
      );
      this.live.set(spec.attemptId, sandbox);
      return sandbox;
    } catch (error) {
      await forget();
      signal?.throwIfAborted();
      if (error instanceof SandboxStartError) throw error;
      throw new SandboxStartError('engine_error', 'The sandbox for the script could not be started.', {
        cause: error,
      });
    }
  }

  async leftovers(): Promise<LeftoverSandbox[]> {
    const records = await this.records.all();
    return Promise.all(records.map((record) => this.leftoverOf(record)));
  }

  /** Sandboxes end with this process, not with this object. */
  async close(): Promise<void> {}

  private async leftoverOf(record: AttemptRecord): Promise<LeftoverSandbox> {
    const { attemptId } = record;
    const sandbox = this.live.get(attemptId);
    if (sandbox) return { attemptId, running: !sandbox.ended, remove: () => sandbox.remove() };
    const belongings: Belongings = {
      pid: record.pid,
      startTicks: record.startTicks,
      user: record.user,
      home: record.home,
    };
    return {
      attemptId,
      running: await isAlive(belongings),
      remove: () => this.removeRecorded(attemptId, belongings),
    };
  }

  private async removeRecorded(attemptId: string, belongings: Belongings): Promise<void> {
    const { pid, startTicks, home } = belongings;
    const facts = pid === undefined ? undefined : await factsOf(pid);
    if (pid !== undefined && facts && facts.startTicks === startTicks) kill(pid);
    await endStragglers(belongings);
    if (dirname(home) === this.options.temporaryDir)
      await rm(home, { recursive: true, force: true, maxRetries: 3 });
    await this.records.delete(attemptId);
  }

  /** A failed search is not kept: what was missing may be there the next time. */
  private async currentMeans(): Promise<Means> {
    this.means ??= this.findMeans();
    try {
      return await this.means;
    } catch (error) {
      this.means = undefined;
      const words = (error as Error).message;
      throw new SandboxStartError('engine_unavailable', `No script can run on this machine: ${words}`, {
        cause: error,
      });
    }
  }

  private async findMeans(): Promise<Means> {
    await mkdir(this.folder, { recursive: true });
    const { python, searchPath, pyodide } = this.options;
    // One after the other, so that nothing is still being tried out once this has failed.
    const isolation = await findIsolation(this.folder, this.options.isolation);
    const found = await findInterpreter({
      python,
      searchPath,
      pyodide: pyodide && { ...pyodide, snapshotDir: this.folder },
    });
    if (!isolation.ownFiles && !found.readableByAll) {
      throw new Error(
        `${found.description} can't be read by the scripts' users. Install Python where all users can read it.`,
      );
    }
    return { isolation, python: found, node: await this.findNode(isolation) };
  }

  private async findNode(isolation: Isolation): Promise<Means['node']> {
    if (!this.options.node) return { problem: 'No JavaScript can run here.' };
    const node = await thisNode(this.options.node);
    if (isolation.ownFiles || node.readableByAll) return node;
    return {
      problem: `JavaScript cannot run here: ${node.description} or Stadion's own files can't be read by the scripts' users. Install both where all users can read them, or install bubblewrap.`,
    };
  }

  private get profiles(): readonly Pick<SandboxProfile, 'name' | 'language' | 'network' | 'runtime'>[] {
    return this.options.profiles ?? [];
  }

  /** Runs an empty script, and says which limits were in force. */
  private async tryOut(): Promise<string[]> {
    const scriptsDir = await mkdtemp(join(this.folder, 'try-'));
    await chmod(scriptsDir, 0o1777);
    for (const name of ['index.py', 'input']) await writeFile(join(scriptsDir, name), '', { mode: 0o444 });
    try {
      const sandbox = (await this.start({
        attemptId: scriptsDir.slice(this.folder.length + 1),
        taskId: 0,
        profile: 'python',
        scriptFile: 'index.py',
        scriptsDir,
        env: {},
        limits: {
          memoryBytes: 1 << 29,
          cpus: 1,
          pids: 32,
          openFiles: 256,
          fileBytes: 1 << 20,
          tmpBytes: 1 << 20,
        },
        timeLimitS: 30,
        onOutput: () => {},
      })) as ProcessSandbox;
      const { exitCode } = await sandbox.exited;
      await sandbox.remove();
      if (exitCode !== 0) throw new Error(`An empty script ended with ${exitCode}`);
      return sandbox.limitsInForce;
    } finally {
      await rm(scriptsDir, { recursive: true, force: true });
    }
  }
}

function profileHealth(
  { name, language }: Pick<SandboxProfile, 'name' | 'language'>,
  means: Record<Language, Interpreter | { problem: string }>,
): ProfileHealth {
  const interpreter = means[language];
  return 'problem' in interpreter
    ? { name, language, runsIn: 'nothing', available: false, problem: interpreter.problem }
    : { name, language, runsIn: interpreter.description, available: true };
}

/** What is asked for, and not had, must not pass in silence. The images' absence needs no word: there are none at all. */
function profileWarnings({
  name,
  network,
  runtime,
}: Pick<SandboxProfile, 'name' | 'network' | 'runtime'>): string[] {
  const asked = [network === 'none' && 'no network', runtime !== null && `the runtime ${runtime}`].filter(
    (one) => one !== false,
  );
  if (asked.length === 0) return [];
  return [
    `The profile ${name} asks for ${asked.join(' and ')}, which a process cannot have. Use the docker executor for that.`,
  ];
}

/** Plain processes walk to their folder as a user without rights; the other levels bind it as root. */
async function refuseClosedFolders(scriptsDir: string): Promise<void> {
  for (let folder = dirname(scriptsDir); folder !== dirname(folder); folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) {
      throw new Error(
        `Scripts' users can't reach ${scriptsDir}: run chmod o+x ${folder}, move the data directory, or install bubblewrap.`,
      );
    }
  }
}

function recordOf(attemptId: string, { pid, startTicks, user, home }: Belongings): AttemptRecord {
  return { attemptId, pid, startTicks, user, home };
}

function launchOf(spec: SandboxSpec, isolation: Isolation, interpreter: Interpreter, home: string): Launch {
  const { limits } = spec;
  return {
    argv: interpreter.argv,
    env: { PATH: systemPath, HOME: isolation.home({ home }), LANG: 'C.UTF-8', ...spec.env },
    limits: [
      // DATA is what a process really took. AS is looser, since libraries reserve far more than they use, and stops
      // shared memory, which DATA does not count.
      ['DATA', limits.memoryBytes],
      ['AS', 4 * limits.memoryBytes + (1 << 30)],
      ['NOFILE', limits.openFiles],
      ['FSIZE', limits.fileBytes],
      ['CORE', 0],
      ['CPU', Math.ceil(spec.timeLimitS * Math.max(1, limits.cpus)) + 5],
      ...(isolation.countsProcesses ? [['NPROC', limits.pids] as [string, number]] : []),
    ],
  };
}

const limitMeanings: Record<string, string> = {
  DATA: 'memory',
  NOFILE: 'open files',
  FSIZE: 'size of a file',
  NPROC: 'processes',
  CPU: 'processor time',
};

function limitWarnings(inForce: string[]): string[] {
  const missing = Object.entries(limitMeanings)
    .filter(([name]) => !inForce.includes(name))
    .map(([, words]) => words);
  const always =
    'Limits hold for each process of a script, not for all of them together, and the share of processors and the disk are not limited. Use the docker executor for that.';
  return missing.length > 0
    ? [`Not limited here: ${missing.join(', ')}. Use the docker executor for that.`, always]
    : [always];
}

function refuseNul(env: Readonly<Record<string, string>>): void {
  const bad = Object.entries(env).find(
    ([name, value]) => name === '' || /[=\0]/.test(name) || value.includes('\0'),
  );
  if (bad) {
    throw new SandboxStartError(
      'engine_error',
      `The environment variable ${JSON.stringify(bad[0])} has a name or value that no process can have.`,
    );
  }
}
