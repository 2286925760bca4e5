/**
 * Runs each script in a Docker container of its own, made for it and removed after it. What the container may do is
 * `container-options.ts`'s to say; its life once started is `docker-sandbox.ts`'s. Images speak the runner protocol (see
 * `services/runner`): environment and secrets go to them on standard input only. Those of the original pipeline, which a
 * profile must call so, are told what to run by variables and files, and their output is in a file at the end.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type Docker from 'dockerode';
import {
  type Executor,
  type ExecutorHealth,
  type LeftoverSandbox,
  type Sandbox,
  type SandboxProfile,
  type SandboxSpec,
  SandboxStartError,
} from '../executor.js';
import {
  containerOptions,
  type ContainerSettings,
  isOrdinaryNetwork,
  labels,
  ownNetwork,
} from './container-options.js';
import { AttachedOutput, DockerSandbox } from './docker-sandbox.js';
import { Engine, EngineError, type TimeLimits } from './engine.js';
import { examineEngine } from './engine-health.js';
import { findImage, imageMissing, imageProblem } from './runner-image.js';

type OfProfile = 'image' | 'protocol' | 'network' | 'runtime';

export interface DockerExecutorSettings extends Omit<ContainerSettings, OfProfile> {
  profiles: readonly SandboxProfile[];
  /** `unix:///…` or `tcp://…`; null takes Docker's usual environment variables. */
  engineUrl: string | null;
  /** Shorter in tests. */
  timeLimits?: Partial<TimeLimits>;
}

/** Starters that make the network at the same moment have settled on one after a try or two. */
const networkTries = 5;

export class DockerExecutor implements Executor {
  readonly name = 'docker';
  readonly #settings: DockerExecutorSettings;
  readonly #engine: Engine;
  readonly #closed = new AbortController();
  /** Profiles whose image was seen to be there and fit; forgotten when a start fails. */
  readonly #goodProfiles = new Set<string>();
  #ownNetworkId: Promise<string> | undefined;

  constructor(settings: DockerExecutorSettings) {
    for (const { network } of settings.profiles) {
      if (!isOrdinaryNetwork(network)) {
        throw new TypeError(`Scripts may not use the network "${network}": name a bridge network, or "none"`);
      }
    }
    this.#settings = settings;
    this.#engine = new Engine(
      settings.engineUrl,
      Object.hasOwn(settings, 'timeLimits') ? settings.timeLimits : {},
    );
  }

  async start(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    signal?.throwIfAborted();
    const profile = this.#profileOf(spec);
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#startOnce(spec, profile, signal);
      } catch (error) {
        signal?.throwIfAborted();
        // A failed start breaks the attached stream, so what is mended here is tried again from the top.
        if (tries < networkTries && profile.network === ownNetwork && isNetworkTrouble(error)) {
          this.#ownNetworkId = undefined;
          await pause(100 * tries);
          continue;
        }
        this.#goodProfiles.clear();
        throw asStartError(error, profile);
      }
    }
  }

  #profileOf(spec: SandboxSpec): SandboxProfile {
    const profile = this.#settings.profiles.find(({ name }) => name === spec.profile);
    if (!profile) throw new TypeError(`There is no profile ${JSON.stringify(spec.profile)}`);
    return profile;
  }

  async #startOnce(spec: SandboxSpec, profile: SandboxProfile, signal?: AbortSignal): Promise<Sandbox> {
    const made: Made = { container: undefined, output: undefined, needsNoOrder: false };
    try {
      return await this.#start(spec, profile, made, signal);
    } catch (error) {
      made.output?.close();
      // Its failure must not hide the first; what stays is found by `leftovers`.
      if (made.container) await this.#engine.removeContainer(made.container).catch(() => undefined);
      // Not `engine_unavailable`, which is tried again.
      if (mayHaveRun(made) && error instanceof EngineError && error.kind === 'unavailable') {
        throw new SandboxStartError(
          'engine_error',
          'The Docker engine did not answer any more while the script was being started.',
          { cause: error },
        );
      }
      throw error;
    }
  }

  async #start(
    spec: SandboxSpec,
    profile: SandboxProfile,
    made: Made,
    signal?: AbortSignal,
  ): Promise<Sandbox> {
    await this.#requireGoodImage(profile);
    const network = await this.#requireNetwork(profile);
    signal?.throwIfAborted();
    const { image, protocol, runtime } = profile;
    const options = containerOptions(spec, { ...this.#settings, image, protocol, runtime, network });
    const containerId = await this.#create(options, made);
    signal?.throwIfAborted();
    // Before the start, or the first output would be lost.
    const socket = await this.#engine.attach(containerId);
    const report = randomBytes(16).toString('hex');
    const output = new AttachedOutput(socket, report, (stream, piece) =>
      // What an original image's container says itself comes behind what its script wrote into the file.
      spec.onOutput(protocol === 'original' ? 'stderr' : stream, piece),
    );
    made.output = output;
    signal?.throwIfAborted();
    made.needsNoOrder = protocol === 'original';
    await this.#engine.limited('start the container', this.#engine.timeLimits.startMs, (abortSignal) =>
      this.#engine.docker.getContainer(containerId).start({ abortSignal }),
    );
    signal?.throwIfAborted();
    if (protocol === 'stadion') {
      await this.#engine.quick('hand the order to the container', (abortSignal) =>
        output.order(JSON.stringify({ env: spec.env, time_limit_s: spec.timeLimitS, report }), abortSignal),
      );
    }
    return new DockerSandbox(this.#engine, containerId, spec, protocol, output, this.#closed.signal);
  }

  async #create(options: Docker.ContainerCreateOptions, made: Made): Promise<string> {
    const { name, ...body } = options;
    try {
      const container = await this.#engine.limited(
        'create the container',
        this.#engine.timeLimits.createMs,
        (abortSignal) =>
          // Told apart as query and body, else dockerode sends everything as both.
          this.#engine.docker.createContainer({
            _query: { name },
            _body: body,
            abortSignal,
          } as unknown as Docker.ContainerCreateOptions),
      );
      made.container = container.id;
      return container.id;
    } catch (error) {
      // An engine that did not answer may have made it all the same.
      if (error instanceof EngineError && error.kind === 'unavailable') made.container = name;
      throw error;
    }
  }

  /** What names the scripts' network to Docker. Starts at the same time share one look. */
  #requireNetwork({ network }: SandboxProfile): Promise<string> {
    if (network !== ownNetwork) return Promise.resolve(network);
    this.#ownNetworkId ??= this.#engine.ensureNetwork(ownNetwork).catch((error: unknown) => {
      this.#ownNetworkId = undefined;
      throw error;
    });
    return this.#ownNetworkId;
  }

  async #requireGoodImage(profile: SandboxProfile): Promise<void> {
    if (this.#goodProfiles.has(profile.name)) return;
    const problem = imageProblem(profile, await findImage(this.#engine, profile.image));
    if (problem) throw problem;
    this.#goodProfiles.add(profile.name);
  }

  async leftovers(): Promise<LeftoverSandbox[]> {
    const found = await this.#engine.quick('list the containers', (abortSignal) =>
      this.#engine.docker.listContainers({
        all: true,
        filters: { label: [`${labels.starter}=${this.#settings.starterId}`] },
        abortSignal,
      }),
    );
    return found.flatMap((container) => {
      const attemptId = container.Labels[labels.attempt];
      if (attemptId === undefined) return [];
      return [
        {
          attemptId,
          running: container.State === 'running' || container.State === 'paused',
          remove: () => this.#engine.removeContainer(container.Id),
        },
      ];
    });
  }

  async health(): Promise<ExecutorHealth> {
    return examineEngine(this.#engine, this.#settings.profiles);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#engine.close();
  }
}

/** What a start made so far, to be undone if it fails. */
interface Made {
  container: string | undefined;
  output: AttachedOutput | undefined;
  /** The container was told to start, which is all it takes for its script to run. */
  needsNoOrder: boolean;
}

function mayHaveRun({ needsNoOrder, output }: Made): boolean {
  return needsNoOrder || output?.ordered === true;
}

/** Somebody tidied the network away since, or another starter is making it at this moment too. */
function isNetworkTrouble(error: unknown): boolean {
  return error instanceof EngineError && /network \S+ (not found|is ambiguous)/i.test(error.message);
}

function asStartError(error: unknown, profile: SandboxProfile): SandboxStartError {
  if (error instanceof SandboxStartError) return error;
  if (error instanceof EngineError) {
    if (error.kind === 'unavailable') {
      return new SandboxStartError(
        'engine_unavailable',
        'The Docker engine does not answer, so the script could not be started.',
        { cause: error },
      );
    }
    if (error.statusCode === 404 && /no such image/i.test(error.message)) {
      return new SandboxStartError('image_missing', imageMissing(profile), { cause: error });
    }
  }
  return new SandboxStartError('engine_error', "The script's container could not be started.", {
    cause: error,
  });
}
