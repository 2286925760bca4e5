/**
 * The repository's own docker-compose.yml as an operator uses it: an .env made from .env.example, `up -d`, and what
 * comes after. The host application is in this process, on the address that the engine's containers reach it by.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { StadionClient, type RunKey } from '@stadion/client';
import type { HostRun, Json } from '@stadion/contracts';
import { eventually, fakeHostApp, type FakeHostApp } from '@stadion/testkit';

export const authToken = 'a-compose-end-to-end-secret-0123456789';
export const databasePassword = `it's "$5" of \\ database`;
export const base = '5c264e76-0e5a-448a-9f34-580b551364ca';

const execute = promisify(execFile);

export type ServiceName = 'mariadb' | 'scheduler' | 'starter' | 'runner-image';

export class ComposeProject {
  /** Containers, networks, volumes and images carry it. */
  readonly name: string;
  /** Where scripts are served from; set by `open`. */
  readonly host: FakeHostApp;
  readonly #folder: string;
  readonly #ports: readonly [number, number];

  private constructor(folder: string, host: FakeHostApp, ports: readonly [number, number]) {
    this.name = `stadion-e2e-${Math.random().toString(36).slice(2, 8)}`;
    this.#folder = folder;
    this.host = host;
    this.#ports = ports;
  }

  /** Writes the .env; nothing is started yet. */
  static async open(settings: Record<string, string>): Promise<ComposeProject> {
    const images = {
      NODE_IMAGE: required('STADION_TEST_NODE_IMAGE'),
      PYTHON_IMAGE: required('STADION_TEST_PYTHON_IMAGE'),
      MARIADB_IMAGE: required('STADION_TEST_MARIADB_IMAGE'),
    };
    const folder = await mkdtemp(join(tmpdir(), 'stadion-compose-'));
    const ports = await twoFreePorts();
    const project = new ComposeProject(
      folder,
      await fakeHostApp({ address: required('STADION_TEST_ENGINE_ADDRESS') }),
      ports,
    );
    await mkdir(project.exchangeDir);
    const values: Record<string, string> = {
      ...images,
      ...proxyVariables(),
      STADION_AUTH_TOKEN: authToken,
      STADION_HOST_URL: project.host.url,
      STADION_DATABASE_PASSWORD: databasePassword,
      STADION_TAG: project.name,
      STADION_RUNNER_IMAGE: project.images.runner,
      STADION_NODE_RUNNER_IMAGE: project.images.nodeRunner,
      STADION_PUBLISH_PORT: String(project.#ports[0]),
      STADION_DOCKER_SOCKET: engineSocket(),
      STADION_EXCHANGE_HOST_DIR: project.exchangeDir,
      STADION_NETWORK: project.runnersNetwork,
      STADION_RUNNERS_NETWORK: project.runnersNetwork,
      ...settings,
    };
    await writeFile(project.#envFile, filledIn(await readFile('.env.example', 'utf8'), values));
    return project;
  }

  get images() {
    return {
      scheduler: `stadion/scheduler:${this.name}`,
      starter: `stadion/starter:${this.name}`,
      runner: `stadion/runner-python:${this.name}`,
      nodeRunner: `stadion/runner-node:${this.name}`,
    };
  }

  get runnersNetwork(): string {
    return `${this.name}-runners`;
  }

  /** As the machine sees it; its files belong to the starter. */
  get exchangeDir(): string {
    return join(this.#folder, 'exchange');
  }

  get #envFile(): string {
    return join(this.#folder, 'compose.env');
  }

  /** `docker compose …`; `overrides` beat the .env, as a shell's variables do. */
  async compose(args: string[], overrides: Record<string, string> = {}): Promise<string> {
    const [command = '', ...plugin] = required('STADION_TEST_COMPOSE').split(' ');
    const all = [...plugin, '--env-file', this.#envFile, '--project-name', this.name, ...args];
    return await this.#execute(command, all, overrides);
  }

  docker(args: string[]): Promise<string> {
    return this.#execute('docker', args, {});
  }

  async #execute(command: string, args: string[], overrides: Record<string, string>): Promise<string> {
    // Not the whole environment: a variable of ours in it would beat the .env.
    const kept = ['PATH', 'HOME', 'DOCKER_HOST', 'TMPDIR'].flatMap((name) =>
      process.env[name] ? [[name, process.env[name]] as const] : [],
    );
    const env = { ...Object.fromEntries(kept), ...overrides };
    try {
      return (await execute(command, args, { env, maxBuffer: 64 * 1024 * 1024, encoding: 'utf8' })).stdout;
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
      const output = `${stdout}${stderr}`.slice(-6_000);
      throw new Error(`${command} ${args.join(' ')} failed:\n${output}`, { cause: error });
    }
  }

  /** By the labels that both versions of Compose give, which is much quicker than asking Compose. */
  async containers(service: ServiceName, replica?: number): Promise<string[]> {
    const labels = [`project=${this.name}`, `service=${service}`];
    if (replica) labels.push(`container-number=${replica}`);
    const filters = labels.flatMap((label) => ['--filter', `label=com.docker.compose.${label}`]);
    return words(await this.docker(['ps', '-aq', ...filters]));
  }

  async container(service: ServiceName): Promise<string> {
    const [id] = await this.containers(service);
    if (!id) throw new Error(`${service} has no container`);
    return id;
  }

  async inspect(service: ServiceName): Promise<ContainerDescription[]> {
    return JSON.parse(
      await this.docker(['inspect', ...(await this.containers(service))]),
    ) as ContainerDescription[];
  }

  /** Waits until every container of these services is healthy. */
  async healthy(services: readonly ServiceName[] = ['mariadb', 'scheduler', 'starter']): Promise<void> {
    const states = async () => {
      const found = await Promise.all(services.map((service) => this.inspect(service)));
      return found.flat().map(({ Name, State }) => `${Name} ${State.Health?.Status ?? State.Status}`);
    };
    await eventually(
      async () => {
        const sick = (await states()).filter((state) => !state.endsWith(' healthy'));
        if (sick.length > 0) throw new Error(`not healthy: ${sick.join(', ')}\n${await this.logs()}`);
        return true;
      },
      { timeoutMs: 90_000, everyMs: 250 },
    );
  }

  async logs(...services: ServiceName[]): Promise<string> {
    return await this.compose(['logs', '--no-color', '--tail', '400', ...services]);
  }

  /** Where a replica, counted from 1, is published on this machine. */
  async address(replica = 1): Promise<string> {
    const [container] = await this.containers('scheduler', replica);
    if (!container) throw new Error(`there is no scheduler ${replica}`);
    return (await this.docker(['port', container, '5055'])).trim();
  }

  async client(replica = 1): Promise<StadionClient> {
    return new StadionClient({ url: `http://${await this.address(replica)}`, token: authToken });
  }

  async submit(source: string | Buffer, request: RunOptions = {}, client?: StadionClient): Promise<RunKey> {
    const name = request.script_name ?? `script-${Math.random().toString(36).slice(2)}.py`;
    const script_url = this.host.script(`/scripts/${encodeURIComponent(name)}`, source);
    this.host.scriptFile(name, { script_url });
    const run = { dtable_uuid: base, owner: 'alice@example.com', ...request, script_name: name };
    return await (client ?? (await this.client())).submitRun(run);
  }

  /** The finished run. A scheduler that is away in between is asked again. */
  async finished(key: RunKey, client?: StadionClient): Promise<HostRun> {
    const asked = client ?? (await this.client());
    return await eventually(
      async () => {
        const run = await asked.getRun(key);
        if (run.state !== 'finished') throw new Error(`run ${key.id} is still ${run.state}`);
        return run;
      },
      { timeoutMs: 90_000, everyMs: 100 },
    );
  }

  async run(source: string | Buffer, request: RunOptions = {}): Promise<HostRun> {
    const client = await this.client();
    return await this.finished(await this.submit(source, request, client), client);
  }

  async running(key: RunKey): Promise<void> {
    const client = await this.client();
    await eventually(async () => (await client.getRun(key)).state === 'running', {
      timeoutMs: 30_000,
      everyMs: 50,
    });
  }

  async down(): Promise<void> {
    await this.compose(['down', '--volumes', '--remove-orphans']);
  }

  /** With two replicas, each needs a port of this machine. */
  async upWithTwoSchedulers(): Promise<void> {
    await this.compose(['up', '-d', '--scale', 'scheduler=2'], {
      STADION_PUBLISH_PORT: `${this.#ports[0]}-${this.#ports[1]}`,
    });
  }

  /** What the engine has of this project: containers, networks, volumes; its images are kept between `up`s. */
  async leftovers(): Promise<string[]> {
    const found = await Promise.all([
      this.docker(['ps', '-aq', '--filter', `label=com.docker.compose.project=${this.name}`]),
      this.docker(['ps', '-aq', '--filter', `network=${this.runnersNetwork}`]),
      this.docker(['network', 'ls', '--format', '{{.Name}}', '--filter', `name=${this.name}`]),
      this.docker(['volume', 'ls', '-q', '--filter', `name=${this.name}`]),
    ]);
    return found.flatMap(words);
  }

  async close(): Promise<void> {
    const failures: unknown[] = [];
    const steps: (() => Promise<unknown>)[] = [
      () => this.down(),
      // The starter's files belong to root.
      () =>
        this.docker([
          ...['run', '--rm', '--user', '0:0', '--network', 'none', '--entrypoint', 'find'],
          ...['--volume', `${this.exchangeDir}:/exchange`, this.images.starter],
          ...['/exchange', '-mindepth', '1', '-delete'],
        ]),
      () => this.docker(['rmi', '-f', ...Object.values(this.images)]),
      () => this.host.close(),
      () => rm(this.#folder, { recursive: true, force: true }),
    ];
    for (const step of steps) await step().catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw new AggregateError(failures, 'the compose project could not be removed');
  }
}

export interface RunOptions {
  script_name?: string;
  context_data?: Json;
  owner?: string;
  operate_from?: string;
  script_url?: string;
}

/** What `docker inspect` says, as far as a test reads it. */
export interface ContainerDescription {
  Name: string;
  RestartCount: number;
  State: { Status: string; Health?: { Status: string } };
  Config: { User: string };
  HostConfig: {
    ReadonlyRootfs: boolean;
    CapDrop: string[] | null;
    CapAdd: string[] | null;
    SecurityOpt: string[] | null;
    RestartPolicy: { Name: string };
    PortBindings: Record<string, { HostIp: string }[] | null>;
  };
  Mounts: { Destination: string }[];
  NetworkSettings: { Networks: Record<string, { IPAddress: string }> };
}

/** An operator's .env: the example with these lines set, commented out or not. */
function filledIn(example: string, values: Record<string, string>): string {
  const missing = new Map(Object.entries(values));
  const lines = example.split('\n').map((line) => {
    const name = /^#? ?([A-Z_]+)=/.exec(line)?.[1];
    const value = name && missing.get(name);
    if (!name || value === undefined) return line;
    missing.delete(name);
    return `${name}=${quoted(value)}`;
  });
  // The original's names have no line of their own.
  return [...lines, ...[...missing].map(([name, value]) => `${name}=${quoted(value)}`), ''].join('\n');
}

/** In single quotes nothing is substituted, by either Compose. */
function quoted(value: string): string {
  return /^[\w./:-]*$/.test(value) ? value : `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

function proxyVariables(): Record<string, string> {
  const proxy = process.env['STADION_TEST_BUILD_PROXY'];
  return proxy ? { HTTPS_PROXY: proxy } : {};
}

function engineSocket(): string {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
  if (!host.startsWith('unix://'))
    throw new Error(`DOCKER_HOST is ${host}: the starter mounts a socket file`);
  return host.slice('unix://'.length);
}

/** Neighbours, for a range. */
async function twoFreePorts(): Promise<[number, number]> {
  for (let tries = 0; tries < 50; tries++) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    if ((await isFree(first)) && (await isFree(first + 1))) return [first, first + 1];
  }
  throw new Error('no two neighbouring ports are free');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => {
      const taken = (server.address() as AddressInfo).port;
      server.close(() => resolve(taken === port));
    });
  });
}

function words(text: string): string[] {
  return text.split(/\s+/).filter(Boolean);
}

function required(name: string): string {
  const value = process.env[name];
  if (!value)
    throw new Error(`${name} is not set: run \`npm test\`, or \`npm run test:env\` and use what it prints`);
  return value;
}
