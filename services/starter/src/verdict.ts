/**
 * What an attempt's end means for its task: the result report. Pure. Fixed texts that host applications compare
 * with are in the contracts; everything else the platform says is one plain sentence after what the script printed.
 */
import { fixedOutput, type AttemptCause, type ResultReport } from '@stadion/contracts';
import { formatBytes } from '@stadion/service-kit';
import type { ScriptFetchError } from './exchange/fetch-script.js';
import type { SandboxExit, SandboxStartError } from './executors/executor.js';
import { composeOutput, type KeptOutput } from './output-collector.js';

export interface RunEnd {
  taskId: number;
  exit: SandboxExit;
  output: KeptOutput;
  /** Why the starter ended the script, if it did. */
  stoppedFor: 'time_limit' | 'shutdown' | undefined;
  timeLimitS: number;
  limits: { memoryBytes: number; pids: number };
  outputLimit: number;
}

/** The report of a script that was started. */
export function verdictOfRun(end: RunEnd): ResultReport {
  const { exit } = end;
  const spendTimeS = Math.max(0, (exit.finishedAt.getTime() - exit.startedAt.getTime()) / 1000);
  const { cause, returnCode, closing } = meaningOf(end, spendTimeS);
  return {
    script_id: end.taskId,
    success: cause === 'exit' && returnCode === 0,
    return_code: returnCode,
    output: composeOutput(end.output, end.outputLimit, closing.toWellFormed()),
    spend_time: spendTimeS,
    started_at: exit.startedAt.getTime() / 1000,
    cause,
  };
}

interface Meaning {
  cause: AttemptCause;
  returnCode: number | null;
  closing: string;
}

function meaningOf(end: RunEnd, spendTimeS: number): Meaning {
  const { exit } = end;
  // A script that ended by itself in the moment we stopped it did end by itself. 137 is how being killed looks when
  // the sandbox's own watchdog was faster than we were.
  const wasKilled = exit.cause === 'stopped' || (exit.cause === 'exit' && exit.exitCode === 137);
  if (wasKilled && end.stoppedFor === 'shutdown') {
    return { cause: 'starter_restarted', returnCode: -1, closing: starterStopped };
  }
  if (wasKilled && (end.stoppedFor === 'time_limit' || spendTimeS >= end.timeLimitS)) {
    return { cause: 'time_limit', returnCode: -1, closing: fixedOutput.timeLimit };
  }
  switch (exit.cause) {
    case 'exit':
      return { cause: 'exit', returnCode: exit.exitCode, closing: '' };
    case 'out_of_memory': {
      const limit = formatBytes(end.limits.memoryBytes);
      const closing = `The script was ended because it ran out of memory: out of memory (limit ${limit}).`;
      return { cause: 'out_of_memory', returnCode: 137, closing };
    }
    case 'pids_limit': {
      const closing = `The script was ended because it started too many processes (limit ${end.limits.pids}).`;
      return { cause: 'pids_limit', returnCode: exit.exitCode ?? -1, closing };
    }
    case 'stopped':
      return {
        cause: 'stopped',
        returnCode: exit.exitCode ?? -1,
        closing: exit.detail ?? 'The script was stopped from outside.',
      };
    case 'engine_error':
      return {
        cause: 'engine_error',
        returnCode: exit.exitCode ?? -1,
        closing: exit.detail ?? 'The script was ended by a fault of the machine it ran on.',
      };
  }
}

const starterStopped = 'The script was ended because the service that runs scripts was shut down.';

/** The report of an attempt whose script could not be had. */
export function verdictOfFetch(taskId: number, error: ScriptFetchError): ResultReport {
  return notStarted(
    taskId,
    error.attemptCause,
    error.attemptCause === 'script_invalid' ? -1 : null,
    error.output,
  );
}

/** The report of an attempt that asked for a runner profile which is not there. */
export function verdictOfProfile(taskId: number, sentence: string): ResultReport {
  return notStarted(taskId, 'script_invalid', -1, sentence);
}

/** The report of an attempt for which there was no sandbox. */
export function verdictOfStart(taskId: number, error: SandboxStartError): ResultReport {
  const cause = error.reason === 'image_missing' ? 'image_missing' : 'engine_error';
  return notStarted(taskId, cause, -1, error.userMessage);
}

/** The report of an attempt that failed by a fault of ours; what fault is in the log only. */
export function verdictOfFault(taskId: number): ResultReport {
  return notStarted(
    taskId,
    'engine_error',
    -1,
    'The script could not be run because of a fault of the service.',
  );
}

/** The report of an attempt that was, or may have been, under way when the starter died. */
export function verdictOfRestart(taskId: number): ResultReport {
  return notStarted(
    taskId,
    'starter_restarted',
    -1,
    'The service that runs scripts was restarted while this script ran; its output is lost.',
  );
}

function notStarted(
  taskId: number,
  cause: AttemptCause,
  returnCode: number | null,
  output: string,
): ResultReport {
  return {
    script_id: taskId,
    success: false,
    return_code: returnCode,
    output: output.toWellFormed(),
    spend_time: 0,
    started_at: null,
    cause,
  };
}
