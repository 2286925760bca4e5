import fc from 'fast-check';
import type { SandboxSpec } from '../executor.js';
import { containerOptions, type ContainerSettings, pathOnHost, runnerUser } from './container-options.js';

const gib = 1024 ** 3;

const spec: SandboxSpec = {
  attemptId: '3d1f0a52-6a52-4a0e-9f5e-2f6e3a1b0c9d',
  taskId: 42,
  profile: 'python',
  scriptFile: 'index.py',
  scriptsDir: '/var/lib/stadion/exchange/3d1f',
  env: { api_token: 'a secret' },
  limits: {
    memoryBytes: gib,
    cpus: 1.5,
    pids: 64,
    openFiles: 256,
    fileBytes: 10_000_000,
    tmpBytes: 104_857_600,
  },
  timeLimitS: 900,
  onOutput: () => undefined,
};

const settings: ContainerSettings = {
  starterId: '0b9c9f5e-5d3c-4c39-b4a1-000000000001',
  image: 'stadion/runner-python:1',
  protocol: 'stadion',
  user: { uid: 1000, gid: 1000 },
  network: 'stadion-runners',
  runtime: null,
  exchangeRoot: null,
};

test('every field that Docker gets is this one', () => {
  expect(containerOptions(spec, settings)).toEqual({
    name: 'stadion-run-3d1f0a52-6a52-4a0e-9f5e-2f6e3a1b0c9d',
    Image: 'stadion/runner-python:1',
    Cmd: [],
    Env: [],
    User: '1000:1000',
    WorkingDir: '/scripts',
    Hostname: 'runner',
    Domainname: '',
    Labels: {
      'org.stadion.attempt': '3d1f0a52-6a52-4a0e-9f5e-2f6e3a1b0c9d',
      'org.stadion.task': '42',
      'org.stadion.starter': '0b9c9f5e-5d3c-4c39-b4a1-000000000001',
    },
    Tty: false,
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    ExposedPorts: {},
    Volumes: {},
    Healthcheck: { Test: ['NONE'] },
    NetworkDisabled: false,
    HostConfig: {
      Binds: [],
      Mounts: [
        {
          Type: 'bind',
          Source: '/var/lib/stadion/exchange/3d1f',
          Target: '/scripts',
          ReadOnly: false,
          BindOptions: { Propagation: 'rprivate' },
        },
      ],
      Tmpfs: { '/tmp': 'rw,exec,nosuid,nodev,mode=1777,size=104857600' },
      ReadonlyRootfs: true,
      Privileged: false,
      CapAdd: [],
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      Devices: [],
      DeviceRequests: [],
      DeviceCgroupRules: [],
      VolumesFrom: [],
      Links: [],
      Dns: [],
      ExtraHosts: [],
      GroupAdd: [],
      PortBindings: {},
      PublishAllPorts: false,
      NetworkMode: 'stadion-runners',
      IpcMode: 'private',
      PidMode: '',
      UTSMode: '',
      UsernsMode: '',
      CgroupParent: '',
      Memory: gib,
      MemorySwap: gib,
      ShmSize: 64 * 1024 * 1024,
      OomKillDisable: false,
      CpuPeriod: 100_000,
      CpuQuota: 150_000,
      PidsLimit: 64,
      Ulimits: [
        { Name: 'nofile', Soft: 256, Hard: 256 },
        { Name: 'fsize', Soft: 10_000_000, Hard: 10_000_000 },
        { Name: 'core', Soft: 0, Hard: 0 },
      ],
      LogConfig: { Type: 'none', Config: {} },
      AutoRemove: false,
      Init: false,
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
    },
  });
});

test('a runtime is only named when one is set', () => {
  expect(containerOptions(spec, { ...settings, runtime: 'runsc' }).HostConfig).toHaveProperty(
    'Runtime',
    'runsc',
  );
  expect(containerOptions(spec, settings).HostConfig).not.toHaveProperty('Runtime');
});

test('the network "none" is also a switched-off network', () => {
  expect(containerOptions(spec, { ...settings, network: 'none' })).toMatchObject({
    NetworkDisabled: true,
    HostConfig: { NetworkMode: 'none' },
  });
});

test.each(['host', 'default', 'container:abc', 'service:x', '', 'a b', '-x'])(
  'the network %p would end the isolation and is refused',
  (network) => {
    expect(() => containerOptions(spec, { ...settings, network })).toThrow(TypeError);
  },
);

test('whatever a task brings, the container gets no power and sees only its own folder', () => {
  const anyLimits = fc.record({
    memoryBytes: fc.integer({ min: 6 * 1024 * 1024, max: 2 ** 40 }),
    cpus: fc.double({ min: 0.001, max: 256, noNaN: true }),
    pids: fc.integer({ min: 1, max: 100_000 }),
    openFiles: fc.integer({ min: 8, max: 1_000_000 }),
    fileBytes: fc.integer({ min: 0, max: 2 ** 45 }),
    tmpBytes: fc.integer({ min: 4096, max: 2 ** 40 }),
  });
  const anySpec = fc.record({
    attemptId: fc.uuid(),
    taskId: fc.nat(),
    scriptsDir: fc.stringMatching(/^\/exchange\/[ -~]{1,40}$/),
    env: fc.dictionary(fc.string(), fc.string({ minLength: 24, maxLength: 60 }), { maxKeys: 4 }),
    limits: anyLimits,
    timeLimitS: fc.integer({ min: 1, max: 86_400 }),
  });
  const inside = { here: '/exchange', onHost: '/srv/stadion/exchange' };
  fc.assert(
    fc.property(anySpec, (given) => {
      let options;
      try {
        options = containerOptions(
          { ...given, profile: 'python', scriptFile: 'index.py', onOutput: () => undefined },
          { ...settings, exchangeRoot: inside },
        );
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError);
        return;
      }
      const host = options.HostConfig;
      expect(host).toMatchObject({
        Privileged: false,
        ReadonlyRootfs: true,
        CapAdd: [],
        CapDrop: ['ALL'],
        Binds: [],
        Devices: [],
        SecurityOpt: ['no-new-privileges'],
        NetworkMode: 'stadion-runners',
        IpcMode: 'private',
        PidMode: '',
        Memory: given.limits.memoryBytes,
        MemorySwap: given.limits.memoryBytes,
      });
      expect(host?.Mounts).toHaveLength(1);
      expect(host?.Mounts?.[0]?.Source).toMatch(/^\/srv\/stadion\/exchange\/./);
      expect(host?.Mounts?.[0]?.Source).not.toMatch(/(^|\/)\.\.(\/|$)/);
      expect(Number.isInteger(host?.CpuQuota) && Number(host?.CpuQuota) >= 1_000).toBe(true);
      expect(options.User).toBe('1000:1000');
      const text = JSON.stringify(options);
      for (const value of Object.values(given.env)) {
        if (!JSON.stringify([given.scriptsDir, given.attemptId]).includes(value))
          expect(text).not.toContain(value);
      }
    }),
    { numRuns: 300 },
  );
});

test('a polluted Object.prototype changes nothing of what is sent', () => {
  const clean = JSON.stringify(containerOptions(spec, settings));
  const pollution: Record<string, unknown> = {
    Privileged: true,
    CapAdd: ['ALL'],
    Binds: ['/:/host'],
    Runtime: 'evil',
    runtime: 'evil',
    HostConfig: { Privileged: true },
    User: '0:0',
    user: { uid: 0, gid: 0 },
    network: 'host',
    exchangeRoot: { here: '/', onHost: '/' },
    Devices: [{ PathOnHost: '/dev/sda' }],
    Entrypoint: ['/bin/sh'],
    Env: ['LD_PRELOAD=/x'],
    here: '/',
    onHost: '/etc',
  };
  const prototype = Object.prototype as unknown as Record<string, unknown>;
  try {
    for (const [name, value] of Object.entries(pollution)) {
      Object.defineProperty(prototype, name, { value, configurable: true, enumerable: true, writable: true });
    }
    expect(JSON.stringify(containerOptions(spec, settings)) === clean).toBe(true);
  } finally {
    for (const name of Object.keys(pollution)) delete prototype[name];
  }
});

test.each(['', '../x', 'a/b', '-rm', 'a b', 'x'.repeat(200)])(
  'the attempt id %p cannot name a container',
  (attemptId) => {
    expect(() => containerOptions({ ...spec, attemptId }, settings)).toThrow('cannot name a container');
  },
);

describe('the exchange directory as the engine sees it', () => {
  const root = { here: '/exchange', onHost: '/srv/stadion' };

  test('is the same path without a mapping', () => {
    expect(pathOnHost('/exchange/a', null)).toBe('/exchange/a');
  });

  test('is moved below the root on the host', () => {
    expect(pathOnHost('/exchange/a/b', root)).toBe('/srv/stadion/a/b');
    expect(pathOnHost('/exchange/..a', root)).toBe('/srv/stadion/..a');
  });

  test.each(['/exchange', '/exchange/', '/exchanges/a', '/etc', '/exchange/../etc', 'exchange/a', ''])(
    'refuses %p, which is no folder inside the root',
    (path) => {
      expect(() => pathOnHost(path, root)).toThrow(TypeError);
    },
  );
});

test("the script is never root: a root starter's scripts are 1000:1000, another's are its own user", () => {
  expect(runnerUser(0, 0)).toEqual({ uid: 1000, gid: 1000 });
  expect(runnerUser(1234, 1234)).toEqual({ uid: 1234, gid: 1234 });
});

test("name servers and names are the operator's, and nothing that a polluted prototype says", () => {
  const chosen = { ...settings, dns: ['192.0.2.53'], extraHosts: ['files:192.0.2.1'] };
  expect(containerOptions(spec, chosen).HostConfig).toMatchObject({
    Dns: ['192.0.2.53'],
    ExtraHosts: ['files:192.0.2.1'],
  });
  Object.assign(Object.prototype, { extraHosts: ['metadata:169.254.169.254'] });
  try {
    expect(containerOptions(spec, settings).HostConfig).toMatchObject({ ExtraHosts: [] });
  } finally {
    delete (Object.prototype as { extraHosts?: unknown }).extraHosts;
  }
});

test('an image of the original pipeline is told what to run by its configuration; everything else is as for ours', () => {
  const { Cmd, Env, OpenStdin, StdinOnce, AttachStdin, ...original } = containerOptions(spec, {
    ...settings,
    protocol: 'original',
  });
  expect({ Cmd, Env, OpenStdin, StdinOnce, AttachStdin }).toEqual({
    Cmd: ['run'],
    Env: ['api_token=a secret'],
    OpenStdin: false,
    StdinOnce: false,
    AttachStdin: false,
  });
  expect(containerOptions(spec, settings)).toMatchObject(original);
});

test.each([{ 'a=b': 'c' }, { '': 'c' }, { 'a\0': 'c' }, { a: 'b\0' }])(
  'an image of the original pipeline gets no environment that Docker would read otherwise: %j',
  (env) => {
    expect(() => containerOptions({ ...spec, env }, { ...settings, protocol: 'original' })).toThrow(
      TypeError,
    );
  },
);
