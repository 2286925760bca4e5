/** What a scheduler's answer to a result means, and how long to wait before the next try. Pure. */

export type Delivery =
  /** The scheduler has it. */
  | { kind: 'delivered' }
  /** The scheduler has no use for it any more. */
  | { kind: 'unwanted'; status: number }
  /** The scheduler would answer the same for ever: a fault of ours. */
  | { kind: 'refused'; status: number }
  /** Nothing is known, or it may be different later. */
  | { kind: 'retry'; reason: string; afterMs?: number };

const longestWaitMs = 60_000;

export function deliveryOf(status: number, retryAfter: unknown): Delivery {
  if (status === 200) return { kind: 'delivered' };
  if ([404, 409, 410].includes(status)) return { kind: 'unwanted', status };
  if ([400, 413, 422].includes(status)) return { kind: 'refused', status };
  // 401 and 403 too: a secret that is being changed is not a reason to lose results.
  const reason = `the scheduler answered ${status}`;
  const seconds = Number(retryAfter);
  return status === 429 && seconds > 0
    ? { kind: 'retry', reason, afterMs: Math.min(seconds * 1000, longestWaitMs) }
    : { kind: 'retry', reason };
}

/** 100 ms doubling up to 10 s; half of it is chance, so that starters do not come back all at once. */
export function backoffMs(failures: number, random: () => number = Math.random): number {
  const full = Math.min(10_000, 100 * 2 ** Math.min(failures, 20));
  return full / 2 + random() * (full / 2);
}
