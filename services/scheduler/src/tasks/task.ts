/**
 * A task as the scheduler knows it, in the glossary's words. The names that host applications use for the same
 * things (`dtable_uuid`, `operate_from`, …) are translated in `http/` and go no further.
 */
import type { AttemptCause, Json, TaskState } from '@stadion/contracts';
import type { Payer } from './run-statistics.js';

export interface TaskRecord {
  id: number;
  type: 'script';
  state: TaskState;
  /** Higher goes first. */
  priority: number;
  owner: string;
  /** null: belongs to no organisation. */
  orgId: number | null;
  baseUuid: string;
  scriptName: string;
  /** What asked for the run, as the host application put it: 'manualy', 'automation-rule', … */
  trigger: string;
  /** null: to be asked of the host application before the attempt is pushed. */
  scriptUrl: string | null;
  /** Secret of the run; gone (null) once the task is final. */
  apiToken: string | null;
  context: Json;
  createdAt: Date;
  assignedAt: Date | null;
  /** When the script started; its time limit counts from here. null: it never did, or nobody told. */
  startedAt: Date | null;
  finishedAt: Date | null;
  /** The current or last attempt; null while none was made, and again after one was released. */
  attemptId: string | null;
  /** How many attempts were made, released ones included. */
  attemptNumber: number;
  starterId: string | null;
  returnCode: number | null;
  cause: AttemptCause | null;
  output: string | null;
}

/** What is needed to record a task; the rest is the database's to fill in. */
export type NewTask = Pick<TaskRecord, 'owner' | 'orgId' | 'baseUuid' | 'scriptName' | 'trigger'> &
  Partial<Pick<TaskRecord, 'priority' | 'scriptUrl' | 'apiToken' | 'context'>>;

/** Owners with this in their name are groups: shared by many, and so under no user's limit. */
export const groupOwnerMark = '@seafile_group';

/** The `trigger` of runs that nobody asked for by hand. */
export const automationTrigger = 'automation-rule';

/** Whom a task is charged to when runs are shared out: its organisation, else its owner. */
export function fairKeyOf(task: Pick<TaskRecord, 'owner' | 'orgId'>): string {
  return task.orgId === null ? `owner:${task.owner}` : `org:${task.orgId}`;
}

/** Who answers for a task's cost in a month; nobody for a group without an organisation. */
export function payerOf({ owner, orgId }: Pick<TaskRecord, 'owner' | 'orgId'>): Payer | undefined {
  if (orgId !== null) return { orgId };
  return owner.includes(groupOwnerMark) ? undefined : { owner };
}

export function fairKeyOfPayer(payer: Payer): string {
  return 'orgId' in payer
    ? fairKeyOf({ orgId: payer.orgId, owner: '' })
    : fairKeyOf({ orgId: null, ...payer });
}

/** The payer whose fair key this is. */
export function payerOfFairKey(fairKey: string): Payer {
  return fairKey.startsWith('org:')
    ? { orgId: Number(fairKey.slice('org:'.length)) }
    : { owner: fairKey.slice('owner:'.length) };
}
