/**
 * The host API from a host application's side: ask for a run, read it, wait for its end. Every failure says what was
 * attempted and what the scheduler answered.
 */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import axios, { type AxiosInstance, type AxiosResponse } from 'axios';
import { getRunResponse, submitRunResponse, type HostRun, type SubmitRunRequest } from '@stadion/contracts';

export interface StadionClientOptions {
  /** The scheduler's address, e.g. `http://127.0.0.1:5055`. */
  url: string;
  /** The shared secret. */
  token: string;
  timeoutMs?: number;
}

/** A run to ask for. What is left out has the host API's defaults. */
export type RunRequest = Pick<SubmitRunRequest, 'dtable_uuid' | 'script_name' | 'owner'> &
  Partial<SubmitRunRequest>;

/** Names a run: its id, and the base and script it was asked for. */
export type RunKey = Pick<HostRun, 'id' | 'dtable_uuid' | 'script_name'>;

export class StadionError extends Error {
  constructor(
    message: string,
    /** HTTP status; undefined when there was no answer. */
    readonly status: number | undefined,
    /** Seconds after which the scheduler asks to be tried again. */
    readonly retryAfterS: number | undefined,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'StadionError';
  }
}

export class StadionClient {
  readonly #http: AxiosInstance;

  constructor(options: StadionClientOptions) {
    this.#http = axios.create({
      baseURL: options.url.replace(/\/+$/, ''),
      timeout: options.timeoutMs ?? 30_000,
      headers: { Authorization: `Token ${options.token}` },
      httpAgent: new HttpAgent({ keepAlive: true }),
      httpsAgent: new HttpsAgent({ keepAlive: true }),
      maxBodyLength: Infinity,
      proxy: false,
      validateStatus: () => true,
    });
  }

  /** Asks for a run and answers how to read it. */
  async submitRun(run: RunRequest): Promise<RunKey> {
    const response = await this.#request('ask for a run', () =>
      this.#http.post<unknown>('/run-script/', run),
    );
    const { script_id: id } = submitRunResponse.parse(response.data);
    return { id, dtable_uuid: run.dtable_uuid, script_name: run.script_name };
  }

  async getRun(run: RunKey): Promise<HostRun> {
    const params = { dtable_uuid: run.dtable_uuid, script_name: run.script_name };
    const response = await this.#request(`read run ${run.id}`, () =>
      this.#http.get<unknown>(`/run-script/${run.id}/`, { params }),
    );
    return getRunResponse.parse(response.data).script;
  }

  /** Reads the run until it has finished. Rejects with the signal's reason when that is aborted first. */
  async waitForRun(run: RunKey, options: { everyMs?: number; signal?: AbortSignal } = {}): Promise<HostRun> {
    for (;;) {
      options.signal?.throwIfAborted();
      const current = await this.getRun(run);
      if (current.state === 'finished') return current;
      await new Promise((resolve) => setTimeout(resolve, options.everyMs ?? 250));
    }
  }

  async #request(deed: string, send: () => Promise<AxiosResponse<unknown>>): Promise<AxiosResponse<unknown>> {
    const response = await send().catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      throw new StadionError(`Could not ${deed}: ${reason}`, undefined, undefined, { cause: error });
    });
    if (response.status >= 200 && response.status < 300) return response;
    const answer = typeof response.data === 'string' ? response.data : JSON.stringify(response.data);
    const retryAfter = Number(response.headers['retry-after']);
    throw new StadionError(
      `Could not ${deed}: the scheduler answered ${response.status}: ${answer.slice(0, 500)}`,
      response.status,
      Number.isFinite(retryAfter) ? retryAfter : undefined,
    );
  }
}
