/**
 * What happens when a starter reports an attempt: the state it leads to, and what is done with a report that comes
 * late, twice, or for an attempt that is no longer the task's.
 */
import { fixedOutput, type ResultReport } from '@stadion/contracts';
import type { Logger } from '@stadion/service-kit';
import type { Store } from '../store/store.js';
import type { RunSubject } from '../tokens.js';
import type { Outcome } from './state-machine.js';

export interface ReportAttemptOptions {
  store: Pick<Store, 'beginAttempt' | 'finishAttempt'>;
  logger: Logger;
  /** Called after a result was applied: its slot is free. */
  onFinished(taskId: number): void;
}

export async function reportRunning(
  { store, logger }: ReportAttemptOptions,
  run: RunSubject,
  startedAt: Date | undefined,
): Promise<Outcome> {
  const outcome = await store.beginAttempt(run.taskId, run.attemptId, startedAt ?? null);
  // A running report that its own result has overtaken is ordinary; it is told apart only by being late.
  logger.debug({ ...run, outcome }, 'attempt reported running');
  return outcome;
}

export async function reportResult(
  { store, logger, onFinished }: ReportAttemptOptions,
  run: RunSubject,
  report: ResultReport,
): Promise<Outcome> {
  const state = finalStateOf(report);
  const outcome = await store.finishAttempt({
    taskId: run.taskId,
    attemptId: run.attemptId,
    state,
    returnCode: report.return_code,
    output: report.output ?? '',
    cause: report.cause ?? (state === 'timed_out' ? 'time_limit' : 'exit'),
    spendTimeS: report.spend_time ?? null,
    startedAt: report.started_at == null ? null : new Date(report.started_at * 1_000),
  });
  if (outcome === 'moved') {
    logger.info({ ...run, state, cause: report.cause, returnCode: report.return_code }, 'task finished');
    onFinished(run.taskId);
  } else {
    logger.warn({ ...run, state, outcome }, 'a result was ignored: late, repeated or for another attempt');
  }
  return outcome;
}

/** An original starter names no cause; its fixed text does. */
function finalStateOf(report: ResultReport): 'succeeded' | 'failed' | 'timed_out' {
  if (report.success) return 'succeeded';
  const timedOut =
    report.cause === 'time_limit' || (!report.cause && report.output === fixedOutput.timeLimit);
  return timedOut ? 'timed_out' : 'failed';
}
