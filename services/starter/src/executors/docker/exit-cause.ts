/** Decides, from what Docker and the container's own PID 1 tell, why a script ended. Pure; the asking is done elsewhere. */
import type { SandboxExit, SandboxLimits } from '../executor.js';
import type { EndReport } from './end-report.js';

/**
 * `State` of `docker inspect` after the end. `gone`: somebody removed the container. `unknown`: the engine does not
 * answer, or says that it still runs.
 */
export type FinalState = { ExitCode: number; OOMKilled: boolean } | 'gone' | 'unknown';

export interface EndFacts {
  /** PID 1's last words; without them it was killed, or its stream broke. */
  report: EndReport | undefined;
  state: FinalState;
  stopRequested: boolean;
  /** The image's runner tells nothing: a missing report is no sign of anything. */
  tellsNothing: boolean;
  limits: SandboxLimits;
}

export type End = Pick<SandboxExit, 'cause' | 'exitCode' | 'detail'>;

export function exitCause({ report, state, stopRequested, tellsNothing, limits }: EndFacts): End {
  const known = typeof state === 'object';
  if (report) return reportedEnd(report, known && state.OOMKilled, limits);
  if (stopRequested && state !== 'unknown') {
    return { cause: 'stopped', exitCode: known ? state.ExitCode : null, detail: 'The script was stopped.' };
  }
  if (!known) {
    return {
      cause: 'engine_error',
      exitCode: null,
      detail:
        state === 'gone'
          ? "The script's container was removed from outside; how the script ended is not known."
          : 'The Docker engine no longer tells about the script; how it ended is not known.',
    };
  }
  if (state.OOMKilled) return outOfMemory(state.ExitCode, limits);
  if (tellsNothing) return { cause: 'exit', exitCode: state.ExitCode };
  if (state.ExitCode === exitCodeWithoutOrder) {
    return {
      cause: 'engine_error',
      exitCode: null,
      detail: 'The runner got no order that it understands, so the script did not run.',
    };
  }
  if (killedFromOutside.has(state.ExitCode)) {
    return {
      cause: 'engine_error',
      exitCode: state.ExitCode,
      detail:
        "The script's container was ended from outside, for example because the Docker engine restarted.",
    };
  }
  // PID 1 ended by itself, so its code is the script's, though the stream that told the rest broke.
  return {
    cause: 'exit',
    exitCode: state.ExitCode,
    detail: 'The end of the output may be missing: the connection to the Docker engine broke.',
  };
}

const exitCodeWithoutOrder = 125;
/** By SIGKILL, SIGTERM and SIGINT: what engines and operators send. */
const killedFromOutside = new Set([137, 143, 130]);

function reportedEnd(report: EndReport, engineSawOom: boolean, limits: SandboxLimits): End {
  const { exit_code: exitCode } = report;
  if (report.ended_by === 'time_limit') {
    return {
      cause: 'stopped',
      exitCode,
      detail: 'The sandbox ended the script by itself, after its time limit.',
    };
  }
  if (report.ended_by === 'signal') {
    return {
      cause: 'engine_error',
      exitCode,
      detail: "The script's container was told from outside to end.",
    };
  }
  // A script that coped with a child's death, or with a refused one, and ended well did not fail of it.
  if (exitCode !== 0 && (report.oom_kills > 0 || engineSawOom)) return outOfMemory(exitCode, limits);
  if (exitCode !== 0 && report.pids_refused > 0) {
    return {
      cause: 'pids_limit',
      exitCode,
      detail: `too many processes (limit ${limits.pids} processes and threads)`,
    };
  }
  return { cause: 'exit', exitCode };
}

function outOfMemory(exitCode: number, limits: SandboxLimits): End {
  return {
    cause: 'out_of_memory',
    exitCode,
    detail: `out of memory (limit ${inBinaryUnits(limits.memoryBytes)})`,
  };
}

export function inBinaryUnits(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let amount = bytes;
  let unit = 0;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${Number(amount.toFixed(1))} ${units[unit]}`;
}
