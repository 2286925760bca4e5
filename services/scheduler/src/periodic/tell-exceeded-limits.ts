/**
 * Tells the host application who went over a monthly limit: once for each organisation or user and month, whatever
 * number of schedulers there are. What was not told is told again; a host application that refuses for good is not asked
 * again. A scheduler that dies between telling and noting it down makes another one repeat it.
 */
import { messageOf, type Logger, type PeriodicTask } from '@stadion/service-kit';
import { HostRefusal, type HostLimits } from '../host-client.js';
import type { Store } from '../store/store.js';

export interface TellExceededOptions {
  store: Pick<Store, 'claimExceeded' | 'settleExceeded'>;
  limits: Pick<HostLimits, 'tellExceeded'>;
  logger: Logger;
  retryMs?: number;
}

export function tellExceededLimits({
  store,
  limits,
  logger,
  retryMs = 60_000,
}: TellExceededOptions): PeriodicTask {
  return {
    name: 'tell-exceeded-limits',
    cron: '*/10 * * * * *',
    behindAfterMs: 3_600_000,
    async runOnce(signal) {
      const exceeded = await store.claimExceeded({ retryMs });
      if (exceeded.length === 0) return { told: 0 };
      try {
        await limits.tellExceeded(
          exceeded.map(({ payer }) => payer),
          signal,
        );
      } catch (error) {
        if (!(error instanceof HostRefusal)) throw error;
        const { passing } = error;
        logger.warn(
          { count: exceeded.length, error: messageOf(error), again: passing },
          'could not tell the host application of an exceeded limit',
        );
        if (!passing) await store.settleExceeded(exceeded);
        return { told: 0 };
      }
      await store.settleExceeded(exceeded);
      return { told: exceeded.length };
    },
  };
}
