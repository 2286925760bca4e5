/**
 * One script as a process: its start through the launcher, its output, its end. Which command line that is, is
 * `isolation.ts`'s to say; what its end means for the task is the supervisor's.
 */
import type { ChildProcess } from 'node:child_process';
import { constants as fsConstants, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import type { Duplex, Readable } from 'node:stream';
import { SandboxStartError, type Sandbox, type SandboxExit, type SandboxSpec } from '../executor.js';
import { spawnCommand, type Command } from './isolation.js';
import type { Launch, Launched } from './launcher.js';
import { endStragglers, factsOf, findStragglers, kill, killGroup, type Belongings } from './stragglers.js';

/** The launcher answers within milliseconds, Pyodide within seconds. */
const launchBoundMs = 60_000;
/** Past this, whoever still holds the output open is not waited for. */
const outputBoundMs = 2_000;

export interface ProcessSandboxOptions {
  spec: SandboxSpec;
  command: Command;
  launch: Launch;
  belongings: Belongings;
  /** The level ends all processes with the first; otherwise they are searched for. */
  endsTogether: boolean;
  onPid(belongings: Belongings): Promise<void>;
  /** Clean-up outside: the record, the home folder. */
  onRemove(): Promise<void>;
}

export class ProcessSandbox implements Sandbox {
  readonly attemptId: string;
  readonly exited: Promise<SandboxExit>;
  startedAt = new Date(0);
  ended = false;
  limitsInForce: string[] = [];
  private readonly setupErrors: string[] = [];
  private stopping = false;
  private removal: Promise<void> | undefined;
  private readonly closed: Promise<unknown>;
  private readonly gone: Promise<{ exitCode: number | null }>;
  private readonly oomKillsBefore = oomKills();

  private constructor(
    private readonly options: ProcessSandboxOptions,
    private readonly child: ChildProcess,
  ) {
    this.attemptId = options.spec.attemptId;
    this.gone = new Promise((resolve) => {
      child.once('exit', (code, signal) =>
        resolve({ exitCode: signal ? 128 + osConstants.signals[signal] : code }),
      );
      child.once('error', (error) => {
        this.setupErrors.push(error.message);
        if (child.pid === undefined) resolve({ exitCode: null });
      });
    });
    this.closed = new Promise((resolve) => {
      child.once('close', resolve);
      child.once('error', resolve);
    });
    this.exited = this.watch();
  }

  /** Rejects with `SandboxStartError`, or the signal's reason, after everything it made is gone again. */
  static async start(options: ProcessSandboxOptions, signal?: AbortSignal): Promise<ProcessSandbox> {
    const { scriptsDir } = options.spec;
    const input = await open(join(scriptsDir, 'input'), fsConstants.O_RDONLY | fsConstants.O_NOFOLLOW);
    let sandbox: ProcessSandbox;
    try {
      sandbox = new ProcessSandbox(options, spawnCommand(options.command, input.fd));
    } finally {
      await input.close();
    }
    const giveUp = () => void sandbox.stop();
    signal?.addEventListener('abort', giveUp);
    const timer = setTimeout(giveUp, launchBoundMs);
    try {
      await sandbox.launch();
      signal?.throwIfAborted();
      return sandbox;
    } catch (error) {
      await sandbox.remove();
      signal?.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
    }
  }

  async stop(): Promise<void> {
    if (!this.ended) this.stopping = true;
    this.killAll();
    await this.exited;
  }

  remove(): Promise<void> {
    this.removal ??= this.stop().then(() => this.options.onRemove());
    return this.removal;
  }

  /** Resolves once the launcher's answer says that nothing but the script is left to start. */
  private async launch(): Promise<void> {
    const { child, options } = this;
    const control = child.stdio[3] as Duplex;
    control.on('error', () => {}); // the child ended first, which the missing answer tells
    if (child.pid !== undefined) {
      const facts = await factsOf(child.pid);
      options.belongings.pid = child.pid;
      options.belongings.startTicks = facts?.startTicks;
      await options.onPid(options.belongings);
      control.end(JSON.stringify(options.launch));
    }
    const answer = await firstLineOf(control, this.gone);
    control.destroy();
    if (answer === undefined) {
      this.child.stdout?.resume();
      this.child.stderr?.on('data', (chunk: Buffer) => this.setupErrors.push(chunk.toString()));
      await this.stop();
      const cause = new Error(
        this.setupErrors.join('').trim().slice(0, 4_096) || 'it ended before the script started',
      );
      throw new SandboxStartError('engine_error', 'The sandbox for the script could not be started.', {
        cause,
      });
    }
    this.limitsInForce = (JSON.parse(answer) as Launched).limits;
    this.startedAt = new Date();
    // Only now: what came on these streams before would be the setup's words, not the script's.
    child.stdout?.on('data', (chunk: Buffer) => options.spec.onOutput('stdout', chunk));
    child.stderr?.on('data', (chunk: Buffer) => options.spec.onOutput('stderr', chunk));
  }

  private async watch(): Promise<SandboxExit> {
    const { exitCode } = await this.gone;
    const finishedAt = new Date();
    if (!this.options.endsTogether) await this.endRest();
    await this.outputHandedOver();
    this.ended = true;
    return { ...this.causeOf(exitCode), startedAt: this.startedAt, finishedAt };
  }

  private causeOf(exitCode: number | null): Pick<SandboxExit, 'cause' | 'exitCode' | 'detail'> {
    if (this.stopping) return { cause: 'stopped', exitCode, detail: 'The script was stopped.' };
    if (exitCode === 137 && oomKills() > this.oomKillsBefore) {
      return {
        cause: 'out_of_memory',
        exitCode,
        detail: 'The machine ran out of memory and ended the script.',
      };
    }
    return { cause: 'exit', exitCode };
  }

  private killAll(): void {
    const { pid } = this.child;
    if (pid === undefined || this.child.exitCode !== null || this.child.signalCode !== null) return;
    killGroup(pid);
    kill(pid);
  }

  private async endRest(): Promise<void> {
    const { belongings } = this.options;
    if ((await factsOf(1)) === undefined && belongings.pid !== undefined) killGroup(belongings.pid);
    await endStragglers(belongings);
  }

  private async outputHandedOver(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, outputBoundMs);
    });
    await Promise.race([this.closed, late]);
    clearTimeout(timer);
    this.child.stdout?.destroy();
    this.child.stderr?.destroy();
  }
}

/** Undefined when the stream ended without one. */
function firstLineOf(stream: Readable, gone: Promise<unknown>): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')));
    });
    stream.once('close', () => resolve(undefined));
    stream.once('end', () => resolve(undefined));
    // The end of the process may be told before the last words it left in the pipe, so give those a turn.
    void gone.then(() => setTimeout(() => resolve(undefined), 250));
  });
}

/** Processes that the kernel ended for want of memory since boot, on the whole machine; 0 where it does not tell. */
function oomKills(): number {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Whether a sandbox of a starter that is gone still lives. */
export async function isAlive(belongings: Belongings): Promise<boolean> {
  const { pid, startTicks } = belongings;
  if (pid !== undefined && startTicks !== undefined) {
    const facts = await factsOf(pid);
    if (facts && !facts.zombie && facts.startTicks === startTicks) return true;
  }
  return (await findStragglers(belongings)).length > 0;
}
