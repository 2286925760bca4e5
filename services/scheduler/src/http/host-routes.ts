/**
 * The routes that host applications call. This is the only place that knows the host API's field names; actions get
 * and give the glossary's words.
 */
import {
  isFinal,
  maxRequestBytes,
  submitRunRequest,
  type HostRun,
  type SubmitRunRequest,
  type TaskState,
} from '@stadion/contracts';
import { parseWith, Refusal, type Route } from '@stadion/service-kit';
import type { Request } from 'express';
import type { NewTask, TaskRecord } from '../tasks/task.js';
import { hostTime, sendHostJson } from './host-format.js';

export interface HostActions {
  /** Records a task and answers its id; the run itself comes later. */
  submitTask(task: NewTask): Promise<number>;
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
        const taskId = await actions.submitTask(taskOf(parseWith(submitRunRequest, body)));
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
        if (!sameBase(task.baseUuid, baseUuid)) {
          throw new Refusal('bad_request', 'Bad request: dtable_uuid is not the one of this run.');
        }
        if (task.scriptName !== scriptName) {
          throw new Refusal('bad_request', 'Bad request: script_name is not the one of this run.');
        }
        sendHostJson(response, { script: hostRunOf(task, formatTime) });
      },
    },
  ];
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

export function hostRunOf(task: TaskRecord, formatTime: (time: Date) => string): HostRun {
  const finished = isFinal(task.state);
  return {
    id: task.id,
    dtable_uuid: task.baseUuid,
    script_name: task.scriptName,
    owner: task.owner,
    org_id: task.orgId ?? -1,
    context_data: task.context,
    operate_from: task.trigger,
    state: hostStates[task.state],
    created_at: formatTime(task.createdAt),
    started_at: task.startedAt ? formatTime(task.startedAt) : '',
    finished_at: task.finishedAt ? formatTime(task.finishedAt) : null,
    success: finished ? task.state === 'succeeded' : null,
    return_code: task.returnCode,
    output: finished ? (task.output ?? '') : null,
  };
}

const hostStates = {
  queued: 'pending',
  starting: 'pending',
  running: 'running',
  succeeded: 'finished',
  failed: 'finished',
  timed_out: 'finished',
  cancelled: 'finished',
  lost: 'finished',
} as const satisfies Record<TaskState, HostRun['state']>;

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

/** The same base whether or not its UUID is written with dashes. */
function sameBase(one: string, other: string): boolean {
  const bare = (uuid: string) => uuid.replaceAll('-', '').toLowerCase();
  return one === other || bare(one) === bare(other);
}
