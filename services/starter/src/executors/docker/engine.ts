/**
 * The Docker engine as this executor talks to it: every call has a time limit, so that a hanging engine cannot hang
 * the starter, and every failure is an `EngineError` that says what was tried and which kind of failure it was.
 */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import Docker from 'dockerode';
import { labels } from './container-options.js';

/** `unavailable`: no answer, so a later try may succeed. `refused`: the engine answered, with `statusCode`. */
export class EngineError extends Error {
  constructor(
    readonly kind: 'unavailable' | 'refused',
    message: string,
    readonly statusCode: number | undefined,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'EngineError';
  }
}

export interface TimeLimits {
  quickMs: number;
  createMs: number;
  startMs: number;
  removeMs: number;
  /** After a container ended: how long its stream may bring nothing before it is given up. */
  drainIdleMs: number;
  /** After a kill was asked for: how long until an end that cannot be seen counts as one. */
  unseenEndMs: number;
  /** How long an engine may be away (its restart, an update) before what it ran counts as lost. */
  engineAwayMs: number;
}

const networkOwner = 'stadion';

const defaultTimeLimits: TimeLimits = {
  quickMs: 10_000,
  createMs: 30_000,
  startMs: 60_000,
  removeMs: 60_000,
  drainIdleMs: 5_000,
  unseenEndMs: 15_000,
  engineAwayMs: 60_000,
};

export class Engine {
  readonly docker: Docker;
  readonly timeLimits: TimeLimits;
  readonly #agent: HttpAgent | HttpsAgent;

  /** `url` like `unix:///var/run/docker.sock` or `tcp://host:2375`; null takes Docker's usual environment. */
  constructor(url: string | null, timeLimits: Partial<TimeLimits> = {}) {
    this.docker = new Docker(url === null ? {} : connectionOptions(url));
    this.timeLimits = { ...defaultTimeLimits, ...timeLimits };
    const modem = this.docker.modem as unknown as { protocol: string; agent: unknown };
    // No connection is kept: one that an engine's restart made stale would fail the next request.
    this.#agent = new (modem.protocol === 'https' ? HttpsAgent : HttpAgent)({ keepAlive: false });
    if (modem.protocol !== 'ssh') modem.agent = this.#agent;
  }

  async quick<T>(what: string, deed: (abortSignal: AbortSignal) => Promise<T>): Promise<T> {
    return this.limited(what, this.timeLimits.quickMs, deed);
  }

  async limited<T>(
    what: string,
    limitMs: number,
    deed: (abortSignal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const tooLate = new AbortController();
    const timer = setTimeout(() => tooLate.abort(), limitMs);
    try {
      return await deed(tooLate.signal);
    } catch (error) {
      if (tooLate.signal.aborted) {
        throw new EngineError('unavailable', `Docker did not ${what} within ${limitMs / 1000} s`, undefined, {
          cause: error,
        });
      }
      throw asEngineError(what, error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** `GET path` of the Engine API; undefined when there is no such thing. What is read of it is the caller's claim. */
  async read<T>(what: string, path: string): Promise<T | undefined> {
    try {
      return await this.quick(what, (abortSignal) =>
        this.#dial<T>({
          path,
          method: 'GET',
          abortSignal,
          statusCodes: { 200: true, 404: 'not found', 500: 'server error' },
        }),
      );
    } catch (error) {
      if (error instanceof EngineError && error.statusCode === 404) return undefined;
      throw error;
    }
  }

  /**
   * Both directions of a created container. Not `container.attach`: that sends its options as a request body, which
   * may arrive behind the upgrade and then becomes the container's first input.
   */
  async attach(containerId: string): Promise<Socket> {
    const stream = await this.quick('attach to the container', (abortSignal) =>
      this.#dial<unknown>({
        path: `/containers/${containerId}/attach?`,
        method: 'POST',
        options: { _query: { stream: 1, stdin: 1, stdout: 1, stderr: 1 } },
        file: Buffer.alloc(0), // an empty body with a length, and so nothing that could follow late
        hijack: true,
        isStream: true,
        abortSignal,
        statusCodes: { 200: true, 404: 'no such container', 500: 'server error' },
      }),
    );
    if (stream instanceof Socket) return stream;
    (stream as { destroy?: () => void }).destroy?.();
    throw new EngineError('refused', 'Docker did not give a two-way stream to the container', undefined);
  }

  /** Kills every process of a container. A container that has ended or is gone is as wanted. */
  async kill(containerId: string): Promise<void> {
    await tolerating([304, 404, 409], () =>
      this.quick('kill the container', (abortSignal) =>
        this.docker.getContainer(containerId).kill({ signal: 'SIGKILL', abortSignal }),
      ),
    );
  }

  /** Ends and deletes a container with its volumes, and returns once it is gone. */
  async removeContainer(containerId: string): Promise<void> {
    const giveUpAt = Date.now() + this.timeLimits.removeMs;
    for (;;) {
      try {
        await this.limited('remove the container', this.timeLimits.removeMs, (abortSignal) =>
          this.docker.getContainer(containerId).remove({ force: true, v: true, abortSignal }),
        );
        return;
      } catch (error) {
        const status = error instanceof EngineError ? error.statusCode : undefined;
        if (status === 404) return;
        // 409: another removal is under way; 500: a process or mount was still letting go.
        if ((status !== 409 && status !== 500) || Date.now() > giveUpAt) throw error;
        await pause(50);
      }
    }
  }

  /**
   * The id of the bridge network of that name, made if it is missing. Starters that make it at the same moment get one
   * each, whatever `CheckDuplicate` promises (six for eight in a try with Docker 20.10), and while there are two, Docker
   * starts no container on either. So all agree on the oldest, unless a younger one is in use already.
   */
  async ensureNetwork(name: string): Promise<string> {
    if ((await this.networksNamed(name)).length === 0) await this.#createNetwork(name);
    const [oldest, ...younger] = await this.networksNamed(name);
    if (!oldest)
      throw new EngineError('refused', `Docker has no network ${name} although it made it`, undefined);
    for (const one of younger) {
      if ((await this.#removeOurNetwork(one)) === 'in_use') {
        await this.#removeOurNetwork(oldest);
        return one.Id;
      }
    }
    return oldest.Id;
  }

  async #removeOurNetwork({ Id, Labels }: Docker.NetworkInspectInfo): Promise<'in_use' | 'done'> {
    if (Labels?.[labels.owner] !== networkOwner) return 'done';
    try {
      await this.quick('remove a second network', () => this.docker.getNetwork(Id).remove());
    } catch (error) {
      if (error instanceof EngineError && error.statusCode === 403) return 'in_use';
      // Gone already, or left for the next try.
    }
    return 'done';
  }

  /** Oldest first. */
  async networksNamed(name: string): Promise<Docker.NetworkInspectInfo[]> {
    const found = await this.quick('list the networks', (abortSignal) =>
      this.docker.listNetworks({ filters: { name: [name] }, abortSignal }),
    );
    const key = ({ Created, Id }: Docker.NetworkInspectInfo) => `${Created} ${Id}`;
    return found.filter((one) => one.Name === name).sort((a, b) => (key(a) < key(b) ? -1 : 1));
  }

  async #createNetwork(name: string): Promise<void> {
    await tolerating([409], () =>
      this.quick('create the network', (abortSignal) =>
        this.docker.createNetwork({
          Name: name,
          Driver: 'bridge',
          CheckDuplicate: true,
          Internal: false,
          Attachable: false,
          EnableIPv6: false,
          Options: { 'com.docker.network.bridge.enable_icc': 'false' },
          Labels: { [labels.owner]: networkOwner },
          abortSignal,
        }),
      ),
    );
  }

  close(): void {
    this.#agent.destroy();
  }

  /** dockerode's transport, for what its methods and types don't offer. */
  #dial<T>(request: object): Promise<T> {
    const modem = this.docker.modem as unknown as {
      dial(options: object, done: (error: unknown, answer: unknown) => void): void;
    };
    return new Promise((resolve, reject) => {
      modem.dial(request, (error, answer) => (error ? reject(error) : resolve(answer as T)));
    });
  }
}

async function tolerating(statusCodes: readonly number[], deed: () => Promise<unknown>): Promise<void> {
  try {
    await deed();
  } catch (error) {
    if (
      error instanceof EngineError &&
      error.statusCode !== undefined &&
      statusCodes.includes(error.statusCode)
    )
      return;
    throw error;
  }
}

function asEngineError(what: string, error: unknown): EngineError {
  if (error instanceof EngineError) return error;
  const { statusCode, message } = error as { statusCode?: number; message?: string };
  return statusCode === undefined
    ? new EngineError('unavailable', `Docker could not ${what}: ${message ?? String(error)}`, undefined, {
        cause: error,
      })
    : new EngineError('refused', `Docker refused to ${what}: ${(message ?? '').trim()}`, statusCode, {
        cause: error,
      });
}

/** `host: undefined` is there on purpose: dockerode would fill it from DOCKER_HOST and then ignore the socket. */
function connectionOptions(url: string): Docker.DockerOptions {
  if (url.startsWith('unix://')) {
    const socket = {
      host: undefined,
      port: undefined,
      protocol: 'http',
      socketPath: url.slice('unix://'.length),
    };
    return socket as unknown as Docker.DockerOptions;
  }
  const { protocol, hostname, port } = new URL(url.replace(/^tcp:/, 'http:'));
  if (protocol !== 'http:' && protocol !== 'https:') {
    throw new TypeError(`Docker's address must begin with unix://, tcp://, http:// or https://`);
  }
  return { host: hostname, port: port || 2375, protocol: protocol === 'https:' ? 'https' : 'http' };
}
