/**
 * Records a task for a host application, within the monthly limit that goes with the request. A group without an
 * organisation is under no limit. While a limit has to be asked of the host application and cannot be, nothing is
 * recorded: neither unlimited runs nor a refusal that may be wrong.
 */
import { Refusal, type Logger } from '@stadion/service-kit';
import type { HostLimits } from '../host-client.js';
import type { Store } from '../store/store.js';
import type { Payer } from './run-statistics.js';
import { fairKeyOfPayer, payerOf, type NewTask } from './task.js';

/** A number of runs, no limit, or a limit that the host application is to be asked for. */
export type RequestedLimit = number | 'none' | 'ask';

export interface SubmitTaskOptions {
  store: Pick<Store, 'submitTask' | 'submitWithinLimit'>;
  askLimit(payer: Payer): Promise<number>;
  onQueued(): void;
  onExceeded(): void;
  logger: Logger;
}

export async function submitTask(
  { store, askLimit, onQueued, onExceeded, logger }: SubmitTaskOptions,
  task: NewTask,
  requested: RequestedLimit,
): Promise<number> {
  const limit = await limitOf(payerOf(task), requested);
  const recorded = limit < 0 ? await store.submitTask(task) : await store.submitWithinLimit(task, limit);
  if (recorded === 'limit_exceeded') {
    logger.info({ owner: task.owner, orgId: task.orgId, limit }, 'a run was refused: over the monthly limit');
    onExceeded();
    throw new Refusal('bad_request', 'The number of runs exceeds the limit');
  }
  onQueued();
  return recorded;

  /** Negative: none. */
  async function limitOf(payer: Payer | undefined, wanted: RequestedLimit): Promise<number> {
    if (!payer || wanted === 'none') return -1;
    if (wanted !== 'ask') return wanted;
    try {
      return await askLimit(payer);
    } catch (error) {
      throw new Refusal(
        'unavailable',
        'The limit of runs could not be asked of the host application; try again.',
        { retryAfterS: 5, cause: error },
      );
    }
  }
}

const knownForMs = 5_000;
const mostKnown = 10_000;

/** Asks the host application, at most once in a few seconds for the same payer; those who wait share the answer. */
export function rememberLimits(
  limits: Pick<HostLimits, 'monthlyLimit'>,
  now: () => number = () => performance.now(),
): (payer: Payer) => Promise<number> {
  const known = new Map<string, { limit: Promise<number>; until: number }>();
  return (payer) => {
    const key = fairKeyOfPayer(payer);
    const found = known.get(key);
    if (found && found.until > now()) return found.limit;
    // The oldest are the first; a payer that asks again comes last.
    known.delete(key);
    for (const oldest of known.keys()) {
      if (known.size < mostKnown) break;
      known.delete(oldest);
    }
    const limit = limits.monthlyLimit(payer);
    known.set(key, { limit, until: now() + knownForMs });
    limit.catch(() => {
      if (known.get(key)?.limit === limit) known.delete(key);
    });
    return limit;
  };
}
