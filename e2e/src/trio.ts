/**
 * The real services for a scenario: scheduler and starter as processes of their own, from their production entry
 * points and configured by environment alone; a MariaDB database of their own behind a connection that can be cut;
 * and a host application. Everything is gone after `stop`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StadionClient } from '@stadion/client';
import type { Json } from '@stadion/contracts';
import { eventually, fakeHostApp, freshMariaDb, type FakeHostApp, type TestMariaDb } from '@stadion/testkit';

export const authToken = 'an-end-to-end-secret-0123456789';
export const base = '5c264e76-0e5a-448a-9f34-580b551364ca';

const repositoryDir = process.cwd();

export interface TrioOptions {
  /** `original`: each of the two takes the other for its counterpart of the original pipeline, without tokens. */
  wire?: 'ours' | 'original';
  executor: 'docker' | 'process';
  scheduler?: Record<string, string>;
  starter?: Record<string, string>;
  /** What is in the database before the scheduler first sees it. */
  prepare?: (database: TestMariaDb) => Promise<void>;
  /** Scripts by name that the host application serves from the start. */
  scripts?: Record<string, string>;
}

export class Trio {
  private constructor(
    private readonly folder: string,
    readonly database: TestMariaDb,
    readonly databaseLink: Link,
    readonly host: FakeHostApp,
    readonly scheduler: Service,
    readonly starter: Service,
  ) {}

  static async start(options: TrioOptions): Promise<Trio> {
    const database = await freshMariaDb();
    await options.prepare?.(database);
    const folder = await mkdtemp(join(tmpdir(), 'stadion-e2e-'));
    const databaseLink = await Link.open(database);
    const host = await fakeHostApp();
    for (const [name, source] of Object.entries(options.scripts ?? {})) {
      host.scriptFile(name, { script_url: host.script(scriptPath(name), source) });
    }
    const schedulerPort = await freePort();
    const starterPort = await freePort();
    const scheduler = new Service('scheduler', folder, schedulerPort, {
      STADION_HOST: '127.0.0.1',
      STADION_PORT: String(schedulerPort),
      PYTHON_SCHEDULER_AUTH_TOKEN: authToken,
      [options.wire === 'original' ? 'STADION_ORIGINAL_STARTER_URL' : 'PYTHON_STARTER_URL']:
        `http://127.0.0.1:${starterPort}`,
      SEATABLE_SERVER_URL: host.url,
      STADION_DATABASE_HOST: '127.0.0.1',
      STADION_DATABASE_PORT: String(databaseLink.port),
      STADION_DATABASE_USER: database.user,
      STADION_DATABASE_PASSWORD: database.password,
      STADION_DATABASE_NAME: database.database,
      ...options.scheduler,
    });
    const starter = new Service('starter', folder, starterPort, {
      STADION_STARTER_HOST: '127.0.0.1',
      STADION_STARTER_PORT: String(starterPort),
      STADION_EXECUTOR: options.executor,
      PYTHON_SCHEDULER_AUTH_TOKEN: authToken,
      PYTHON_SCHEDULER_URL: `http://127.0.0.1:${schedulerPort}`,
      ...(options.wire === 'original'
        ? { STADION_ORIGINAL_SCHEDULER_URL: `http://127.0.0.1:${schedulerPort}` }
        : {}),
      PYTHON_TRANSFER_DIRECTORY: join(folder, 'exchange'),
      SEATABLE_SERVER_URL: host.url,
      ...(options.executor === 'docker'
        ? {
            PYTHON_RUNNER_IMAGE: required('STADION_TEST_RUNNER_IMAGE'),
            STADION_NODE_RUNNER_IMAGE:
              process.env['STADION_TEST_NODE_RUNNER_IMAGE'] ?? 'stadion/runner-node:test',
          }
        : {}),
      ...options.starter,
    });
    const trio = new Trio(folder, database, databaseLink, host, scheduler, starter);
    try {
      await Promise.all([scheduler.start(), starter.start()]);
    } catch (error) {
      await trio.stop();
      throw error;
    }
    return trio;
  }

  get client(): StadionClient {
    return new StadionClient({ url: this.scheduler.url, token: authToken });
  }

  /** Serves a script, asks for a run of it, and answers the finished run. */
  async run(
    source: string | Buffer,
    request: { script_name?: string; context_data?: Json; owner?: string } = {},
  ) {
    const name = request.script_name ?? `script-${Math.random().toString(36).slice(2)}.py`;
    this.host.scriptFile(name, { script_url: this.serve(name, source) });
    const key = await this.client.submitRun({
      dtable_uuid: base,
      owner: 'alice@example.com',
      ...request,
      script_name: name,
    });
    return await this.client.waitForRun(key, { everyMs: 50, signal: AbortSignal.timeout(60_000) });
  }

  serve(name: string, source: string | Buffer): string {
    return this.host.script(scriptPath(name), source);
  }

  /** What the starter keeps of attempts; empty once every result was acknowledged. */
  get exchangeDir(): string {
    return join(this.folder, 'exchange');
  }

  async stop(): Promise<void> {
    await Promise.all([this.scheduler.stop(), this.starter.stop()]);
    await this.host.close();
    await this.databaseLink.close();
    await this.database.drop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** One of our services as a process. */
export class Service {
  readonly url: string;
  readonly logFile: string;
  #process: ChildProcess | undefined;

  constructor(
    readonly name: 'scheduler' | 'starter',
    folder: string,
    port: number,
    private readonly environment: Record<string, string>,
  ) {
    this.url = `http://127.0.0.1:${port}`;
    this.logFile = join(folder, `${name}.log`);
  }

  /** Resolves when the service says that it is ready. */
  async start(): Promise<void> {
    const log = createWriteStream(this.logFile, { flags: 'a' });
    const child = spawn(process.execPath, [`services/${this.name}/dist/main.js`], {
      cwd: repositoryDir,
      env: { ...inherited(), ...this.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    child.once('exit', () => log.end());
    try {
      await eventually(
        async () => {
          if (child.exitCode !== null) return 'ended';
          return (await fetch(`${this.url}/health/ready`)).ok && 'alive';
        },
        { timeoutMs: 20_000, everyMs: 50 },
      ).then((state) => {
        if (state === 'ended') throw new Error(`the ${this.name} ended at once`);
      });
    } catch (error) {
      throw new Error(`${this.name} did not start:\n${(await this.log()).slice(-4_000)}`, { cause: error });
    }
  }

  async log(): Promise<string> {
    return await readFile(this.logFile, 'utf8').catch(() => '');
  }

  /** Runs one of the service's other entry points to its end, with the same settings. */
  async command(entry: string): Promise<{ code: number | null; output: string }> {
    const child = spawn(process.execPath, [`services/${this.name}/dist/${entry}.js`], {
      cwd: repositoryDir,
      env: { ...inherited(), ...this.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += String(text)));
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, output };
  }

  /** kill −9. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** SIGTERM; answers the exit code. */
  async stop(): Promise<number | null> {
    return await this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    child.kill(signal);
    const insist = setTimeout(() => child.kill('SIGKILL'), 40_000);
    try {
      return await exited;
    } finally {
      clearTimeout(insist);
    }
  }
}

/** A TCP connection to a server that can be cut and restored. */
export class Link {
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  private constructor(
    private readonly target: { host: string; port: number },
    readonly port: number,
  ) {}

  static async open(target: { host: string; port: number }): Promise<Link> {
    const link = new Link(target, await freePort());
    await link.restore();
    return link;
  }

  /** Refuses new connections and breaks those that there are. */
  async cut(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  async restore(): Promise<void> {
    const server = createServer((near) => {
      const far = connect(this.target.port, this.target.host);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one);
        one.pipe(other);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      }
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', resolve);
    });
    this.#server = server;
  }

  close(): Promise<void> {
    return this.cut();
  }
}

function scriptPath(name: string): string {
  return `/scripts/${encodeURIComponent(name)}`;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What a service's environment needs besides its settings. */
function inherited(): Record<string, string> {
  const names = ['PATH', 'HOME', 'DOCKER_HOST', 'TMPDIR'];
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}

function required(name: string): string {
  const value = process.env[name];
  if (!value)
    throw new Error(`${name} is not set: run \`npm test\`, or \`npm run test:env\` and use what it prints`);
  return value;
}
