/** Records tasks and reads them back: how a `TaskRecord` looks as a row. */
import type { Knex } from 'knex';
import type { AttemptCause, Json, TaskState } from '@stadion/contracts';
import type { RunSummary } from '../tasks/run-history.js';
import { fairKeyOf, type NewTask, type TaskRecord } from '../tasks/task.js';
import type { Database } from './database.js';
import { fromDatabaseTime, type Dialect } from './dialect.js';

export interface TaskRow {
  id: number;
  type: 'script';
  state: TaskState;
  priority: number;
  owner: string;
  org_id: number | null;
  base_uuid: string;
  script_name: string;
  triggered_by: string;
  script_url: string | null;
  api_token: string | null;
  context: string | null;
  created_at: string;
  assigned_at: string | null;
  started_at: string | null;
  finished_at: string | null;
  attempt_id: string | null;
  attempt_number: number;
  starter_id: string | null;
  return_code: number | null;
  cause: AttemptCause | null;
  output?: string | null;
}

export type SummaryRow = Omit<TaskRow, 'context' | 'output' | 'script_url' | 'api_token'>;

export async function submitTask({ write, dialect }: Database, task: NewTask): Promise<number> {
  return write((knex) => insertTask(knex, dialect, task));
}

export async function insertTask(knex: Knex, dialect: Dialect, task: NewTask): Promise<number> {
  const context = task.context ?? null;
  const row = {
    type: 'script',
    state: 'queued',
    priority: task.priority ?? 0,
    fair_key: fairKeyOf(task),
    owner: task.owner,
    org_id: task.orgId,
    base_uuid: task.baseUuid,
    script_name: task.scriptName,
    triggered_by: task.trigger,
    script_url: task.scriptUrl ?? null,
    api_token: task.apiToken ?? null,
    context: context === null ? null : JSON.stringify(context),
    created_at: dialect.now(),
    attempt_number: 0,
  };
  const [id] = await knex('tasks').insert(row);
  return id as number;
}

export async function getTask({ read }: Database, taskId: number): Promise<TaskRecord | undefined> {
  if (!isTaskId(taskId)) return undefined;
  const row = await read((knex) =>
    knex('tasks')
      .leftJoin('task_outputs', 'task_outputs.task_id', 'tasks.id')
      .where('tasks.id', taskId)
      .first<TaskRow | undefined>('tasks.*', 'task_outputs.output'),
  );
  return row && taskOf(row);
}

/** Ids are the database's positive integers; a number beyond what JavaScript counts exactly is none we ever gave. */
export function isTaskId(taskId: number): boolean {
  return Number.isSafeInteger(taskId) && taskId > 0;
}

export function taskOf(row: TaskRow): TaskRecord {
  return {
    ...summaryOf(row),
    scriptUrl: row.script_url,
    apiToken: row.api_token,
    context: row.context === null ? null : (JSON.parse(row.context) as Json),
    output: row.output ?? null,
  };
}

export function summaryOf(row: SummaryRow): RunSummary {
  return {
    id: row.id,
    type: row.type,
    state: row.state,
    priority: row.priority,
    owner: row.owner,
    orgId: row.org_id,
    baseUuid: row.base_uuid,
    scriptName: row.script_name,
    trigger: row.triggered_by,
    createdAt: fromDatabaseTime(row.created_at),
    assignedAt: momentOf(row.assigned_at),
    startedAt: momentOf(row.started_at),
    finishedAt: momentOf(row.finished_at),
    attemptId: row.attempt_id,
    attemptNumber: row.attempt_number,
    starterId: row.starter_id,
    returnCode: row.return_code,
    cause: row.cause,
  };
}

function momentOf(text: string | null): Date | null {
  return text === null ? null : fromDatabaseTime(text);
}
