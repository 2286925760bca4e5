/** What an operator should know of the Docker engine before scripts run on it: see `ExecutorHealth`. */
import type { ExecutorHealth } from '../executor.js';
import { type ContainerSettings, ownNetwork } from './container-options.js';
import { type Engine, EngineError } from './engine.js';
import { versionWarnings } from './engine-versions.js';
import { findImage, imageProblem } from './runner-image.js';

export async function examineEngine(engine: Engine, settings: ContainerSettings): Promise<ExecutorHealth> {
  try {
    return await examine(engine, settings);
  } catch (error) {
    return {
      ready: false,
      isolation: `Docker container (${settings.runtime ?? "the engine's default runtime"})`,
      warnings: [],
      problem:
        error instanceof EngineError && error.kind === 'unavailable'
          ? `The Docker engine does not answer (${error.message}); start it, or set the address of one that runs.`
          : `The Docker engine could not be examined: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

async function examine(engine: Engine, settings: ContainerSettings): Promise<ExecutorHealth> {
  const [version = {}, info = {}, image, network] = await Promise.all([
    engine.read<EngineVersion>('tell its version', '/version'),
    engine.read<EngineInfo>('describe itself', '/info'),
    findImage(engine, settings.image),
    findNetwork(engine, settings.network),
  ]);
  const runtime = settings.runtime ?? info.DefaultRuntime ?? 'runc';
  const problem =
    imageProblem(settings.image, image)?.userMessage ??
    runtimeProblem(runtime, info) ??
    networkProblem(settings.network, network);
  return {
    ready: problem === undefined,
    isolation: isolationSentence(runtime, info, settings.network),
    warnings: [
      ...versionWarnings({
        docker: version.Version,
        runc: runtime === 'runc' ? runcVersion(version) : undefined,
      }),
      ...limitWarnings(info),
      ...networkWarnings(settings.network, network),
    ],
    ...(problem === undefined ? {} : { problem }),
  };
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
