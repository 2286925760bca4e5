/** The scheduler as the starter calls it: two reports of an attempt, and the heartbeat. One try each. */
import type { RunningReport, StarterStatus } from '@stadion/contracts';
import { codeOf, messageOf, signToken, type SigningKey } from '@stadion/service-kit';
import type { SpooledResult } from '../exchange/exchange.js';
import { connectTo } from './connect-to.js';
import { type Delivery, deliveryOf } from './delivery.js';

export interface SchedulerClient {
  /** Never rejects. */
  postResult(result: SpooledResult, signal: AbortSignal): Promise<Delivery>;
  /** Rejects unless the scheduler took it. */
  postRunning(runToken: string, report: RunningReport, signal: AbortSignal): Promise<void>;
  /** Rejects unless the scheduler took it. */
  postHeartbeat(status: StarterStatus, signal: AbortSignal): Promise<void>;
  close(): void;
}

export function createSchedulerClient(schedulerUrl: string, key: SigningKey): SchedulerClient {
  const { http, close } = connectTo(schedulerUrl);

  async function post(path: string, token: string, body: unknown, signal: AbortSignal, timeoutMs?: number) {
    return await http.post<string>(path, JSON.stringify(body), {
      signal,
      ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
      headers: { Authorization: `Bearer ${token}` },
    });
  }

  function expectOk(status: number): void {
    if (status !== 200) throw new Error(`the scheduler answered ${status}`);
  }

  return {
    async postResult({ runToken, report }, signal) {
      try {
        const response = await post('/script-result/', runToken, report, signal);
        return deliveryOf(response.status, response.headers['retry-after']);
      } catch (error) {
        return { kind: 'retry', reason: codeOf(error) ?? messageOf(error) };
      }
    },
    async postRunning(runToken, report, signal) {
      expectOk((await post('/script-running-callback/', runToken, report, signal, 5_000)).status);
    },
    async postHeartbeat(status, signal) {
      const token = signToken(key, {
        audience: 'scheduler',
        subject: `starter:${status.starter_id}`,
        expiresInS: 300,
      });
      expectOk((await post('/v1/starters/heartbeat', token, status, signal, 4_000)).status);
    },
    close,
  };
}
