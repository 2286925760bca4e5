/**
 * What a starter needs from a technology that can run a script in a sandbox. `Executor` is the technology,
 * `Sandbox` is one attempt inside it. Whoever implements this passes `executor-conformance.ts`.
 * Deciding what an exit *means* for the task is the supervisor's work, not the executor's.
 */

import type { Language, ScriptFile } from '../script-file.js';

/** A named way to run scripts, as far as the technology must know it; what it cannot give, its health says. */
export interface SandboxProfile {
  name: string;
  language: Language;
  /** What a container is made from; processes have none. */
  image: string;
  /**
   * How the runner in the image is told what to run. `stadion`: on standard input (see `services/runner`). `original`:
   * by the container's variables and files, as the original pipeline did; Python only.
   */
  protocol: 'stadion' | 'original';
  /** A bridge network's name, or `none`. */
  network: string;
  /** A container runtime by name; null is the engine's own default. */
  runtime: string | null;
}

/** Everything a sandbox may use at most. Units are in the names. */
export interface SandboxLimits {
  /** Memory and swap together. */
  memoryBytes: number;
  /** Share of processors; 0.5 is half of one. */
  cpus: number;
  /** Processes and threads together. */
  pids: number;
  openFiles: number;
  /** Largest single file a script may write. */
  fileBytes: number;
  /** Size of the script's private /tmp. */
  tmpBytes: number;
}

export interface SandboxSpec {
  attemptId: string;
  taskId: number;
  /** Name of a profile that the executor was made with. */
  profile: string;
  /** The script in `scriptsDir`; it is of the profile's language. */
  scriptFile: ScriptFile;
  /**
   * The attempt's folder as this process sees it, prepared by `exchange/`: holds the script and `input` (read-only
   * to it) and is where the script may create files. The script sees it as `/scripts`, its working folder.
   */
  scriptsDir: string;
  /** The only variables the script gets besides PATH, HOME, LANG. Travels on standard input, never in a command line. */
  env: Readonly<Record<string, string>>;
  limits: SandboxLimits;
  /** Seconds from the script's start; the sandbox ends itself a little later, should the starter be gone. */
  timeLimitS: number;
  /** Called with each piece of output as it comes; whoever wants a cap stops keeping, not the executor. */
  onOutput(stream: 'stdout' | 'stderr', chunk: Buffer): void;
}

/** Why a sandbox ended, as far as the operating system tells. `exit` is the script's own end, whatever its code. */
export type ExitCause = 'exit' | 'out_of_memory' | 'pids_limit' | 'stopped' | 'engine_error';

export interface SandboxExit {
  cause: ExitCause;
  /** The script's exit code; 128 + signal number when a signal ended it; null when nobody knows. */
  exitCode: number | null;
  startedAt: Date;
  finishedAt: Date;
  /** A sentence for the script's owner when the cause is not `exit`. */
  detail?: string;
}

/** One attempt's sandbox, started. */
export interface Sandbox {
  readonly attemptId: string;
  /** When the script (not the image pull, not the container's creation) started. */
  readonly startedAt: Date;
  /** Resolves, never rejects, once the script has ended and all its output was handed to `onOutput`. */
  readonly exited: Promise<SandboxExit>;
  /** Ends the script and every process it left, at once and without grace. Safe to call twice, and after the end. */
  stop(): Promise<void>;
  /** Removes every trace outside the exchange directory. Stops first if need be. Safe to call twice. */
  remove(): Promise<void>;
}

/** A sandbox found at start-up that no living supervisor knows. */
export interface LeftoverSandbox {
  attemptId: string;
  running: boolean;
  remove(): Promise<void>;
}

/** Whether scripts of one profile can run. */
export interface ProfileHealth {
  name: string;
  language: Language;
  /** What runs them: an image's name, or an interpreter. */
  runsIn: string;
  available: boolean;
  /** Why not, and what to do. */
  problem?: string;
}

export interface ExecutorHealth {
  /** Scripts can run: at least those of the profile `python`, which is what a script without a telling name is. */
  ready: boolean;
  /** Every profile, whether or not the others are available; empty when the technology itself is not there. */
  profiles: ProfileHealth[];
  /** One sentence an operator reads: what separates a script from this machine. */
  isolation: string;
  /** What is missing or weaker than it could be, each with the command or setting that mends it. */
  warnings: string[];
  /** Why `ready` is false, and what to do. */
  problem?: string;
}

/**
 * A sandbox could not be started. `userMessage` is fit for the script's owner; `cause` is for the log.
 * `engine_unavailable`: the script certainly did not start, and a later try may succeed; it is tried again.
 */
export class SandboxStartError extends Error {
  constructor(
    readonly reason: 'image_missing' | 'engine_unavailable' | 'engine_error',
    readonly userMessage: string,
    options?: ErrorOptions,
  ) {
    super(userMessage, options);
    this.name = 'SandboxStartError';
  }
}

export interface Executor {
  readonly name: 'docker' | 'process';
  /** Looks at the real thing each time it is called; never throws. */
  health(): Promise<ExecutorHealth>;
  /**
   * Starts the script. An aborted `signal` gives up as soon as it can, removes what it made and rejects with
   * the signal's reason. Rejects with `SandboxStartError` when no sandbox could be had.
   */
  start(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox>;
  /** Sandboxes of this starter (`starterId` given at construction) that exist now, running or ended. */
  leftovers(): Promise<LeftoverSandbox[]>;
  /** Frees connections. Running sandboxes go on where the technology lets them. */
  close(): Promise<void>;
}
