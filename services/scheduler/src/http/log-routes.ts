/** The log of one script's runs, as host applications page through it. */
import type { TaskLogResponse, TaskLogsResponse } from '@stadion/contracts';
import type { Route } from '@stadion/service-kit';
import type { Request } from 'express';
import { isSameBase, type Listed, type Page, type ScriptRuns } from '../tasks/run-history.js';
import type { TaskRecord } from '../tasks/task.js';
import { hostTime, sendHostJson, streamHostJson } from './host-format.js';
import { HostQuery, plainWording } from './host-query.js';
import { hostRunOf } from './host-run.js';

export interface LogActions {
  findTask(taskId: number): Promise<TaskRecord | undefined>;
  listRunsOfScript(script: ScriptRuns, page: Page): Promise<Listed<number>>;
}

/** Each entry carries its whole output, up to a million characters. */
const perPage = { usual: 20, most: 100 };

export function logRoutes(actions: LogActions, options: { timeZone: string }): Route[] {
  const formatTime = hostTime(options.timeZone);

  /** One at a time; one that was deleted meanwhile is left out. */
  async function* logsOf(ids: readonly number[]): AsyncGenerator<TaskLogsResponse['task_logs'][number]> {
    for (const id of ids) {
      const task = await actions.findTask(id);
      if (task) yield hostRunOf(task, formatTime);
    }
  }

  return [
    {
      method: 'get',
      path: '/tasks/:dtable_uuid/:script_name/logs/',
      permission: 'host',
      refusals: 'text',
      handler: async ({ request, response }) => {
        const query = new HostQuery(request, plainWording);
        const page = query.page(perPage);
        const newestFirst = isNewestFirst(query);
        const { count, items } = await actions.listRunsOfScript({ ...scriptOf(request), newestFirst }, page);
        await streamHostJson(response, { count }, 'task_logs', logsOf(items));
      },
    },
    {
      method: 'get',
      path: '/tasks/:dtable_uuid/:script_name/logs/:id/',
      permission: 'host',
      refusals: 'text',
      handler: async ({ request, response }) => {
        const { baseUuid, scriptName } = scriptOf(request);
        // What is no number is the id of no log.
        const id = String(request.params['id']);
        const task = /^\d{1,16}$/.test(id) ? await actions.findTask(Number(id)) : undefined;
        if (!task || !isSameBase(task.baseUuid, baseUuid) || task.scriptName !== scriptName) {
          return sendHostJson(response, { error_msg: 'Script log not found' }, 404);
        }
        sendHostJson(response, { task_log: hostRunOf(task, formatTime) } satisfies TaskLogResponse);
      },
    },
  ];
}

function scriptOf(request: Request): { baseUuid: string; scriptName: string } {
  return {
    baseUuid: String(request.params['dtable_uuid']),
    scriptName: String(request.params['script_name']),
  };
}

/** The parameter is really called `org_by`; its complaint speaks of `order_by`. */
function isNewestFirst(query: HostQuery): boolean {
  const order = query.text('org_by');
  if (order !== undefined && order !== 'id' && order !== '-id') throw query.invalid('order_by');
  return order !== 'id';
}
