/** How a run is shown to host applications: the union of the fields that both versions of the original have. */
import { isFinal, type HostRun, type HostRunSummary, type TaskState } from '@stadion/contracts';
import type { RunSummary } from '../tasks/run-history.js';
import type { TaskRecord } from '../tasks/task.js';

export function hostRunOf(task: TaskRecord, formatTime: (time: Date) => string): HostRun {
  return {
    ...hostRunSummaryOf(task, formatTime),
    context_data: task.context,
    output: isFinal(task.state) ? (task.output ?? '') : null,
  };
}

export function hostRunSummaryOf(run: RunSummary, formatTime: (time: Date) => string): HostRunSummary {
  return {
    id: run.id,
    dtable_uuid: run.baseUuid,
    script_name: run.scriptName,
    owner: run.owner,
    org_id: run.orgId ?? -1,
    operate_from: run.trigger,
    state: hostStates[run.state],
    created_at: formatTime(run.createdAt),
    started_at: run.startedAt ? formatTime(run.startedAt) : '',
    finished_at: run.finishedAt ? formatTime(run.finishedAt) : null,
    success: isFinal(run.state) ? run.state === 'succeeded' : null,
    return_code: run.returnCode,
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
