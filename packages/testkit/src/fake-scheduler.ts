/**
 * A scheduler as a starter sees it: signs dispatches, records what is reported to it, and can be told to be away,
 * to refuse or to hang. It checks run tokens the way the real one does: the token belongs to one attempt.
 */
import { randomUUID } from 'node:crypto';
import {
  type DispatchRequest,
  type ResultReport,
  resultReport,
  type RunningReport,
  type StarterStatus,
} from '@stadion/contracts';
import { credentialOf, deriveKey, signToken } from '@stadion/service-kit';
import { eventually } from './eventually.js';
import { type LoopbackServer, readBody, sendJson, startLoopbackServer } from './loopback-server.js';

/** `hang` keeps the connection open and never answers; `hang_up` ends it without an answer. */
export type SchedulerMood =
  'accept' | 'hang' | 'hang_up' | { status: number; headers?: Record<string, string> };

export interface FakeScheduler extends LoopbackServer {
  /** How results are answered; `accept` at first. */
  mood: SchedulerMood;
  /** How running reports are answered; `accept` at first. */
  runningMood: SchedulerMood;
  /** Acknowledged results, oldest first. */
  results: (ResultReport & { attemptId: string })[];
  running: (RunningReport & { attemptId: string })[];
  heartbeats: StarterStatus[];
  /** Every time a result was posted, acknowledged or not. */
  posts: number;
  /** A dispatch of a new attempt. */
  dispatchOf(scriptUrl: string | null, more?: Partial<DispatchRequest>): DispatchRequest;
  /** `Authorization` of a dispatch of this attempt. */
  authorize(attemptId: string): string;
  /** Sends a dispatch to a starter. */
  dispatch(
    starterUrl: string,
    request: DispatchRequest,
  ): Promise<{ status: number; body: string; headers: Headers }>;
  statusOf(starterUrl: string): Promise<StarterStatus>;
  /** Waits for the acknowledged result of an attempt. */
  resultOf(attemptId: string, timeoutMs?: number): Promise<ResultReport>;
}

let nextTaskId = 1;

/** `secret`: what the starter derives its key from too. A `port` lets one come back where another was. */
export async function fakeScheduler(secret: string, port = 0): Promise<FakeScheduler> {
  const key = deriveKey(secret, 'starter');
  const attemptByToken = new Map<string, string>();
  const results: FakeScheduler['results'] = [];
  const running: FakeScheduler['running'] = [];
  const heartbeats: StarterStatus[] = [];

  const server = await startLoopbackServer(async (request, response) => {
    const body = await readBody(request);
    const token = credentialOf(request.headers.authorization) ?? '';
    if (request.url === '/v1/starters/heartbeat') {
      heartbeats.push(JSON.parse(body.toString()) as StarterStatus);
      return sendJson(response, 200, { success: true });
    }
    const isResult = request.url === '/script-result/';
    if (isResult) fake.posts += 1;
    const mood = isResult ? fake.mood : fake.runningMood;
    if (mood === 'hang') return;
    if (mood === 'hang_up') return void response.destroy();
    if (mood !== 'accept') return sendJson(response, mood.status, { error_msg: 'told to' }, mood.headers);
    const attemptId = attemptByToken.get(token);
    if (!attemptId) return sendJson(response, 401, { error_msg: 'The token is not valid.' });
    const report: unknown = JSON.parse(body.toString('utf8'));
    if (isResult) results.push({ ...resultReport.parse(report), attemptId });
    else running.push({ ...(report as RunningReport), attemptId });
    sendJson(response, 200, { success: true });
  }, port);

  const bearer = (subject: string) =>
    `Bearer ${signToken(key, { audience: 'starter', subject, expiresInS: 300 })}`;

  const fake: FakeScheduler = {
    ...server,
    mood: 'accept',
    runningMood: 'accept',
    results,
    running,
    heartbeats,
    posts: 0,
    dispatchOf(scriptUrl, more = {}) {
      const request: DispatchRequest = {
        script_id: nextTaskId++,
        script_url: scriptUrl,
        env: {},
        context_data: null,
        attempt_id: randomUUID(),
        run_token: `run-token-${randomUUID()}`,
        ...more,
      };
      attemptByToken.set(request.run_token, request.attempt_id);
      return request;
    },
    authorize: (attemptId) => bearer(`attempt:${attemptId}`),
    async dispatch(starterUrl, request) {
      const response = await fetch(`${starterUrl}/function/run-python`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Authorization: fake.authorize(request.attempt_id) },
        body: JSON.stringify(request),
      });
      return { status: response.status, body: await response.text(), headers: response.headers };
    },
    async statusOf(starterUrl) {
      const response = await fetch(`${starterUrl}/v1/starter`, {
        headers: { Authorization: bearer('scheduler') },
      });
      if (response.status !== 200) throw new Error(`the starter answered ${response.status}`);
      return (await response.json()) as StarterStatus;
    },
    resultOf: (attemptId, timeoutMs = 8_000) =>
      eventually(() => results.find((result) => result.attemptId === attemptId), { timeoutMs }),
  };
  return fake;
}
