/**
 * What an earlier process of this starter left: results to deliver, attempts to launch that never were, and attempts
 * whose script was, or may have been, running. Those never run a second time; their sandboxes are removed and they
 * are reported as ended by the restart. Runs once, before attempts are accepted. `sweepOrphans` is its sibling
 * for what is left over while the starter runs.
 */
import type { DispatchRequest, ResultReport } from '@stadion/contracts';
import { type Logger, messageOf } from '@stadion/service-kit';
import type { Exchange, StoredAttempt } from './exchange/exchange.js';
import type { Executor, LeftoverSandbox } from './executors/executor.js';
import { verdictOfFault, verdictOfRestart } from './verdict.js';

export interface RecoveryParts {
  exchange: Exchange;
  executor: Executor;
  outbox: { has(attemptId: string): boolean; add(attemptId: string): void };
  supervisor: { holds(attemptId: string): boolean; resume(request: DispatchRequest): void };
  logger: Logger;
}

export interface Recovered {
  resumed: number;
  interrupted: number;
  undelivered: number;
  swept: number;
}

export async function recover(parts: RecoveryParts): Promise<Recovered> {
  const { exchange, logger } = parts;
  const counts: Recovered = { resumed: 0, interrupted: 0, undelivered: 0, swept: 0 };
  // First, so that nothing is reported as ended that still runs.
  counts.swept += await removeSandboxes(parts, () => true);
  const { attemptIds, strays } = await exchange.listAttempts();
  for (const name of strays)
    counts.swept += await attemptTo(logger, 'remove a stray', () => exchange.removeStray(name));
  for (const attemptId of attemptIds) {
    await attemptTo(logger.child({ attemptId }), 'recover an attempt', async () => {
      const stored = await exchange.readAttempt(attemptId);
      counts[await recoverOne(parts, stored)] += 1;
    });
  }
  return counts;
}

async function recoverOne(parts: RecoveryParts, stored: StoredAttempt): Promise<keyof Recovered> {
  const { exchange, outbox, supervisor } = parts;
  const { attemptId, journal } = stored;
  if (stored.buried || (!journal && !stored.hasResult)) return await discard(parts, stored);
  if (stored.hasResult) {
    outbox.add(attemptId);
    await exchange.removeScripts(attemptId);
    return 'undelivered';
  }
  if (!journal) return await discard(parts, stored);
  if (!stored.launching) {
    supervisor.resume(journal.request);
    return 'resumed';
  }
  await spoolLaunched(parts, journal.request, verdictOfRestart);
  return 'interrupted';
}

/** The script's folder goes first: it may be what filled the disk, and then no result could ever be written. */
async function spoolLaunched(
  { exchange, outbox, logger }: RecoveryParts,
  { attempt_id: attemptId, run_token: runToken, script_id }: DispatchRequest,
  verdict: (taskId: number) => ResultReport,
): Promise<void> {
  await attemptTo(logger.child({ attemptId }), "remove a script's folder", () =>
    exchange.removeScripts(attemptId),
  );
  await exchange.spool(attemptId, { runToken, report: verdict(script_id) });
  outbox.add(attemptId);
}

/** One pass over what nobody holds: sandboxes and folders whose removal failed, and old tombstones. */
export async function sweepOrphans(
  parts: RecoveryParts,
  keepTombstonesMs: number,
): Promise<Record<string, number>> {
  const { exchange, outbox, supervisor, logger } = parts;
  const sandboxes = await removeSandboxes(parts, (attemptId) => !supervisor.holds(attemptId));
  let folders = 0;
  const { attemptIds, strays } = await exchange.listAttempts();
  for (const name of strays)
    folders += await attemptTo(logger, 'remove a stray', () => exchange.removeStray(name));
  for (const attemptId of attemptIds) {
    // Looked up after listing: what is accepted meanwhile is not in the list.
    if (supervisor.holds(attemptId) || outbox.has(attemptId)) continue;
    folders += await attemptTo(logger.child({ attemptId }), 'sweep an attempt', async () => {
      await sweepOne(parts, await exchange.readAttempt(attemptId));
    });
  }
  return { sandboxes, folders, ...(await exchange.forget(keepTombstonesMs)) };
}

async function sweepOne(parts: RecoveryParts, stored: StoredAttempt): Promise<void> {
  const { journal } = stored;
  // Journalled, but not held and never launched: its acceptance failed and was answered so.
  if (stored.buried || (!stored.hasResult && !(journal && stored.launching))) {
    await discard(parts, stored);
    return;
  }
  if (!stored.hasResult && journal) await spoolLaunched(parts, journal.request, verdictOfFault);
  else parts.outbox.add(stored.attemptId);
}

/** Without a tombstone an attempt may come again; one that may have run must not. */
async function discard({ exchange, logger }: RecoveryParts, stored: StoredAttempt): Promise<'swept'> {
  if (stored.launching && !stored.buried) {
    logger.error({ attemptId: stored.attemptId }, 'the journal of an attempt cannot be read; given up');
    await exchange.bury(stored.attemptId);
  } else {
    await exchange.removeFolder(stored.attemptId);
  }
  return 'swept';
}

async function removeSandboxes(
  parts: RecoveryParts,
  isOrphan: (attemptId: string) => boolean,
): Promise<number> {
  const { executor, logger } = parts;
  let leftovers: LeftoverSandbox[];
  try {
    leftovers = await executor.leftovers();
  } catch (error) {
    logger.warn({ error: messageOf(error) }, 'cannot look for left-over sandboxes; the next sweep does');
    return 0;
  }
  let removed = 0;
  for (const leftover of leftovers.filter(({ attemptId }) => isOrphan(attemptId))) {
    const itsLogger = logger.child({ attemptId: leftover.attemptId });
    removed += await attemptTo(itsLogger, 'remove a left-over sandbox', () => leftover.remove());
  }
  return removed;
}

/** One failure must not keep the others from being dealt with. Answers 1 when it went well, else 0. */
async function attemptTo(logger: Logger, what: string, work: () => Promise<unknown>): Promise<0 | 1> {
  try {
    await work();
    return 1;
  } catch (error) {
    logger.error({ err: error }, `could not ${what}; the next sweep tries again`);
    return 0;
  }
}
