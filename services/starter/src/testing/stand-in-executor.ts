/**
 * For tests that need a fault or a moment which a real sandbox gives only by luck: an executor whose scripts do what
 * the test says, when it says so. It runs nothing; whether real executors behave is `executor-conformance.ts`'s.
 */
import type {
  Executor,
  ExecutorHealth,
  LeftoverSandbox,
  Sandbox,
  SandboxExit,
  SandboxSpec,
} from '../executors/executor.js';

export class StandInSandbox implements Sandbox {
  readonly attemptId: string;
  readonly startedAt = new Date();
  readonly exited: Promise<SandboxExit>;
  stops = 0;
  removed = false;
  #resolve: (exit: SandboxExit) => void = () => undefined;

  constructor(
    readonly spec: SandboxSpec,
    private readonly owner: StandInExecutor,
  ) {
    this.attemptId = spec.attemptId;
    this.exited = new Promise((resolve) => (this.#resolve = resolve));
  }

  print(text: string | Buffer, stream: 'stdout' | 'stderr' = 'stdout'): void {
    this.spec.onOutput(stream, Buffer.from(text));
  }

  end(exit: Partial<SandboxExit> = {}): void {
    this.#resolve({
      cause: 'exit',
      exitCode: 0,
      startedAt: this.startedAt,
      finishedAt: new Date(),
      ...exit,
    });
  }

  stop(): Promise<void> {
    this.stops += 1;
    this.end({ cause: 'stopped', exitCode: 137 });
    return Promise.resolve();
  }

  async remove(): Promise<void> {
    if (this.owner.removeFails) throw new Error('the engine is away');
    await this.stop();
    this.removed = true;
    this.owner.sandboxes.delete(this.attemptId);
  }
}

export class StandInExecutor implements Executor {
  readonly name = 'process';
  /** Sandboxes that exist, as the engine would list them; outlives a starter that is given the same object again. */
  readonly sandboxes = new Map<string, StandInSandbox>();
  /** Attempts that were ever started, in order. */
  readonly started: string[] = [];
  ready = true;
  removeFails = false;
  closed = false;
  /** What a script does once started; the default prints a line and ends well. */
  script: (sandbox: StandInSandbox) => void | Promise<void> = (sandbox) => {
    sandbox.print('ran\n');
    sandbox.end();
  };
  /** Comes before a start; may throw, or wait. */
  beforeStart: (spec: SandboxSpec, signal?: AbortSignal) => Promise<void> | void = () => undefined;

  health(): Promise<ExecutorHealth> {
    const problem = this.ready ? {} : { problem: 'the engine does not answer' };
    return Promise.resolve({
      ready: this.ready,
      profiles: [],
      isolation: 'none: a stand-in',
      warnings: [],
      ...problem,
    });
  }

  async start(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    await this.beforeStart(spec, signal);
    signal?.throwIfAborted();
    this.started.push(spec.attemptId);
    const sandbox = new StandInSandbox(spec, this);
    this.sandboxes.set(spec.attemptId, sandbox);
    void this.script(sandbox);
    return sandbox;
  }

  leftovers(): Promise<LeftoverSandbox[]> {
    return Promise.resolve(
      [...this.sandboxes.values()].map((sandbox) => ({
        attemptId: sandbox.attemptId,
        running: true,
        remove: () => sandbox.remove(),
      })),
    );
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}
