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
    /** Runs allowed per month; -1 or absent is no limit, 0 and null ask the host application. */
    scripts_running_limit: integer(-1).nullish(),
    operate_from: text(1, 50).nullish(),
  },
  { error: 'must be an object' },
);
export type SubmitRunRequest = z.infer<typeof submitRunRequest>;

export const submitRunResponse = z.object({ script_id: z.number().int() });
export type SubmitRunResponse = z.infer<typeof submitRunResponse>;

/** A run without what can be long, as administrators list it. */
export const hostRunSummary = z.object({
  id: z.number().int(),
  dtable_uuid: z.string(),
  script_name: z.string(),
  owner: z.string(),
  org_id: z.number().int().nullable(),
  operate_from: z.string(),
  state: z.enum(['pending', 'running', 'finished']),
  /** ISO 8601 with offset, whole seconds. */
  created_at: z.string(),
  /** Empty until the script started. */
  started_at: z.string(),
  finished_at: z.string().nullable(),
  success: z.boolean().nullable(),
  return_code: z.number().int().nullable(),
});
export type HostRunSummary = z.infer<typeof hostRunSummary>;

/** A run as host applications read it: the union of the fields of both versions of the original. */
export const hostRun = hostRunSummary.extend({
  context_data: anyJson.nullable(),
  output: z.string().nullable(),
});
export type HostRun = z.infer<typeof hostRun>;

export const getRunResponse = z.object({ script: hostRun });

/** `GET /tasks/<dtable_uuid>/<script_name>/logs/` */
export const taskLogsResponse = z.object({ count: z.number().int(), task_logs: z.array(hostRun) });
export type TaskLogsResponse = z.infer<typeof taskLogsResponse>;

/** `GET /tasks/<dtable_uuid>/<script_name>/logs/<id>/` */
export const taskLogResponse = z.object({ task_log: hostRun });
export type TaskLogResponse = z.infer<typeof taskLogResponse>;

/** `GET /scripts-running-count/` */
export const runningCountResponse = z.object({ count: z.number().int() });
export type RunningCountResponse = z.infer<typeof runningCountResponse>;

/** `GET /admin/statistics/scripts-running/by-user|by-org|by-base/`; each result has the one name that fits. */
export const monthlyStatisticsResponse = z.object({
  count: z.number().int(),
  /** `YYYY-MM` */
  month: z.string(),
  results: z.array(
    z.object({
      username: z.string().optional(),
      org_id: z.number().int().optional(),
      base_uuid: z.string().optional(),
      total_run_count: z.number().int(),
      /** Whole seconds. */
      total_run_time: z.number().int(),
    }),
  ),
});
export type MonthlyStatisticsResponse = {
  count: number;
  month: string;
  results: Record<string, string | number>[];
};

/** `GET /admin/runs/` */
export const adminRunsResponse = z.object({ runs: z.array(hostRunSummary), total_count: z.number().int() });
export type AdminRunsResponse = z.infer<typeof adminRunsResponse>;

/** `GET /admin/statistics/by-base/` (results with `base_uuid`) and `…/by-day/` (with `date`). */
export const runStatisticsResponse = z.object({
  results: z.array(
    z.object({
      base_uuid: z.string().optional(),
      date: z.string().optional(),
      number_of_runs: z.number().int(),
      successful_runs: z.number().int(),
      unsuccessful_runs: z.number().int(),
      /** Whole seconds. */
      total_run_time: z.number().int(),
      triggered_manually: z.number().int(),
      triggered_by_automation_rule: z.number().int(),
    }),
  ),
  total_count: z.number().int(),
});
export type RunStatisticsResponse = {
  results: Record<string, string | number>[];
  total_count: number;
};

/** What a host application answers to `GET /api/v2.1/scripts-running-limit/?username=…|org_id=…`. */
export const runningLimitResponse = z.object({ scripts_running_limit: integer(-1) });
export type RunningLimitResponse = z.infer<typeof runningLimitResponse>;

/** `POST /api/v2.1/scripts-exceeded-notifications/` of a host application. */
export const exceededNotification = z.union([
  z.object({ org_ids: z.array(z.number().int()) }),
  z.object({ owners: z.array(z.string()) }),
]);
export type ExceededNotification = z.infer<typeof exceededNotification>;

/** What a host application answers to `GET /api/v2.1/dtable/<uuid>/run-script/<name>/task/file/`. */
export const scriptFileResponse = z.object({
  script_url: z.string().min(1).max(4096),
  temp_api_token: z.string().nullish(),
});
export type ScriptFileResponse = z.infer<typeof scriptFileResponse>;

/** Largest body of a request by a host application, in bytes. Larger is refused with 413. */
export const maxRequestBytes = 5 * 1024 * 1024;
