/**
 * What a script's container may do: one pure function from what is to run and how this starter is set up to the
 * options Docker gets. Every field that gives power is written out, so that no default of the engine, and nothing
 * inherited through `Object.prototype`, decides it.
 */
import { isAbsolute, join, relative, sep } from 'node:path/posix';
import type { ContainerCreateOptions, HostConfig } from 'dockerode';
import type { SandboxProfile, SandboxSpec } from '../executor.js';

export interface ContainerSettings {
  /** Told apart by label, so that starters can share an engine. */
  starterId: string;
  image: string;
  /** See `SandboxProfile`. */
  protocol: SandboxProfile['protocol'];
  /** Who the script is: see `runnerUser`. */
  user: { uid: number; gid: number };
  /** A bridge network's name, or `none`. */
  network: string;
  /** An OCI runtime the engine knows, such as `runsc`; null is the engine's own default. */
  runtime: string | null;
  /** Where the exchange root is for this process and for the engine; null when both see the same path. */
  exchangeRoot: { here: string; onHost: string } | null;
  /** Name servers instead of the engine's. */
  dns?: readonly string[];
  /** Names that scripts find at an address of the operator's choice, `name:address`. */
  extraHosts?: readonly string[];
}

export const labels = {
  attempt: 'org.stadion.attempt',
  task: 'org.stadion.task',
  starter: 'org.stadion.starter',
  /** On what belongs to every starter, such as the network. */
  owner: 'org.stadion.owner',
  protocol: 'org.stadion.runner.protocol',
} as const;

/** The network that is made when it is missing; any other must exist. */
export const ownNetwork = 'stadion-runners';

const shmBytes = 64 * 1024 * 1024;
const cpuPeriodUs = 100_000;

export function containerOptions(spec: SandboxSpec, settings: ContainerSettings): ContainerCreateOptions {
  const { limits } = spec;
  const takesOrders = settings.protocol === 'stadion';
  if (!isOrdinaryNetwork(settings.network)) {
    throw new TypeError(
      `Network ${JSON.stringify(settings.network)} would not keep a script apart from its machine`,
    );
  }
  return {
    name: containerName(spec.attemptId),
    Image: settings.image,
    // The image's entrypoint, without arguments: variables and secrets come on standard input only. The original's images
    // know no other way than these two.
    Cmd: takesOrders ? [] : ['run'],
    Env: takesOrders ? [] : environmentOf(spec),
    User: `${settings.user.uid}:${settings.user.gid}`,
    WorkingDir: '/scripts',
    Hostname: 'runner',
    Domainname: '',
    Labels: {
      [labels.attempt]: spec.attemptId,
      [labels.task]: String(spec.taskId),
      [labels.starter]: settings.starterId,
    },
    Tty: false,
    OpenStdin: takesOrders,
    StdinOnce: takesOrders,
    AttachStdin: takesOrders,
    AttachStdout: true,
    AttachStderr: true,
    ExposedPorts: {},
    Volumes: {},
    Healthcheck: { Test: ['NONE'] },
    NetworkDisabled: settings.network === 'none',
    HostConfig: {
      // Mounts, not Binds: a bind's missing source would silently be made by the engine, owned by root.
      Binds: [],
      Mounts: [
        {
          Type: 'bind',
          Source: pathOnHost(spec.scriptsDir, settings.exchangeRoot),
          Target: '/scripts',
          ReadOnly: false,
          BindOptions: { Propagation: 'rprivate' },
        },
      ],
      // Executable, because libraries unpack code there; a script may run what it likes from /scripts anyway.
      Tmpfs: { '/tmp': `rw,exec,nosuid,nodev,mode=1777,size=${limits.tmpBytes}` },
      ReadonlyRootfs: true,
      Privileged: false,
      CapAdd: [],
      CapDrop: ['ALL'],
      // Docker's own seccomp and AppArmor profiles stay, for nothing here says otherwise.
      SecurityOpt: ['no-new-privileges'],
      Devices: [],
      DeviceRequests: [],
      DeviceCgroupRules: [],
      VolumesFrom: [],
      Links: [],
      Dns: ownList(settings, 'dns'),
      ExtraHosts: ownList(settings, 'extraHosts'),
      GroupAdd: [],
      PortBindings: {},
      PublishAllPorts: false,
      NetworkMode: settings.network,
      IpcMode: 'private',
      PidMode: '',
      UTSMode: '',
      UsernsMode: '',
      CgroupParent: '',
      Memory: limits.memoryBytes,
      MemorySwap: limits.memoryBytes,
      ShmSize: Math.min(shmBytes, limits.memoryBytes),
      OomKillDisable: false,
      // As quota, not NanoCpus: the engine refuses NanoCpus beyond the machine's cores, where a quota just never bites.
      CpuPeriod: cpuPeriodUs,
      CpuQuota: Math.max(1_000, Math.round(limits.cpus * cpuPeriodUs)),
      PidsLimit: limits.pids,
      Ulimits: [
        { Name: 'nofile', Soft: limits.openFiles, Hard: limits.openFiles },
        { Name: 'fsize', Soft: limits.fileBytes, Hard: limits.fileBytes },
        { Name: 'core', Soft: 0, Hard: 0 },
      ],
      // Output goes to who is attached and to no file.
      LogConfig: { Type: 'none', Config: {} },
      AutoRemove: false,
      // The image's entrypoint is the init process.
      Init: false,
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      ...(settings.runtime === null ? {} : { Runtime: settings.runtime }),
    } satisfies HostConfig,
  };
}

/** Docker would take a name with `=` for another one, and a name alone for a variable of its own to pass on. */
function environmentOf({ env }: SandboxSpec): string[] {
  return Object.entries(env).map(([name, value]) => {
    if (name === '' || /[=\0]/.test(name) || value.includes('\0')) {
      throw new TypeError(`No process can have an environment variable ${JSON.stringify(name)} like that`);
    }
    return `${name}=${value}`;
  });
}

/** Not what a polluted prototype says. */
function ownList(settings: ContainerSettings, key: 'dns' | 'extraHosts'): string[] {
  return Object.hasOwn(settings, key) ? [...(settings[key] ?? [])] : [];
}

/** Docker takes `host` and `container:<id>` for a network too; both would end the isolation. */
export function isOrdinaryNetwork(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(name) && name !== 'host' && name !== 'default';
}

export function containerName(attemptId: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(attemptId)) {
    throw new TypeError(`Attempt id ${JSON.stringify(attemptId)} cannot name a container`);
  }
  return `stadion-run-${attemptId}`;
}

/**
 * Who the script is. A starter that is not root could not delete another user's files, so the script gets its own
 * ids then; root's never.
 */
export function runnerUser(starterUid: number, starterGid: number): { uid: number; gid: number } {
  return starterUid === 0 ? { uid: 1000, gid: 1000 } : { uid: starterUid, gid: starterGid };
}

/** The engine resolves paths on its own machine; a starter in a container sees them elsewhere. */
export function pathOnHost(path: string, exchangeRoot: ContainerSettings['exchangeRoot']): string {
  if (!isAbsolute(path) || path.split(sep).includes('..')) {
    throw new TypeError(`${JSON.stringify(path)} is no absolute path`);
  }
  if (exchangeRoot === null) return path;
  const inside = relative(exchangeRoot.here, path);
  if (inside === '' || inside === '..' || inside.startsWith(`..${sep}`)) {
    throw new TypeError(`${path} is not inside the exchange directory ${exchangeRoot.here}`);
  }
  return join(exchangeRoot.onHost, inside);
}
