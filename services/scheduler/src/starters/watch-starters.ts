/**
 * Keeps what the scheduler knows of its starters true: asks the configured ones how they are, takes the heartbeats
 * of those that register themselves, and reconciles the attempts that the database places on a starter with those
 * that the starter holds.
 */
import { type StarterStatus } from '@stadion/contracts';
import { messageOf, type Logger, type PeriodicTask } from '@stadion/service-kit';
import type { StarterClient } from '../starter-client.js';
import type { Claim, Store } from '../store/store.js';

export interface WatchStartersOptions {
  store: Pick<Store, 'recordStarter' | 'heldNowhere' | 'loseAttempt' | 'getTask'>;
  starters: StarterClient;
  starterUrls: readonly string[];
  logger: Logger;
  /** Pushes an attempt again; its starter runs it at most once. */
  pushAgain(claim: Claim): void;
  /** Called when a starter was heard of: it may have free slots. */
  onHeartbeat(): void;
}

/** A push, or a report of a result, may be under way for this long without the starter listing the attempt. */
const settleMs = 10_000;

const lostByStarter =
  'The run was lost: the machine that ran it no longer knows of it. It may have run; nobody can tell how it ended.';

export class WatchStarters implements PeriodicTask {
  readonly name = 'watch-starters';
  readonly cron = '*/5 * * * * *';
  readonly behindAfterMs = 30_000;
  readonly #silentUrls = new Set<string>();

  constructor(private readonly options: WatchStartersOptions) {}

  async runOnce(): Promise<Record<string, number>> {
    const answers = await Promise.all(this.options.starterUrls.map((url) => this.#ask(url)));
    return { silent: answers.filter((answered) => !answered).length };
  }

  /** What a starter says of itself, whoever asked. `url` is where the scheduler reaches it. */
  async recordHeartbeat(status: StarterStatus, url: string, configured: boolean): Promise<void> {
    const { store, logger } = this.options;
    await store.recordStarter(status, { url, configured });
    for (const orphan of await store.heldNowhere(status.starter_id, status.attempts, settleMs)) {
      const ids = { taskId: orphan.taskId, attemptId: orphan.attemptId, starterId: status.starter_id };
      if (orphan.state === 'starting') {
        const task = await store.getTask(orphan.taskId);
        if (task?.attemptId !== orphan.attemptId) continue;
        logger.warn(ids, 'the starter does not hold an attempt it was given; pushing it again');
        this.options.pushAgain({
          task,
          attemptId: orphan.attemptId,
          starterId: status.starter_id,
          starterUrl: url,
        });
      } else {
        logger.error(ids, 'the starter no longer holds a running attempt; it is lost');
        await store.loseAttempt({ ...orphan, reason: lostByStarter });
      }
    }
    this.options.onHeartbeat();
  }

  async #ask(url: string): Promise<boolean> {
    try {
      const status = await this.options.starters.status(url);
      await this.recordHeartbeat(status, url, true);
      if (this.#silentUrls.delete(url)) this.options.logger.info({ url }, 'starter answers again');
      return true;
    } catch (error) {
      const known = this.#silentUrls.has(url);
      this.#silentUrls.add(url);
      if (!known)
        this.options.logger.warn({ url, error: messageOf(error) }, 'starter does not answer; runs wait');
      return false;
    }
  }
}
