/**
 * What an original scheduler and an original starter (version 1 of the pipeline) say to each other, for the two modes
 * in which one half of Stadion works with one original half. Neither side has tokens. Ours stays as strict as ever:
 * see `starter-api.ts`.
 */
import { z } from 'zod';
import { anyJson, integer, text, type Json } from './json.js';
import { fixedOutput, type AttemptCause } from './task.js';

/** `POST /function/run-python` as an original starter expects it: these four fields and no other. */
export interface OriginalDispatch {
  script_url: string;
  env: { dtable_web_url: string; api_token: string };
  context_data: Json;
  script_id: number;
}

/** What an original starter answers to a dispatch, with status 200: it is in a queue in its memory, no more. */
export const originalReceived = 'Received';

const variable = z
  .union([text(0, 65_536), z.number(), z.boolean(), z.null()], { error: 'must be text' })
  .transform((value) => (value === null ? '' : String(value)));

/** `POST /function/run-python` as an original scheduler sends it. */
export const originalDispatchRequest = z.object(
  {
    script_id: integer(1),
    script_url: text(0, 4096).nullish(),
    env: z
      .record(text(1, 128), variable, { error: 'must be an object' })
      .nullish()
      .transform((env) => env ?? {}),
    /** Only an object reaches the script, as the original has it. */
    context_data: anyJson
      .nullish()
      .transform((context) =>
        typeof context === 'object' && context !== null && !Array.isArray(context) ? context : null,
      ),
  },
  { error: 'must be an object' },
);
export type OriginalDispatchRequest = z.infer<typeof originalDispatchRequest>;

/** `POST /script-result/` as an original scheduler expects it: these six fields and no other. */
export interface OriginalResult {
  success: boolean;
  return_code: number | null;
  output: string | null;
  spend_time: number | null;
  script_id: number;
  task_log_id: null;
}

/** What an original scheduler answers to a result, and expects to be answered. */
export const originalResultAnswer = 'success';

const causeOfOutput: Readonly<Record<string, AttemptCause>> = {
  [fixedOutput.scriptUnavailable]: 'script_unavailable',
  [fixedOutput.scriptUrlMissing]: 'script_unavailable',
  [fixedOutput.scriptInvalid]: 'script_invalid',
  [fixedOutput.timeLimit]: 'time_limit',
};

/** An original starter names no cause. Its fixed sentences tell one – of a run that failed: a script may print them. */
export function causeOfOriginal(result: { success: boolean; output: string | null }): AttemptCause {
  const sentence = result.success ? '' : (result.output ?? '').trim();
  return Object.hasOwn(causeOfOutput, sentence) ? causeOfOutput[sentence]! : 'exit';
}
