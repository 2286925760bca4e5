/**
 * One starter of the original pipeline (version 1) behind our scheduler. It has no tokens, no attempts, no page that
 * tells what it holds, and it keeps what it was given in memory. So: `/ping/` decides whether it lives, a setting says
 * how many slots it has, and an attempt is pushed to it once at most – if the push had no answer, the attempt waits for
 * a result until it is overdue, because a second push might run the script a second time.
 */
import { createHash } from 'node:crypto';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import axios from 'axios';
import {
  causeOfOriginal,
  originalReceived,
  type OriginalDispatch,
  type ResultReport,
} from '@stadion/contracts';
import {
  messageOf,
  namedPeer,
  pause,
  type Logger,
  type NamedPeer,
  type PeriodicTask,
} from '@stadion/service-kit';
import { failedPush, type PushOutcome } from '../starter-client.js';
import { StoreUnavailableError } from '../store/errors.js';
import type { Store } from '../store/store.js';
import type { Outcome } from '../tasks/state-machine.js';
import type { RunSubject } from '../tokens.js';

export interface OriginalStarter {
  /** The same for the same address: it has no identity of its own. */
  readonly id: string;
  readonly url: string;
  readonly slots: number;
  /** Who may report without a token. */
  readonly peer: NamedPeer;
  /** Never rejects. */
  push(dispatch: OriginalDispatch): Promise<PushOutcome>;
  /** Rejects unless it answers as the original does. */
  ping(): Promise<void>;
}

export function createOriginalStarter(options: {
  url: string;
  slots: number;
  version: string;
}): OriginalStarter {
  const { url, slots } = options;
  const http = axios.create({
    baseURL: url,
    timeout: 30_000,
    headers: { 'User-Agent': `python-scheduler/${options.version}` },
    // Not kept: a connection that the other side closes in the moment it is used again would leave a push unanswered,
    // and there is no second one.
    httpAgent: new HttpAgent({ keepAlive: false }),
    httpsAgent: new HttpsAgent({ keepAlive: false }),
    maxBodyLength: Infinity,
    maxContentLength: 1024 * 1024,
    maxRedirects: 0,
    proxy: false,
    responseType: 'text',
    validateStatus: () => true,
  });
  return {
    id: idOfAddress(url),
    url,
    slots,
    peer: namedPeer(url),
    async push(dispatch) {
      try {
        const { status, data } = await http.post<string>('/function/run-python', dispatch);
        return outcomeOf(status, data);
      } catch (error) {
        return failedPush(error);
      }
    },
    async ping() {
      const { status, data } = await http.get<string>('/ping/', { timeout: 4_000 });
      if (status !== 200 || data.trim() !== 'Pong') {
        throw new Error(`it answered /ping/ with status ${status} and not with Pong`);
      }
    },
  };
}

function outcomeOf(status: number, body: string): PushOutcome {
  if (status === 200 && body.trim() === originalReceived) return { kind: 'accepted' };
  const reason = `the original starter answered with status ${status}`;
  // It answers neither of these after it has put a run into its queue.
  const certainlyNot = (status >= 400 && status < 500) || status === 503;
  return certainlyNot ? { kind: 'refused', retryAfterMs: 10_000, reason } : { kind: 'unknown', reason };
}

/** A UUID made of the address (RFC 9562, version 8). */
function idOfAddress(url: string): string {
  const hex = createHash('sha256').update(`original starter ${url}`).digest('hex');
  const variant = ((parseInt(hex[16]!, 16) & 3) | 8).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    variant + hex.slice(17, 20),
    hex.slice(20, 32),
  ].join('-');
}

/** Asks `/ping/` and keeps the starter's row fresh while it answers; the rest of the scheduler then treats it as any. */
export class WatchOriginalStarter implements PeriodicTask {
  readonly name = 'watch-original-starter';
  readonly cron = '*/5 * * * * *';
  readonly behindAfterMs = 30_000;
  #silent = false;

  constructor(
    private readonly options: {
      store: Pick<Store, 'recordStarter'>;
      starter: OriginalStarter;
      logger: Logger;
      /** Called when it was heard of: it may have free slots. */
      onHeartbeat(): void;
    },
  ) {}

  async runOnce(): Promise<Record<string, number>> {
    const { store, starter, logger, onHeartbeat } = this.options;
    try {
      await starter.ping();
    } catch (error) {
      if (!this.#silent) {
        logger.warn(
          { url: starter.url, error: messageOf(error) },
          'original starter does not answer; runs wait',
        );
      }
      this.#silent = true;
      return { silent: 1 };
    }
    if (this.#silent) logger.info({ url: starter.url }, 'original starter answers again');
    this.#silent = false;
    await store.recordStarter(
      {
        starter_id: starter.id,
        version: 'original',
        executor: 'docker',
        isolation: "the original pipeline's container; nothing else is known of it",
        slots: starter.slots,
        busy: 0,
        draining: false,
        attempts: [],
      },
      { url: starter.url, configured: true },
    );
    onHeartbeat();
    return { silent: 0 };
  }
}

/** What became of a report by the original starter. `not_its_own`: the run's attempt was given to somebody else. */
export type OriginalReportOutcome = Outcome | 'not_its_own';

/** It posts a result once and never again, so while the database is away the result is held for as long as this. */
const holdForDatabaseMs = 25_000;

export async function reportOriginalResult(
  options: {
    store: Pick<Store, 'getTask'>;
    starter: Pick<OriginalStarter, 'id'>;
    report(run: RunSubject, report: ResultReport): Promise<Outcome>;
    now?: () => number;
  },
  result: ResultReport,
): Promise<OriginalReportOutcome> {
  const now = options.now ?? Date.now;
  const receivedAt = now();
  const apply = async (): Promise<OriginalReportOutcome> => {
    const task = await options.store.getTask(result.script_id);
    if (!task) return 'unknown_task';
    if (task.starterId !== options.starter.id || task.attemptId === null) return 'not_its_own';
    const ranS = result.spend_time ?? 0;
    return await options.report(
      { taskId: task.id, attemptId: task.attemptId },
      {
        ...result,
        cause: causeOfOriginal(result),
        // It never says when a script started, only how long it took.
        started_at: ranS > 0 ? Math.max(0, receivedAt / 1_000 - ranS) : null,
      },
    );
  };
  for (;;) {
    try {
      return await apply();
    } catch (error) {
      if (!(error instanceof StoreUnavailableError) || now() - receivedAt > holdForDatabaseMs) throw error;
      await pause(500, new AbortController().signal);
    }
  }
}
