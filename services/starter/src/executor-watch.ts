/** What the executor said of itself last, looked up now and then, so that asking costs a request nothing. */
import { messageOf, type Logger } from '@stadion/service-kit';
import type { Executor, ExecutorHealth } from './executors/executor.js';

export class ExecutorWatch {
  #last: ExecutorHealth | undefined;

  constructor(
    private readonly executor: Executor,
    private readonly logger: Logger,
  ) {}

  get last(): ExecutorHealth | undefined {
    return this.#last;
  }

  /** Why no script can run just now; undefined when one can, or before the first look. */
  get problem(): string | undefined {
    if (!this.#last || this.#last.ready) return undefined;
    return this.#last.problem ?? 'the executor is not ready';
  }

  async look(): Promise<void> {
    const before = this.problem;
    const isFirst = this.#last === undefined;
    this.#last = await this.executor.health().catch((error: unknown) => ({
      ready: false,
      profiles: [],
      isolation: 'unknown',
      warnings: [],
      problem: messageOf(error),
    }));
    const { isolation, warnings, profiles } = this.#last;
    if (isFirst) {
      this.logger.info({ executor: this.executor.name, isolation }, 'scripts are isolated like this');
      for (const warning of warnings) this.logger.warn({ warning }, 'isolation could be stronger');
      for (const profile of profiles) this.logger.info({ ...profile }, 'runner profile');
    }
    if (this.problem === before) return;
    if (this.problem) this.logger.error({ problem: this.problem }, 'scripts cannot run');
    else this.logger.info('scripts can run again');
  }
}
