/** The words every part uses for a task's life. Which moves are allowed is the scheduler's state machine's to say. */
import { z } from 'zod';

export const taskStates = [
  'queued',
  'starting',
  'running',
  'succeeded',
  'failed',
  'timed_out',
  'cancelled',
  'lost',
] as const;
export type TaskState = (typeof taskStates)[number];

export const finalStates = [
  'succeeded',
  'failed',
  'timed_out',
  'cancelled',
  'lost',
] as const satisfies TaskState[];
export type FinalState = (typeof finalStates)[number];

export function isFinal(state: TaskState): state is FinalState {
  return (finalStates as readonly string[]).includes(state);
}

/**
 * Why an attempt ended. `exit`: the script ended by itself, its code says how. The others are the platform's doing
 * or the script's limits, and the output carries a sentence about each.
 */
export const attemptCauses = [
  'exit',
  'time_limit',
  'out_of_memory',
  'pids_limit',
  'stopped',
  'script_unavailable',
  'script_invalid',
  'image_missing',
  'engine_error',
  'starter_restarted',
  'lost',
] as const;
export const attemptCause = z.enum(attemptCauses);
export type AttemptCause = z.infer<typeof attemptCause>;

/** Outputs that a host application may compare with; kept to the letter. A reason may follow on its own line. */
export const fixedOutput = {
  scriptUnavailable: 'Fail to get script',
  scriptUrlMissing: 'Script URL is missing',
  scriptInvalid: 'Script invalid!',
  timeLimit: "The script's running time exceeded the limit and the execution was aborted.",
  hostRefused: 'Failed',
} as const;

/** Seconds a script may run unless a setting says otherwise. */
export const defaultTimeLimitS = 900;
/** Characters of output that are kept; what follows is cut and the output says so. */
export const defaultOutputLimit = 1_000_000;
