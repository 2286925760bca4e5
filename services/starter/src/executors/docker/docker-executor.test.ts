/** The Docker executor against an engine that misbehaves on purpose: a small HTTP server on a socket. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SandboxSpec } from '../executor.js';
import { DockerExecutor, type DockerExecutorSettings } from './docker-executor.js';

interface Call {
  method: string;
  path: string;
  body: string;
}

type Answer = { status: number; json?: unknown } | 'never';

/** Answers like an engine on which all is well, unless `answers` says otherwise for a call. */
class FakeEngine {
  readonly calls: Call[] = [];
  readonly answers: { match: RegExp; answer: Answer; times: number }[] = [];
  readonly streams: Socket[] = [];
  networks: object[] = [];
  /** What arrived on the attached streams. */
  input = '';
  onAttach: (socket: Socket) => void = () => undefined;
  onOrder: (socket: Socket, line: string) => void = () => undefined;
  #endContainer: () => void = () => undefined;
  readonly #ended = new Promise<void>((resolve) => {
    this.#endContainer = resolve;
  });
  state: object = { Running: false, ExitCode: 0, OOMKilled: false };
  readonly #folder = mkdtempSync(join(tmpdir(), 'stadion-fake-engine-'));
  readonly socketPath = join(this.#folder, 'docker.sock');
  readonly #server: Server = createServer((request, response) => void this.#serve(request, response));

  async listen(): Promise<void> {
    this.#server.on('upgrade', (request, socket: Socket) => this.#upgrade(request, socket));
    await new Promise<void>((resolve) => this.#server.listen(this.socketPath, resolve));
  }

  answer(match: RegExp, answer: Answer, times = Infinity): void {
    this.answers.unshift({ match, answer, times });
  }

  end(): void {
    this.#endContainer();
    for (const stream of this.streams) stream.end();
  }

  called(match: RegExp): Call[] {
    return this.calls.filter((call) => match.test(`${call.method} ${call.path}`));
  }

  close(): void {
    for (const stream of this.streams) stream.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
    rmSync(this.#folder, { recursive: true });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const call = { method: request.method ?? '', path: request.url ?? '', body };
    this.calls.push(call);
    const name = `${call.method} ${call.path}`;
    const answer = this.#answerTo(name);
    if (answer === 'never') return;
    if (/^POST .*\/wait/.test(name) && answer.status === 200) await this.#ended;
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    response.end(answer.json === undefined ? '' : JSON.stringify(answer.json));
  }

  #answerTo(name: string): Answer {
    const special = this.answers.find(({ match, times }) => times > 0 && match.test(name));
    if (special) {
      special.times -= 1;
      return special.answer;
    }
    if (/^GET \/images/.test(name)) {
      return { status: 200, json: { Config: { Labels: { 'org.stadion.runner.protocol': '1' } } } };
    }
    if (/^GET \/networks/.test(name)) return { status: 200, json: this.networks };
    if (/^POST \/networks\/create/.test(name)) {
      this.networks.push({ Id: `net${this.networks.length + 1}`, Name: 'stadion-runners', Created: '2' });
      return { status: 201, json: { Id: 'net1' } };
    }
    if (/^POST \/containers\/create/.test(name)) return { status: 201, json: { Id: 'c1' } };
    if (/^POST .*\/wait/.test(name)) return { status: 200, json: { StatusCode: 0 } };
    if (/^GET \/containers\/json/.test(name)) return { status: 200, json: [] };
    if (/^GET \/containers\/c1\/json/.test(name)) return { status: 200, json: { State: this.state } };
    if (/^GET /.test(name)) return { status: 200, json: {} };
    return { status: 204 };
  }

  #upgrade(request: IncomingMessage, socket: Socket): void {
    const call = { method: request.method ?? '', path: request.url ?? '', body: '' };
    this.calls.push(call);
    this.streams.push(socket);
    socket.on('error', () => undefined);
    if (this.#answerTo(`${call.method} ${call.path}`) === 'never') return;
    socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
    socket.on('data', (chunk: Buffer) => {
      this.input += chunk.toString();
      if (this.input.endsWith('\n')) this.onOrder(socket, this.input);
    });
    this.onAttach(socket);
  }
}

const spec: SandboxSpec = {
  attemptId: 'attempt-1',
  taskId: 1,
  profile: 'python',
  scriptFile: 'index.py',
  scriptsDir: '/exchange/attempt-1',
  env: { api_token: 'the secret' },
  limits: {
    memoryBytes: 64 * 1024 * 1024,
    cpus: 1,
    pids: 64,
    openFiles: 64,
    fileBytes: 1024,
    tmpBytes: 4096,
  },
  timeLimitS: 5,
  onOutput: () => undefined,
};

/** Far beyond what a busy machine needs; only what a test waits for to run out is short, in that test. */
const patient = {
  quickMs: 8_000,
  createMs: 8_000,
  startMs: 8_000,
  removeMs: 8_000,
  drainIdleMs: 100,
  unseenEndMs: 8_000,
  engineAwayMs: 8_000,
};

let engine: FakeEngine;
const executors: DockerExecutor[] = [];

beforeEach(async () => {
  engine = new FakeEngine();
  await engine.listen();
});

afterEach(async () => {
  await Promise.all(executors.splice(0).map((executor) => executor.close()));
  engine.close();
});

type Options = Partial<DockerExecutorSettings> & { network?: string; protocol?: 'stadion' | 'original' };

function makeExecutor({
  network = 'stadion-runners',
  protocol = 'stadion',
  ...settings
}: Options = {}): DockerExecutor {
  const executor = new DockerExecutor({
    starterId: 's1',
    engineUrl: `unix://${engine.socketPath}`,
    profiles: [
      {
        name: 'python',
        language: 'python',
        image: 'stadion/runner-python:test',
        protocol,
        network,
        runtime: null,
      },
    ],
    user: { uid: 1000, gid: 1000 },
    exchangeRoot: null,
    timeLimits: patient,
    ...settings,
  });
  executors.push(executor);
  return executor;
}

function frame(kind: number, text: string): Buffer {
  const payload = Buffer.from(text);
  const header = Buffer.alloc(8);
  header[0] = kind;
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

describe('a start', () => {
  test('attaches before it starts and waits after, without a condition', async () => {
    const sandbox = await makeExecutor().start(spec);
    engine.end();
    await sandbox.exited;
    const steps = engine.calls
      .map((call) => /\/(attach|start|wait)(\?.*)?$/.exec(call.path)?.slice(1, 3).join(''))
      .filter((step) => step !== undefined);
    expect(steps).toEqual(['attach?stream=1&stdin=1&stdout=1&stderr=1', 'start', 'wait']);
  });

  test('sends the secret down the stream as one line, and in no request', async () => {
    const ordered = new Promise<string>((resolve) => {
      engine.onOrder = (_, line) => resolve(line);
    });
    await makeExecutor().start(spec);
    const line = await ordered;
    expect(line).toMatch(/^\{.*\}\n$/);
    expect(JSON.parse(line)).toEqual({
      env: { api_token: 'the secret' },
      time_limit_s: 5,
      report: expect.stringMatching(/^[0-9a-f]{32}$/),
    });
    expect(JSON.stringify(engine.calls)).not.toContain('the secret');
  });

  test('sends the same container options when Object.prototype is polluted', async () => {
    const bodyOfCreate = async () => {
      engine.calls.length = 0;
      await makeExecutor().start(spec);
      return engine.called(/^POST \/containers\/create/).map((call) => `${call.path} ${call.body}`);
    };
    const clean = await bodyOfCreate();
    expect(clean).toEqual([expect.stringContaining('"Privileged":false')]);
    const prototype = Object.prototype as unknown as Record<string, unknown>;
    const pollution = {
      Entrypoint: ['/bin/sh'],
      Privileged: true,
      Runtime: 'evil',
      runtime: 'evil',
      CapAdd: ['ALL'],
    };
    try {
      Object.assign(prototype, pollution);
      expect(await bodyOfCreate()).toEqual(clean);
    } finally {
      for (const name of Object.keys(pollution)) delete prototype[name];
    }
  });

  test('fails as engine_unavailable when there is no engine', async () => {
    const executor = makeExecutor({ engineUrl: 'unix:///no/such/docker.sock' });
    await expect(executor.start(spec)).rejects.toMatchObject({ reason: 'engine_unavailable' });
  });

  test.each([
    'GET /images',
    'POST /networks/create',
    'POST /containers/create',
    'POST .*/attach',
    'POST .*/start',
  ])('fails as engine_unavailable within its time limit when the engine hangs at %s', async (call) => {
    engine.answer(new RegExp(`^${call}`), 'never');
    const executor = makeExecutor({ timeLimits: { ...patient, quickMs: 500, createMs: 500, startMs: 500 } });
    await expect(executor.start(spec)).rejects.toMatchObject({ reason: 'engine_unavailable' });
  });

  test('removes by name what an engine that gave no answer may have created', async () => {
    engine.answer(/^POST \/containers\/create/, 'never');
    const executor = makeExecutor({ timeLimits: { ...patient, createMs: 300 } });
    await expect(executor.start(spec)).rejects.toMatchObject({ reason: 'engine_unavailable' });
    expect(engine.called(/^DELETE \/containers\/stadion-run-attempt-1\?force=true&v=true/)).toHaveLength(1);
  });

  test('leaves the container alone that has its name already', async () => {
    engine.answer(/^POST \/containers\/create/, { status: 409, json: { message: 'name in use' } });
    await expect(makeExecutor().start(spec)).rejects.toMatchObject({ reason: 'engine_error' });
    expect(engine.called(/^DELETE/)).toEqual([]);
  });

  test('fails and removes the container when the stream breaks before the order is through', async () => {
    engine.onAttach = (socket) => socket.destroy();
    await expect(makeExecutor().start(spec)).rejects.toMatchObject({ reason: 'engine_unavailable' });
    expect(engine.called(/^DELETE \/containers\/c1/)).toHaveLength(1);
  });

  test('is not engine_unavailable, which is tried again, once a part of the order may have been read', async () => {
    engine.onAttach = (socket) => void setImmediate(() => socket.pause());
    const executor = makeExecutor({ timeLimits: { ...patient, quickMs: 1_000 } });
    const large = { ...spec, env: { api_token: 'x'.repeat(16 * 1024 ** 2) } };
    await expect(executor.start(large)).rejects.toMatchObject({ reason: 'engine_error' });
    expect(engine.called(/^POST .*\/start/)).toHaveLength(1);
    expect(engine.called(/^DELETE \/containers\/c1/)).toHaveLength(1);
  });

  test('is not engine_unavailable when an original image, which needs no order, may have started', async () => {
    engine.answer(/^GET \/images/, { status: 200, json: { Config: { Labels: null } } });
    engine.answer(/^POST .*\/start/, 'never');
    const executor = makeExecutor({ protocol: 'original', timeLimits: { ...patient, startMs: 300 } });
    await expect(executor.start(spec)).rejects.toMatchObject({ reason: 'engine_error' });
    engine.answer(/^POST \/containers\/create/, 'never');
    const earlier = makeExecutor({ protocol: 'original', timeLimits: { ...patient, createMs: 300 } });
    await expect(earlier.start(spec)).rejects.toMatchObject({ reason: 'engine_unavailable' });
  });

  test('makes the network anew, and then a new container, when somebody removed it', async () => {
    const executor = makeExecutor();
    await executor.start(spec);
    engine.calls.length = 0;
    engine.networks = [];
    engine.answer(/^POST .*\/start/, { status: 404, json: { message: 'network net1 not found' } }, 1);
    await executor.start(spec);
    expect(engine.called(/^POST \/networks\/create/)).toHaveLength(1);
    expect(engine.called(/^POST \/containers\/create/)).toHaveLength(2);
    expect(engine.called(/^DELETE/)).toHaveLength(1);
  });

  test('makes the network once for all starts at the same time', async () => {
    const executor = makeExecutor();
    await Promise.all([1, 2, 3].map((n) => executor.start({ ...spec, attemptId: `attempt-${n}` })));
    expect(engine.called(/^POST \/networks\/create/)).toHaveLength(1);
  });

  test('takes the oldest of networks that were made at the same moment, and removes only our others', async () => {
    const ours = { Name: 'stadion-runners', Labels: { 'org.stadion.owner': 'stadion' } };
    engine.networks = [
      { ...ours, Id: 'younger', Created: '2026-01-02' },
      { ...ours, Id: 'oldest', Created: '2026-01-01' },
      { ...ours, Id: 'somebodys', Created: '2026-01-03', Labels: {} },
      { ...ours, Id: 'other-name', Created: '2025-01-01', Name: 'not-stadion-runners' },
    ];
    await makeExecutor().start(spec);
    expect(engine.called(/^POST \/containers\/create/)[0]?.body).toContain('"NetworkMode":"oldest"');
    expect(engine.called(/^DELETE/).map((call) => call.path)).toEqual(['/networks/younger']);
  });

  test('keeps the younger of two networks when that one is in use already', async () => {
    const ours = { Name: 'stadion-runners', Labels: { 'org.stadion.owner': 'stadion' } };
    engine.networks = [
      { ...ours, Id: 'oldest', Created: '2026-01-01' },
      { ...ours, Id: 'in-use', Created: '2026-01-02' },
    ];
    engine.answer(/^DELETE \/networks\/in-use/, { status: 403, json: { message: 'has active endpoints' } });
    await makeExecutor().start(spec);
    expect(engine.called(/^POST \/containers\/create/)[0]?.body).toContain('"NetworkMode":"in-use"');
    expect(engine.called(/^DELETE \/networks\/oldest/)).toHaveLength(1);
  });

  test('tries again while another starter makes the same network, but not for ever', async () => {
    const ambiguous = { message: 'network stadion-runners is ambiguous (2 matches found on name)' };
    engine.answer(/^POST .*\/start/, { status: 400, json: ambiguous }, 2);
    const executor = makeExecutor();
    await executor.start(spec);
    engine.answer(/^POST .*\/start/, { status: 400, json: ambiguous });
    await expect(executor.start(spec)).rejects.toMatchObject({ reason: 'engine_error' });
  });

  test('does not make a network that somebody else chose', async () => {
    engine.answer(/^POST .*\/start/, { status: 404, json: { message: 'network custom not found' } });
    await expect(makeExecutor({ network: 'custom' }).start(spec)).rejects.toMatchObject({
      reason: 'engine_error',
    });
    expect(engine.called(/^POST \/networks/)).toEqual([]);
  });

  test('refuses an image that does not speak the runner protocol', async () => {
    engine.answer(/^GET \/images/, { status: 200, json: { Config: { Labels: null } } });
    await expect(makeExecutor().start(spec)).rejects.toMatchObject({
      reason: 'engine_error',
      userMessage: expect.stringContaining('is no runner image'),
    });
    expect(engine.called(/^POST \/containers/)).toEqual([]);
  });

  test('says image_missing when the image goes between the look and the creation', async () => {
    engine.answer(/^POST \/containers\/create/, { status: 404, json: { message: 'No such image: x' } });
    await expect(makeExecutor().start(spec)).rejects.toMatchObject({ reason: 'image_missing' });
  });

  test('that is given up while the engine creates removes what was created', async () => {
    const giveUp = new AbortController();
    const reason = new Error('not wanted');
    const starting = makeExecutor().start(spec, giveUp.signal);
    while (engine.called(/^POST \/containers\/create/).length === 0) await new Promise(setImmediate);
    giveUp.abort(reason);
    await expect(starting).rejects.toBe(reason);
    expect(engine.called(/^DELETE \/containers\/c1/)).toHaveLength(1);
    expect(engine.called(/^POST .*\/start/)).toEqual([]);
  });
});

describe('a running sandbox', () => {
  test('output that comes after the container ended is handed on before exited resolves', async () => {
    let output = '';
    const sandbox = await makeExecutor().start({
      ...spec,
      onOutput: (stream, chunk) => {
        output += `${stream}:${chunk.toString()}`;
      },
    });
    engine.streams[0]?.write(frame(1, 'late'));
    engine.end();
    await sandbox.exited;
    expect(output).toBe('stdout:late');
  });

  test('a stream that never ends does not hold up exited', async () => {
    const sandbox = await makeExecutor().start(spec);
    engine.streams.length = 0;
    engine.end();
    expect(await sandbox.exited).toMatchObject({ exitCode: 0 });
  });

  test('stop takes a container that has ended or gone as stopped', async () => {
    const sandbox = await makeExecutor().start(spec);
    for (const status of [304, 404, 409]) {
      engine.answer(/^POST .*\/kill/, { status, json: { message: 'not running' } }, 1);
      await sandbox.stop();
    }
    engine.end();
    await sandbox.exited;
  });

  test('stop on a hanging engine fails in bounded time, and exited resolves as not known', async () => {
    const sandbox = await makeExecutor({
      timeLimits: { ...patient, quickMs: 1_000, unseenEndMs: 200 },
    }).start(spec);
    engine.answer(/kill|c1\/json/, 'never');
    await expect(sandbox.stop()).rejects.toThrow('did not kill the container within 1 s');
    expect(await sandbox.exited).toMatchObject({ cause: 'engine_error', exitCode: null });
  });

  test('an engine that is away for a moment is waited for', async () => {
    engine.answer(/^POST .*\/wait/, { status: 500, json: { message: 'shutting down' } }, 1);
    const sandbox = await makeExecutor().start(spec);
    engine.state = { Running: false, ExitCode: 3, OOMKilled: false };
    engine.end();
    expect(await sandbox.exited).toMatchObject({ cause: 'exit', exitCode: 3 });
    expect(engine.called(/\/wait/)).toHaveLength(2);
  });

  test('an engine that stays away makes the end unknown', async () => {
    const sandbox = await makeExecutor({ timeLimits: { ...patient, engineAwayMs: 300 } }).start(spec);
    engine.close();
    expect(await sandbox.exited).toMatchObject({
      cause: 'engine_error',
      exitCode: null,
      detail: expect.any(String),
    });
    engine = new FakeEngine();
    await engine.listen();
  });

  test('remove waits for a removal that is under way', async () => {
    const sandbox = await makeExecutor().start(spec);
    engine.end();
    const busy = { status: 409, json: { message: 'removal of container c1 is already in progress' } };
    engine.answer(/^DELETE/, { status: 404, json: { message: 'no such container' } });
    engine.answer(/^DELETE/, busy, 2);
    await sandbox.remove();
    await sandbox.remove();
    expect(engine.called(/^DELETE/)).toHaveLength(3);
  });
});

describe('health', () => {
  test.each([
    ['is not there', 'unix:///no/such/docker.sock'],
    ['hangs', undefined],
  ])('an engine that %s is a problem told in time, not an exception', async (_, engineUrl) => {
    engine.answer(/./, 'never');
    const executor = makeExecutor({
      timeLimits: { ...patient, quickMs: 300 },
      ...(engineUrl === undefined ? {} : { engineUrl }),
    });
    expect(await executor.health()).toMatchObject({
      ready: false,
      isolation: expect.stringContaining('Docker container'),
      problem: expect.stringMatching(/does not answer.*start it/),
    });
  });

  test('names a missing network, one that lets scripts meet, and limits that the engine cannot hold', async () => {
    const custom = makeExecutor({ network: 'custom' });
    expect(await custom.health()).toMatchObject({
      ready: false,
      problem: expect.stringContaining('docker network create'),
    });
    engine.networks = [{ Id: 'c', Name: 'custom', Created: '1' }];
    engine.answer(/^GET \/info/, { status: 200, json: { PidsLimit: false, SwapLimit: false } });
    expect(await custom.health()).toMatchObject({
      ready: true,
      warnings: [
        expect.stringContaining('swap, process limits'),
        expect.stringContaining('enable_icc=false'),
      ],
    });
  });
});

test.each(['host', 'container:x'])('an executor on the network %s cannot be made', (network) => {
  expect(() => makeExecutor({ network })).toThrow('may not use the network');
});
