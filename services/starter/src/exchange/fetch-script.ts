/**
 * Downloads a script. The address comes from outside, so every hop is checked against the allow-list before a
 * connection is made, sizes are counted while reading, and nothing of the address but its host reaches the output.
 */
import { Agent as HttpAgent, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';
import axios from 'axios';
import { fixedOutput } from '@stadion/contracts';
import { codeOf } from '@stadion/service-kit';
import { userAgent } from '../version.js';
import { AddressRefused, type AllowedHosts, checkAddress } from './script-address.js';

export const maxScriptBytes = 10 * 1024 * 1024;
const maxRedirects = 5;
/** Before each further try, when it looks as if the host could answer better in a moment (its restart, an update). */
const usualRetryWaitsMs = [500, 2_000];
// Connections are not kept: one that the host closes in the moment it is used again would fail a run.
const httpAgent = new HttpAgent({ keepAlive: false });
const httpsAgent = new HttpsAgent({ keepAlive: false });

export interface FetchOptions {
  allowed: AllowedHosts;
  signal: AbortSignal;
  /** All tries, hops and the whole body together. */
  timeoutMs?: number;
  /** Shorter in tests. */
  retryWaitsMs?: readonly number[];
}

/** There is no script to run. `output` is what the task's owner reads. */
export class ScriptFetchError extends Error {
  constructor(
    readonly attemptCause: 'script_unavailable' | 'script_invalid',
    readonly output: string,
    /** The same may succeed in a moment. */
    readonly isPassing = false,
  ) {
    super(output);
    this.name = 'ScriptFetchError';
  }
}

/**
 * The script's bytes. Rejects with `ScriptFetchError`, or with the signal's reason once that is aborted.
 */
export async function fetchScript(
  address: string | null | undefined,
  options: FetchOptions,
): Promise<Buffer> {
  if (!address) throw new ScriptFetchError('script_unavailable', fixedOutput.scriptUrlMissing);
  const timeoutMs = options.timeoutMs ?? 60_000;
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([options.signal, timeout]);
  const waitsMs = options.retryWaitsMs ?? usualRetryWaitsMs;
  for (let tries = 0; ; tries += 1) {
    try {
      const body = await follow(address, options.allowed, signal);
      return await readCapped(body, signal);
    } catch (error) {
      options.signal.throwIfAborted();
      const failure = timeout.aborted
        ? unavailable(`The download took longer than ${timeoutMs / 1000} seconds.`)
        : failureOf(error);
      const waitMs = waitsMs[tries];
      if (!failure.isPassing || waitMs === undefined) throw failure;
      await pause(waitMs, undefined, { signal }).catch(() => undefined);
      options.signal.throwIfAborted();
      if (timeout.aborted) throw failure;
    }
  }
}

function failureOf(error: unknown): ScriptFetchError {
  if (error instanceof ScriptFetchError) return error;
  if (error instanceof AddressRefused) return unavailable(error.message);
  const reason = codeOf(error) ?? 'connection failed';
  return unavailable(`The host of the script cannot be reached (${reason}).`, true);
}

async function follow(address: string, allowed: AllowedHosts, signal: AbortSignal): Promise<IncomingMessage> {
  let url = checkAddress(address, allowed);
  for (let hops = 0; hops <= maxRedirects; hops += 1) {
    const response = await axios.get<IncomingMessage>(url.href, {
      signal,
      responseType: 'stream',
      httpAgent,
      httpsAgent,
      // Each of these would take a decision away from this file.
      maxRedirects: 0,
      proxy: false,
      decompress: false,
      validateStatus: null,
      headers: { 'User-Agent': userAgent, Accept: '*/*', 'Accept-Encoding': 'identity' },
    });
    const location: unknown = response.headers['location'];
    if ([301, 302, 303, 307, 308].includes(response.status) && typeof location === 'string') {
      response.data.destroy();
      url = checkAddress(location, allowed, url);
      continue;
    }
    if (response.status !== 200) {
      response.data.destroy();
      const isPassing = response.status >= 500 || response.status === 429;
      throw unavailable(`The host ${url.host} answered ${response.status}.`, isPassing);
    }
    return response.data;
  }
  throw unavailable(`The host redirected more than ${maxRedirects} times.`);
}

async function readCapped(body: IncomingMessage, signal: AbortSignal): Promise<Buffer> {
  const abort = () => body.destroy(new Error('aborted'));
  signal.addEventListener('abort', abort, { once: true });
  try {
    const encoding = body.headers['content-encoding'];
    if (encoding && encoding !== 'identity') throw unavailable('The host sent the script compressed.');
    if (Number(body.headers['content-length'] ?? 0) > maxScriptBytes) throw tooLarge();
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxScriptBytes) throw tooLarge();
      chunks.push(chunk);
    }
    if (!body.complete) {
      throw unavailable('The host closed the connection before the script was complete.', true);
    }
    return Buffer.concat(chunks);
  } finally {
    signal.removeEventListener('abort', abort);
    body.destroy();
  }
}

function unavailable(reason: string, isPassing = false): ScriptFetchError {
  return new ScriptFetchError('script_unavailable', `${fixedOutput.scriptUnavailable}\n${reason}`, isPassing);
}

function tooLarge(): ScriptFetchError {
  return new ScriptFetchError(
    'script_invalid',
    `${fixedOutput.scriptInvalid}\nThe script is larger than ${maxScriptBytes / 1024 ** 2} MiB.`,
  );
}
