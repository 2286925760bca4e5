/**
 * Delivers spooled results until the scheduler acknowledges them. Only ids are kept in memory; a result is read from
 * the exchange directory each time it is tried, and its attempt is buried once it was delivered. Order means nothing.
 */
import { messageOf, type Logger } from '@stadion/service-kit';
import type { Exchange } from '../exchange/exchange.js';
import { backoffMs, type Delivery } from './delivery.js';
import { noRunToken } from './original-scheduler.js';
import type { SchedulerClient } from './scheduler-client.js';

/** For each scheduler: results for one that hangs must not hold up those for the other. */
const concurrency = 4;

interface Waiting {
  failures: number;
  dueAt: number;
  /** Not known before the result was read. */
  scheduler: 'ours' | 'original' | undefined;
}

export interface OutboxOptions {
  exchange: Exchange;
  client: SchedulerClient;
  logger: Logger;
  /** Told about each result that left the outbox. */
  onSettled?: (kind: Exclude<Delivery['kind'], 'retry'> | 'unreadable') => void;
}

export class Outbox {
  readonly #waiting = new Map<string, Waiting>();
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();
  readonly #onEmpty = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: OutboxOptions) {}

  get size(): number {
    return this.#waiting.size;
  }

  has(attemptId: string): boolean {
    return this.#waiting.has(attemptId);
  }

  ids(): string[] {
    return [...this.#waiting.keys()];
  }

  /** The attempt's result is spooled. Safe to call twice. */
  add(attemptId: string): void {
    if (this.#waiting.has(attemptId)) return;
    this.#waiting.set(attemptId, { failures: 0, dueAt: Date.now(), scheduler: undefined });
    this.#pump();
  }

  /** Tries everything once more now, and waits until nothing is left or `ms` are over. */
  async flush(ms: number): Promise<void> {
    if (this.#waiting.size === 0) return;
    for (const waiting of this.#waiting.values()) waiting.dueAt = 0;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#onEmpty.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#onEmpty.add(done);
      this.#pump();
    });
  }

  /** What was not delivered stays on disk. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await Promise.all(this.#underWay.values());
  }

  #pump(): void {
    if (this.#stop.signal.aborted) return;
    clearTimeout(this.#timer);
    const now = Date.now();
    let nextDueAt = Infinity;
    const due: [string, Waiting][] = [];
    for (const [attemptId, waiting] of this.#waiting) {
      if (this.#underWay.has(attemptId)) continue;
      if (waiting.dueAt <= now) due.push([attemptId, waiting]);
      else nextDueAt = Math.min(nextDueAt, waiting.dueAt);
    }
    // Who has waited longest goes first. Who finds no place is pumped again by whichever ends.
    due.sort(([, a], [, b]) => a.dueAt - b.dueAt);
    for (const [attemptId, waiting] of due) {
      if (this.#placesTaken(waiting.scheduler) < concurrency) this.#begin(attemptId, waiting);
    }
    if (nextDueAt < Infinity) this.#timer = setTimeout(() => this.#pump(), nextDueAt - now);
  }

  #placesTaken(scheduler: Waiting['scheduler']): number {
    let taken = 0;
    for (const attemptId of this.#underWay.keys()) {
      if (this.#waiting.get(attemptId)?.scheduler === scheduler) taken += 1;
    }
    return taken;
  }

  #begin(attemptId: string, waiting: Waiting): void {
    const delivery = this.#deliver(attemptId, waiting)
      .catch((error: unknown) => {
        this.options.logger.error({ attemptId, err: error }, 'a result could not be handled; trying again');
        this.#postpone(waiting, undefined);
      })
      .finally(() => {
        this.#underWay.delete(attemptId);
        if (this.#waiting.size === 0) for (const tell of this.#onEmpty) tell();
        this.#pump();
      });
    this.#underWay.set(attemptId, delivery);
  }

  async #deliver(attemptId: string, waiting: Waiting): Promise<void> {
    const { exchange, client } = this.options;
    const logger = this.options.logger.child({ attemptId });
    const result = await exchange.readResult(attemptId);
    if (!result) {
      logger.error('a spooled result cannot be read; given up');
      await exchange.bury(attemptId);
      return this.#settle(attemptId, 'unreadable');
    }
    if (!waiting.scheduler) {
      const scheduler = result.runToken === noRunToken ? 'original' : 'ours';
      const isFull = this.#placesTaken(scheduler) >= concurrency;
      waiting.scheduler = scheduler;
      if (isFull) return;
      this.#pump(); // Its place among those not read yet is free.
    }
    const taskLogger = logger.child({ taskId: result.report.script_id });
    const delivery = await client.postResult(result, this.#stop.signal);
    switch (delivery.kind) {
      case 'delivered':
        taskLogger.debug('result delivered');
        await exchange.bury(attemptId);
        return this.#settle(attemptId, 'delivered');
      case 'unwanted':
        taskLogger.warn({ status: delivery.status }, 'the scheduler has no use for this result; dropped');
        await exchange.bury(attemptId);
        return this.#settle(attemptId, 'unwanted');
      case 'refused':
        taskLogger.error({ status: delivery.status }, 'the scheduler refuses this result; kept in refused/');
        await exchange.buryRefused(attemptId);
        return this.#settle(attemptId, 'refused');
      case 'retry':
        if (this.#stop.signal.aborted) return;
        // The first failure and then each doubling: an hour's outage is a dozen lines, not hundreds.
        if ((waiting.failures & (waiting.failures - 1)) === 0) {
          taskLogger.warn(
            { reason: delivery.reason, failures: waiting.failures + 1 },
            'result not delivered yet',
          );
        }
        return this.#postpone(waiting, delivery.afterMs);
    }
  }

  #settle(attemptId: string, kind: Parameters<NonNullable<OutboxOptions['onSettled']>>[0]): void {
    this.#waiting.delete(attemptId);
    this.options.onSettled?.(kind);
  }

  #postpone(waiting: Waiting, afterMs: number | undefined): void {
    waiting.dueAt = Date.now() + Math.max(afterMs ?? 0, backoffMs(waiting.failures));
    waiting.failures += 1;
  }
}

/** Tells the scheduler that a script started: a few tries, given up once `signal` is aborted. Never rejects. */
export async function reportRunning(
  client: SchedulerClient,
  run: { runToken: string; taskId: number; startedAt: Date },
  signal: AbortSignal,
  logger: Logger,
): Promise<void> {
  const report = { script_id: run.taskId, started_at: run.startedAt.getTime() / 1000 };
  for (let failures = 0; failures < 4 && !signal.aborted; failures += 1) {
    try {
      return await client.postRunning(run.runToken, report, signal);
    } catch (error) {
      logger.debug({ error: messageOf(error) }, 'running report not delivered');
      await pause(backoffMs(failures + 1), signal);
    }
  }
}

/** Ends early, without an error, when `signal` is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
