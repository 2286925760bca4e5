/**
 * The host application as the scheduler asks it: where a script is, and with which token it may call back. Says
 * whether a refusal is final or may pass; what to do about it is the dispatcher's to decide.
 */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import axios, { type AxiosInstance } from 'axios';
import { scriptFileResponse } from '@stadion/contracts';
import { messageOf } from '@stadion/service-kit';

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

export function createHostClient(options: {
  hostUrl: string;
  authToken: string;
  timeoutMs?: number;
}): HostClient {
  const http: AxiosInstance = axios.create({
    baseURL: options.hostUrl,
    timeout: options.timeoutMs ?? 30_000,
    headers: { Authorization: `Token ${options.authToken}` },
    httpAgent: new HttpAgent({ keepAlive: true }),
    httpsAgent: new HttpsAgent({ keepAlive: true }),
    maxContentLength: 1024 * 1024,
    maxRedirects: 0,
    proxy: false,
    validateStatus: () => true,
  });
  return {
    async locateScript(baseUuid, scriptName, signal) {
      const base = encodeURIComponent(baseUuid);
      const path = `/api/v2.1/dtable/${base}/run-script/${encodeURIComponent(scriptName)}/task/file/`;
      const response = await http.get<unknown>(path, signal ? { signal } : {}).catch((error: unknown) => {
        throw new HostRefusal('The host application could not be reached.', true, { cause: error });
      });
      if (response.status !== 200) {
        const passing = response.status >= 500 || response.status === 429;
        const what = response.status === 404 ? 'knows no such script' : 'refused to hand out the script';
        throw new HostRefusal(`The host application ${what} (status ${response.status}).`, passing);
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
