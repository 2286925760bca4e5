/** The routes that starters call: the two reports of an attempt, and the heartbeat that registers a starter. */
import {
  maxResultBytes,
  originalResultAnswer,
  resultReport,
  runningReport,
  starterStatus,
  type ResultReport,
  type StarterStatus,
} from '@stadion/contracts';
import { parseWith, Refusal, type Route } from '@stadion/service-kit';
import type { z } from 'zod';
import type { Outcome } from '../tasks/state-machine.js';
import type { OriginalReportOutcome } from '../starters/original-starter.js';
import { originalStarterSubject, parseRunSubject, type RunSubject } from '../tokens.js';
import { sendHostJson } from './host-format.js';

export interface StarterActions {
  /** `startedAt` undefined: now. */
  reportRunning(run: RunSubject, startedAt: Date | undefined): Promise<Outcome>;
  reportResult(run: RunSubject, report: ResultReport): Promise<Outcome>;
  /** A result that came from the original starter's address, without a token. */
  reportOriginalResult(report: ResultReport): Promise<OriginalReportOutcome>;
  recordHeartbeat(status: StarterStatus, url: string): Promise<void>;
}

export function starterRoutes(actions: StarterActions): Route[] {
  return [
    {
      method: 'post',
      path: '/script-running-callback/',
      permission: 'run',
      handler: async ({ subject, body, response }) => {
        const report = parseWith(runningReport, body, 'Bad Request');
        const run = runOf(subject, report.script_id);
        const startedAt = report.started_at == null ? undefined : new Date(report.started_at * 1_000);
        answerMove(await actions.reportRunning(run, startedAt), response);
      },
    },
    {
      method: 'post',
      path: '/script-result/',
      permission: 'result',
      bodyLimit: maxResultBytes,
      handler: async ({ subject, body, response }) => {
        const report = parseWith(resultReport, body, 'Bad Request');
        if (subject === originalStarterSubject) {
          if ((await actions.reportOriginalResult(report)) === 'not_its_own') {
            throw new Refusal('unauthenticated', 'A token is needed: Authorization: Bearer <token>.');
          }
          // Whatever came of it, as the original answers.
          response.type('text/html').send(originalResultAnswer);
          return;
        }
        answerMove(await actions.reportResult(runOf(subject, report.script_id), report), response);
      },
    },
    {
      method: 'post',
      path: '/v1/starters/heartbeat',
      permission: 'starter',
      bodyLimit: 8 * 1024 * 1024,
      handler: async ({ subject, body, response }) => {
        const status = parseWith(starterStatus, body);
        if (!status.url)
          throw new Refusal('invalid_field', 'Parameters invalid: url is required', { field: 'url' });
        if (subject !== `starter:${status.starter_id}`) {
          throw new Refusal('forbidden', 'The token is for another starter.', { field: 'starter_id' });
        }
        await actions.recordHeartbeat(status, status.url);
        response.json({ success: true });
      },
    },
  ];
}

function runOf(subject: string, taskId: z.infer<typeof resultReport>['script_id']): RunSubject {
  const run = parseRunSubject(subject);
  if (run.taskId !== taskId) {
    throw new Refusal('forbidden', 'The token is for another run.', { field: 'script_id' });
  }
  return run;
}

/** A late or repeated report is acknowledged like the first: its sender must stop repeating it. */
function answerMove(outcome: Outcome, response: Parameters<typeof sendHostJson>[0]): void {
  if (outcome === 'unknown_task') throw new Refusal('not_found', 'Script not found');
  sendHostJson(response, { success: true });
}
