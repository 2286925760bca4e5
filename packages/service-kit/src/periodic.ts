/**
 * Periodic work: one loop owns timing, overlap, errors, `nudge()` and stop for every task that is done again and
 * again. A task takes no input, is idempotent, and the next pass is its retry. Timing is node-cron's; a nudge runs a
 * pass at once, and nudges during a pass are folded into one more pass after it.
 */
import { schedule, type ScheduledTask } from 'node-cron';
import { messageOf } from './errors.js';
import type { Logger } from './logger.js';

export interface PeriodicTask {
  name: string;
  /** Cron expression, six fields with seconds, UTC. */
  cron: string;
  /** A pass that has not ended, or has only failed, for this long is reported as behind. */
  behindAfterMs: number;
  /** One pass. Answers counts of what it did, for the log; all zero is not logged. */
  runOnce(signal: AbortSignal): Promise<Record<string, number>>;
}

export interface PeriodicHealth {
  name: string;
  /** Milliseconds since the last pass that ended well, or since the start. */
  sinceSuccessMs: number;
  behind: boolean;
  lastError?: string;
}

export class PeriodicLoop {
  readonly #stop = new AbortController();
  #cron: ScheduledTask | undefined;
  #pass: Promise<void> | undefined;
  #again = false;
  #succeededAt = Date.now();
  #lastError: string | undefined;

  constructor(
    private readonly task: PeriodicTask,
    private readonly logger: Logger,
  ) {}

  get name(): string {
    return this.task.name;
  }

  start(): void {
    this.#cron = schedule(this.task.cron, () => this.nudge(), { name: this.task.name, timezone: 'UTC' });
  }

  /** Runs a pass now; if one is under way, another follows it. Never throws. */
  nudge(): void {
    if (this.#stop.signal.aborted) return;
    if (this.#pass) {
      this.#again = true;
      return;
    }
    this.#pass = this.#runPasses().finally(() => (this.#pass = undefined));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#cron?.destroy();
    await this.#pass;
  }

  health(): PeriodicHealth {
    const sinceSuccessMs = Date.now() - this.#succeededAt;
    return {
      name: this.task.name,
      sinceSuccessMs,
      behind: sinceSuccessMs > this.task.behindAfterMs,
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
    };
  }

  async #runPasses(): Promise<void> {
    do {
      this.#again = false;
      await this.#runPass();
    } while (this.#again && !this.#stop.signal.aborted);
  }

  async #runPass(): Promise<void> {
    try {
      const counts = await this.task.runOnce(this.#stop.signal);
      this.#succeededAt = Date.now();
      this.#lastError = undefined;
      if (Object.values(counts).some((count) => count > 0)) {
        this.logger.info({ task: this.task.name, ...counts }, 'periodic task did something');
      }
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.#lastError = messageOf(error);
      this.logger.error({ task: this.task.name, err: error }, 'periodic task failed; the next pass retries');
    }
  }
}
