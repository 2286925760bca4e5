/** What an operator should know of the Docker engine before scripts run on it: see `ExecutorHealth`. */
import type { ExecutorHealth, ProfileHealth, SandboxProfile } from '../executor.js';
import { ownNetwork } from './container-options.js';
import { type Engine, EngineError } from './engine.js';
import { versionWarnings } from './engine-versions.js';
import { findImage, imageProblem } from './runner-image.js';

export async function examineEngine(
  engine: Engine,
  profiles: readonly SandboxProfile[],
): Promise<ExecutorHealth> {
  try {
    return await examine(engine, profiles);
  } catch (error) {
    return {
      ready: false,
      profiles: [],
      isolation: 'Docker container',
      warnings: [],
      problem:
        error instanceof EngineError && error.kind === 'unavailable'
          ? `The Docker engine does not answer (${error.message}); start it, or set the address of one that runs.`
          : `The Docker engine could not be examined: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

async function examine(engine: Engine, profiles: readonly SandboxProfile[]): Promise<ExecutorHealth> {
  const [version = {}, info = {}, ...looks] = await Promise.all([
    engine.read<EngineVersion>('tell its version', '/version'),
    engine.read<EngineInfo>('describe itself', '/info'),
    ...profiles.map(async (profile) => ({
      profile,
      image: await findImage(engine, profile.image),
      network: await findNetwork(engine, profile.network),
    })),
  ]);
  const examined = looks.map(({ profile, image, network }) => {
    const runtime = profile.runtime ?? info.DefaultRuntime ?? 'runc';
    const problem =
      imageProblem(profile, image)?.userMessage ??
      runtimeProblem(runtime, info) ??
      networkProblem(profile.network, network);
    return { profile, network, runtime, problem };
  });
  const main = examined.find(({ profile }) => profile.name === 'python') ?? examined[0];
  const runtimes = new Set(examined.map(({ runtime }) => runtime));
  const warnings = [
    ...versionWarnings({
      docker: version.Version,
      runc: runtimes.has('runc') ? runcVersion(version) : undefined,
    }),
    ...limitWarnings(info),
    ...examined.flatMap(({ profile, network }) => networkWarnings(profile.network, network)),
    ...profiles.filter(({ protocol }) => protocol === 'original').map(originalWarning),
  ];
  return {
    ready: main !== undefined && main.problem === undefined,
    profiles: examined.map(({ profile, problem }) => profileHealth(profile, problem)),
    isolation: isolationSentence(
      main?.runtime ?? info.DefaultRuntime ?? 'runc',
      info,
      main?.profile.network ?? ownNetwork,
    ),
    warnings: [...new Set(warnings)],
    ...(main?.problem === undefined ? {} : { problem: main.problem }),
  };
}

function profileHealth(profile: SandboxProfile, problem: string | undefined): ProfileHealth {
  return {
    name: profile.name,
    language: profile.language,
    runsIn: profile.image,
    available: problem === undefined,
    ...(problem === undefined ? {} : { problem }),
  };
}

function originalWarning({ name, image }: SandboxProfile): string {
  return (
    `Scripts of the profile ${name} get their environment, API token included, in the container's configuration, which ` +
    `everybody who may ask the engine can read, and run on should the starter be killed: ${image} does not speak the ` +
    `runner protocol. Use an image that does.`
  );
}

async function findNetwork(engine: Engine, name: string): Promise<EngineNetwork | undefined> {
  return name === 'none' ? undefined : (await engine.networksNamed(name))[0];
}

interface EngineVersion {
  Version?: string;
  Components?: { Name: string; Version: string }[] | null;
}

interface EngineNetwork {
  Options?: Record<string, string> | null | undefined;
}

interface EngineInfo {
  DefaultRuntime?: string;
  Runtimes?: Record<string, unknown> | null;
  SecurityOptions?: string[] | null;
  MemoryLimit?: boolean;
  SwapLimit?: boolean;
  PidsLimit?: boolean;
  CpuCfsQuota?: boolean;
}

function runtimeProblem(runtime: string, info: EngineInfo): string | undefined {
  if (!info.Runtimes || Object.hasOwn(info.Runtimes, runtime)) return undefined;
  return (
    `The Docker engine has no runtime "${runtime}" (it has ${Object.keys(info.Runtimes).join(', ')}): install it and ` +
    `name it under "runtimes" in the engine's daemon.json, or set another.`
  );
}

function networkProblem(name: string, found: EngineNetwork | undefined): string | undefined {
  if (found || name === 'none' || name === ownNetwork) return undefined;
  return (
    `The Docker network ${name} does not exist; make it with: ` +
    `docker network create -o com.docker.network.bridge.enable_icc=false ${name}`
  );
}

function networkWarnings(name: string, found: EngineNetwork | undefined): string[] {
  if (!found || found.Options?.['com.docker.network.bridge.enable_icc'] === 'false') return [];
  return [
    `Scripts that run at the same time can reach each other on the network ${name}: make it anew with ` +
      `docker network rm ${name} && docker network create -o com.docker.network.bridge.enable_icc=false ${name}`,
  ];
}

function limitWarnings(info: EngineInfo): string[] {
  const missing = [
    info.MemoryLimit === false && 'memory',
    info.SwapLimit === false && 'swap',
    info.PidsLimit === false && 'process',
    info.CpuCfsQuota === false && 'processor',
  ].filter((one) => one !== false);
  if (missing.length === 0) return [];
  return [
    `The Docker engine cannot hold ${missing.join(', ')} limits here, so a script can exhaust the machine: enable the ` +
      `kernel's control groups for them (on Debian: cgroup_enable=memory swapaccount=1 on the kernel's command line).`,
  ];
}

function isolationSentence(runtime: string, info: EngineInfo, network: string): string {
  const options = info.SecurityOptions ?? [];
  const has = (name: string) => options.some((option) => option.startsWith(`name=${name}`));
  return [
    `Docker container (${runtime === 'runsc' ? 'gVisor, runsc' : runtime})`,
    'read-only root',
    'no capabilities',
    ...(has('seccomp') ? ['filtered system calls'] : []),
    ...(has('userns') ? ['user namespace'] : []),
    ...(has('rootless') ? ['rootless engine'] : []),
    network === 'none' ? 'no network' : network === ownNetwork ? 'own network' : `network ${network}`,
  ].join(', ');
}

function runcVersion(version: EngineVersion): string | undefined {
  return version.Components?.find((component) => component.Name === 'runc')?.Version;
}
