/**
 * Starting and stopping in order. Each acquisition registers its release; stopping unwinds them in reverse, gives
 * each a bounded time, and never lets one failing release hide the others.
 */
import { messageOf } from './errors.js';
import type { Logger } from './logger.js';

export class Lifecycle {
  readonly #releases: { name: string; release: () => Promise<void> | void }[] = [];
  #stopping: Promise<void> | undefined;

  constructor(
    private readonly logger: Logger,
    /** How long one release may take. */
    private readonly releaseMs = 10_000,
  ) {}

  onStop(name: string, release: () => Promise<void> | void): void {
    this.#releases.push({ name, release });
  }

  /** Safe to call twice; both calls wait for the same stop. */
  stop(reason: string): Promise<void> {
    this.#stopping ??= this.#unwind(reason);
    return this.#stopping;
  }

  async #unwind(reason: string): Promise<void> {
    this.logger.info({ reason }, 'stopping');
    for (const { name, release } of this.#releases.reverse()) {
      try {
        await withinMs(this.releaseMs, Promise.resolve(release()));
      } catch (error) {
        this.logger.error({ part: name, error: messageOf(error) }, 'a part did not stop cleanly');
      }
    }
    this.logger.info('stopped');
  }
}

/** Rejects when `promise` takes longer than `ms`; the work itself goes on. */
export async function withinMs<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves after `ms`, or at once when the signal is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
}
