/**
 * The routes that host applications call; runs here, logs and statistics in their own files. Only these files know the
 * host API's field names; actions get and give the glossary's words.
 */
import { type Json, maxRequestBytes, submitRunRequest, type SubmitRunRequest } from '@stadion/contracts';
import { parseWith, Refusal, type Route } from '@stadion/service-kit';
import type { Request } from 'express';
import { isSameBase } from '../tasks/run-history.js';
import type { RequestedLimit } from '../tasks/submit-task.js';
import type { NewTask, TaskRecord } from '../tasks/task.js';
import { hostTime, sendHostJson } from './host-format.js';
import { hostRunOf } from './host-run.js';
import { logRoutes, type LogActions } from './log-routes.js';
import { statisticsRoutes, type StatisticsActions } from './statistics-routes.js';

export interface HostActions extends LogActions, StatisticsActions {
  /** Records a task and answers its id; the run itself comes later. Throws `Refusal` when it is over its limit. */
  submitTask(task: NewTask, limit: RequestedLimit): Promise<number>;
  findTask(taskId: number): Promise<TaskRecord | undefined>;
}

export function hostRoutes(actions: HostActions, options: { timeZone: string }): Route[] {
  const formatTime = hostTime(options.timeZone);
  return [
    {
      method: 'get',
      path: '/ping/',
      permission: 'public',
      handler: ({ response }) => void response.type('text/html').send('Pong'),
    },
    {
      method: 'post',
      path: '/run-script/',
      permission: 'host',
      bodyLimit: maxRequestBytes,
      refusals: 'text',
      handler: async ({ body, response }) => {
        if (typeof body !== 'object' || body === null || Array.isArray(body)) {
          throw new Refusal('bad_request', 'Bad request: the body must be a JSON object.');
        }
        const run = parseWith(submitRunRequest, body);
        refuseSwollenContext(run.context_data ?? null);
        const taskId = await actions.submitTask(taskOf(run), limitOf(run.scripts_running_limit));
        sendHostJson(response, { script_id: taskId });
      },
    },
    {
      method: 'get',
      path: '/run-script/:id/',
      permission: 'host',
      refusals: 'text',
      handler: async ({ request, response }) => {
        const taskId = taskIdOf(request.params['id']);
        const baseUuid = queryText(request, 'dtable_uuid');
        const scriptName = queryText(request, 'script_name');
        const task = taskId === undefined ? undefined : await actions.findTask(taskId);
        if (!task) throw new Refusal('not_found', 'Not found: there is no run with this id.');
        if (!isSameBase(task.baseUuid, baseUuid)) {
          throw new Refusal('bad_request', 'Bad request: dtable_uuid is not the one of this run.');
        }
        if (task.scriptName !== scriptName) {
          throw new Refusal('bad_request', 'Bad request: script_name is not the one of this run.');
        }
        sendHostJson(response, { script: hostRunOf(task, formatTime) });
      },
    },
    ...logRoutes(actions, options),
    ...statisticsRoutes(actions, options),
  ];
}

/** Absent and given as nothing are not the same: who gives 0 or null wants us to ask. */
function limitOf(limit: SubmitRunRequest['scripts_running_limit']): RequestedLimit {
  if (limit === undefined || limit === -1) return 'none';
  return limit || 'ask';
}

function taskOf(request: SubmitRunRequest): NewTask {
  const orgId = request.org_id ?? -1;
  return {
    owner: request.owner,
    orgId: orgId === -1 ? null : orgId,
    baseUuid: request.dtable_uuid,
    scriptName: request.script_name,
    trigger: request.operate_from ?? 'manualy',
    scriptUrl: request.script_url || null,
    apiToken: request.temp_api_token || null,
    context: request.context_data ?? null,
  };
}

/** Undefined for a number that no task can have; throws for what is no number. */
function taskIdOf(text: unknown): number | undefined {
  if (typeof text !== 'string' || !/^\d+$/.test(text)) {
    throw new Refusal('bad_request', 'Bad request: the run id must be a number.', { field: 'id' });
  }
  const id = Number(text);
  return Number.isSafeInteger(id) ? id : undefined;
}

function queryText(request: Request, name: string): string {
  const value: unknown = request.query[name];
  if (typeof value !== 'string' || value === '') {
    const problem = Array.isArray(value) ? 'must be given once' : 'is required in the query';
    throw new Refusal('invalid_field', `Parameters invalid: ${name} ${problem}`, { field: name });
  }
  return value;
}

/** Numbers like 1e20 are written out in full when they are stored, so that a small body may become a large statement. */
function refuseSwollenContext(context: Json): void {
  if (Buffer.byteLength(JSON.stringify(context)) > maxRequestBytes) {
    throw new Refusal('too_large', `context_data takes more than ${maxRequestBytes} bytes to store.`, {
      field: 'context_data',
    });
  }
}
