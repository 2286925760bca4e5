/**
 * Between scheduler and starter: the dispatch (`POST /function/run-python`), what a starter says of itself, and the
 * two reports of an attempt. Every body is the original pipeline's plus optional fields of ours, so that either
 * half can be an original one.
 */
import { z } from 'zod';
import { anyJson, integer, text } from './json.js';
import { attemptCause } from './task.js';

const taskId = integer(1);
/** Unix time in seconds, with fraction. */
const unixSeconds = z.number({ error: 'must be a number' }).min(0).max(253_402_300_799);

/** `POST /function/run-python`. Answered 200 `Received` once journalled; the same attempt again is answered the same. */
export const dispatchRequest = z.object(
  {
    script_id: taskId,
    script_url: text(0, 4096).nullish(),
    env: z.record(text(1, 128), text(0, 65_536), { error: 'must be an object of strings' }).default({}),
    context_data: anyJson.nullish(),
    /** Ours: names this try. The starter never runs the same attempt twice. */
    attempt_id: z.uuid({ error: 'must be a UUID' }),
    /** Ours: the script's own name; its suffix tells the language, before the address's does. */
    script_name: text(0, 255).nullish(),
    /** Ours: the runner profile to use; without it, the one of the script's language. */
    profile: text(1, 64).optional(),
    /** Ours: what the starter shows when it reports this attempt; it cannot be used for another. */
    run_token: text(1, 4096),
    /** Ours: seconds from the script's start; the starter's own limit applies when it is lower. */
    time_limit_s: z.number().positive().max(86_400).optional(),
  },
  { error: 'must be an object' },
);
export type DispatchRequest = z.infer<typeof dispatchRequest>;

/** `POST /script-running-callback/`; without a time, the moment of the report counts. */
export const runningReport = z.object(
  { script_id: taskId, started_at: unixSeconds.nullish() },
  { error: 'must be an object' },
);
export type RunningReport = z.infer<typeof runningReport>;

/** `POST /script-result/` */
export const resultReport = z.object(
  {
    script_id: taskId,
    success: z.boolean({ error: 'must be true or false' }),
    return_code: z
      .number({ error: 'must be an integer' })
      .int()
      .min(-2_147_483_648)
      .max(2_147_483_647)
      .nullable(),
    output: z.string({ error: 'must be a string' }).nullable(),
    /** Seconds the script ran; null or 0 when it never started. */
    spend_time: z.number({ error: 'must be a number' }).min(0).nullish(),
    started_at: unixSeconds.nullish(),
    cause: attemptCause.optional(),
  },
  { error: 'must be an object' },
);
export type ResultReport = z.infer<typeof resultReport>;

/** Largest result report in bytes: a million characters that JSON writes as six bytes each, and room for the rest. */
export const maxResultBytes = 16 * 1024 * 1024;

/** `GET /v1/starter` of a starter, and the body of its `POST /v1/starters/heartbeat` to the scheduler. */
export const starterStatus = z.object(
  {
    /** Kept in the starter's state directory: a new one means that the old one's journal is gone. */
    starter_id: z.uuid({ error: 'must be a UUID' }),
    version: text(1, 64),
    executor: z.enum(['docker', 'process']),
    isolation: text(1, 500),
    /** Where the scheduler reaches it; absent when the scheduler was configured with the address. */
    url: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).optional(),
    slots: integer(0, 100_000),
    busy: integer(0, 1_000_000),
    draining: z.boolean(),
    /** Every attempt it holds: accepted, running, or ended with a result not yet acknowledged. */
    attempts: z.array(z.uuid()).max(100_000),
  },
  { error: 'must be an object' },
);
export type StarterStatus = z.infer<typeof starterStatus>;

/** How often a starter tells that it is alive, in milliseconds. */
export const heartbeatEveryMs = 5_000;
