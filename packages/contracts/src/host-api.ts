/**
 * The API that host applications speak (`POST /run-script/`, `GET /run-script/<id>/`). Its field names are the
 * original pipeline's and stay at this edge; inside, the scheduler uses the glossary's words.
 */
import { z } from 'zod';
import { anyJson, integer, text } from './json.js';

export const submitRunRequest = z.object(
  {
    dtable_uuid: text(1, 36),
    script_name: text(1, 255),
    owner: text(1, 255),
    /** -1 and null both mean: belongs to no organisation. */
    org_id: integer(-1).nullish(),
    context_data: anyJson.nullish(),
    /** Where the script is; when absent the scheduler asks the host application. */
    script_url: text(0, 4096).nullish(),
    temp_api_token: text(0, 8192).nullish(),
    /** Runs allowed per month; -1 is no limit, 0 and null ask the host application. */
    scripts_running_limit: integer(-1).nullish(),
    operate_from: text(1, 50).nullish(),
  },
  { error: 'must be an object' },
);
export type SubmitRunRequest = z.infer<typeof submitRunRequest>;

export const submitRunResponse = z.object({ script_id: z.number().int() });
export type SubmitRunResponse = z.infer<typeof submitRunResponse>;

/** A run as host applications read it: the union of the fields of both versions of the original. */
export const hostRun = z.object({
  id: z.number().int(),
  dtable_uuid: z.string(),
  script_name: z.string(),
  owner: z.string(),
  org_id: z.number().int().nullable(),
  context_data: anyJson.nullable(),
  operate_from: z.string(),
  state: z.enum(['pending', 'running', 'finished']),
  /** ISO 8601 with offset, whole seconds. */
  created_at: z.string(),
  /** Empty until the script started. */
  started_at: z.string(),
  finished_at: z.string().nullable(),
  success: z.boolean().nullable(),
  return_code: z.number().int().nullable(),
  output: z.string().nullable(),
});
export type HostRun = z.infer<typeof hostRun>;

export const getRunResponse = z.object({ script: hostRun });

/** What a host application answers to `GET /api/v2.1/dtable/<uuid>/run-script/<name>/task/file/`. */
export const scriptFileResponse = z.object({
  script_url: z.string().min(1),
  temp_api_token: z.string().nullish(),
});
export type ScriptFileResponse = z.infer<typeof scriptFileResponse>;

/** Largest body of a request by a host application, in bytes. Larger is refused with 413. */
export const maxRequestBytes = 5 * 1024 * 1024;
