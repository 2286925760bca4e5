/**
 * A starter as the scheduler calls it. A push has four outcomes: the starter has the attempt; it certainly has not
 * (so the task may go elsewhere); it can never take it; or nobody knows, and the next heartbeat will tell.
 */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import axios, { AxiosError } from 'axios';
import { starterStatus, type DispatchRequest, type StarterStatus } from '@stadion/contracts';
import { codeOf, messageOf, signToken, type SigningKey } from '@stadion/service-kit';

export type PushOutcome =
  | { kind: 'accepted' }
  | { kind: 'refused'; retryAfterMs: number; reason: string }
  /** This very run cannot be taken, by this starter or another: trying again does not help. */
  | { kind: 'invalid'; reason: string }
  | { kind: 'unknown'; reason: string };

export interface StarterClient {
  /** Never rejects. */
  push(starterUrl: string, request: DispatchRequest): Promise<PushOutcome>;
  /** Rejects when the starter does not answer, or answers something else than a status. */
  status(starterUrl: string): Promise<StarterStatus>;
}

/** The connection was never made, so the starter cannot have heard of the attempt. */
const neverSent = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

export function createStarterClient(options: {
  key: SigningKey;
  version: string;
  timeoutMs?: number;
}): StarterClient {
  const http = axios.create({
    timeout: options.timeoutMs ?? 10_000,
    headers: { 'User-Agent': `python-scheduler/${options.version}` },
    httpAgent: new HttpAgent({ keepAlive: true, maxSockets: 64 }),
    httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets: 64 }),
    maxBodyLength: Infinity,
    maxContentLength: 8 * 1024 * 1024,
    maxRedirects: 0,
    proxy: false,
    validateStatus: () => true,
  });
  const authorization = (subject: string) => ({
    Authorization: `Bearer ${signToken(options.key, { audience: 'starter', subject, expiresInS: 300 })}`,
  });

  return {
    async push(starterUrl, request) {
      try {
        const response = await http.post<unknown>(`${starterUrl}/function/run-python`, request, {
          headers: authorization(`attempt:${request.attempt_id}`),
        });
        return outcomeOf(response.status, response.headers['retry-after']);
      } catch (error) {
        return failedPush(error);
      }
    },
    async status(starterUrl) {
      const response = await http.get<unknown>(`${starterUrl}/v1/starter`, {
        headers: authorization('scheduler'),
        timeout: 4_000,
      });
      if (response.status !== 200) {
        const advice = [401, 403].includes(response.status) ? '; do both have the same secret?' : '';
        throw new Error(`the starter answered with status ${response.status}${advice}`);
      }
      return starterStatus.parse(response.data);
    },
  };
}

/** What is known of a push that got no answer. */
export function failedPush(error: unknown): PushOutcome {
  const reason = messageOf(error);
  const code = error instanceof AxiosError ? (error.code ?? codeOf(error.cause)) : codeOf(error);
  return code && neverSent.has(code)
    ? { kind: 'refused', retryAfterMs: 2_000, reason }
    : { kind: 'unknown', reason };
}

function outcomeOf(status: number, retryAfter: unknown): PushOutcome {
  if (status === 200) return { kind: 'accepted' };
  const seconds = Number(retryAfter);
  if (status === 429 || status === 503) {
    const retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 60) * 1_000 : 1_000;
    return { kind: 'refused', retryAfterMs, reason: 'the starter is full or stopping' };
  }
  if ([400, 413, 422].includes(status)) {
    return { kind: 'invalid', reason: `the starter answered with status ${status}` };
  }
  if (status >= 400 && status < 500) {
    const advice = [401, 403].includes(status) ? '; do both have the same secret?' : '';
    return {
      kind: 'refused',
      retryAfterMs: 10_000,
      reason: `the starter answered with status ${status}${advice}`,
    };
  }
  return { kind: 'unknown', reason: `the starter answered with status ${status}` };
}
