/**
 * The host application as the scheduler asks it: where a script is and with which token it may call back, how many
 * runs somebody may have in a month, and the news that they were too many. Says whether a refusal is final or may
 * pass; what to do about it is the caller's to decide.
 */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import axios, { type AxiosInstance } from 'axios';
import { runningLimitResponse, scriptFileResponse, type ExceededNotification } from '@stadion/contracts';
import { messageOf } from '@stadion/service-kit';
import type { Payer } from './tasks/run-statistics.js';

export interface ScriptLocation {
  scriptUrl: string;
  apiToken: string | null;
}

export class HostRefusal extends Error {
  constructor(
    /** Fit for the script's owner. */
    message: string,
    /** True when asking again may help: the host application is away or overloaded. */
    readonly passing: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'HostRefusal';
  }
}

export interface HostClient {
  /** Rejects with `HostRefusal`. */
  locateScript(baseUuid: string, scriptName: string, signal?: AbortSignal): Promise<ScriptLocation>;
}

export interface HostLimits {
  /** Runs allowed in a month; -1 is no limit. Rejects with `HostRefusal`. */
  monthlyLimit(payer: Payer): Promise<number>;
  /** Tells who had a run refused for the first time in a month. Rejects with `HostRefusal`. */
  tellExceeded(payers: readonly Payer[], signal?: AbortSignal): Promise<void>;
}

interface HostAddress {
  hostUrl: string;
  authToken: string;
  timeoutMs?: number;
}

export function createHostClient(options: HostAddress): HostClient {
  const http = httpTo(options, 30_000);
  return {
    async locateScript(baseUuid, scriptName, signal) {
      const base = encodeURIComponent(baseUuid);
      const path = `/api/v2.1/dtable/${base}/run-script/${encodeURIComponent(scriptName)}/task/file/`;
      const response = await http.get<unknown>(path, signal ? { signal } : {}).catch(unreachable);
      if (response.status !== 200) {
        const what = response.status === 404 ? 'knows no such script' : 'refused to hand out the script';
        throw refusalOf(response.status, what);
      }
      const parsed = scriptFileResponse.safeParse(response.data);
      if (!parsed.success) {
        throw new HostRefusal('The host application did not say where the script is.', false, {
          cause: messageOf(parsed.error),
        });
      }
      return { scriptUrl: parsed.data.script_url, apiToken: parsed.data.temp_api_token ?? null };
    },
  };
}

/** Its requests are short: a host application waits for an answer of ours while we ask for the limit. */
export function createHostLimits(options: HostAddress): HostLimits {
  const http = httpTo(options, 5_000);
  return {
    async monthlyLimit(payer) {
      const params = 'orgId' in payer ? { org_id: payer.orgId } : { username: payer.owner };
      const response = await http
        .get<unknown>('/api/v2.1/scripts-running-limit/', { params })
        .catch(unreachable);
      if (response.status !== 200) throw refusalOf(response.status, 'did not tell the limit of runs');
      const parsed = runningLimitResponse.safeParse(response.data);
      if (!parsed.success) {
        throw new HostRefusal('The host application named a limit of runs that is no number.', false, {
          cause: messageOf(parsed.error),
        });
      }
      return parsed.data.scripts_running_limit;
    },

    async tellExceeded(payers, signal) {
      const orgIds = payers.flatMap((payer) => ('orgId' in payer ? [payer.orgId] : []));
      const owners = payers.flatMap((payer) => ('owner' in payer ? [payer.owner] : []));
      const notifications: ExceededNotification[] = [];
      if (orgIds.length > 0) notifications.push({ org_ids: orgIds });
      if (owners.length > 0) notifications.push({ owners });
      for (const notification of notifications) {
        const response = await http
          .post('/api/v2.1/scripts-exceeded-notifications/', notification, signal ? { signal } : {})
          .catch(unreachable);
        if (response.status < 200 || response.status > 299) {
          throw refusalOf(response.status, 'did not take the notification');
        }
      }
    },
  };
}

function httpTo(options: HostAddress, usualTimeoutMs: number): AxiosInstance {
  return axios.create({
    baseURL: options.hostUrl,
    timeout: options.timeoutMs ?? usualTimeoutMs,
    headers: { Authorization: `Token ${options.authToken}` },
    httpAgent: new HttpAgent({ keepAlive: true }),
    httpsAgent: new HttpsAgent({ keepAlive: true }),
    maxContentLength: 1024 * 1024,
    maxRedirects: 0,
    proxy: false,
    validateStatus: () => true,
  });
}

function unreachable(error: unknown): never {
  throw new HostRefusal('The host application could not be reached.', true, { cause: error });
}

function refusalOf(status: number, what: string): HostRefusal {
  return new HostRefusal(
    `The host application ${what} (status ${status}).`,
    status >= 500 || status === 429 || status === 408,
  );
}
