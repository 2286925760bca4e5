/** Makes the executor that the settings ask for; the only place that knows both technologies. */
import { dirname, join } from 'node:path';
import type { StarterSettings } from './config.js';
import { runnerUser } from './executors/docker/container-options.js';
import { DockerExecutor } from './executors/docker/docker-executor.js';
import type { Executor } from './executors/executor.js';
import { ProcessExecutor, type ProcessExecutorOptions } from './executors/process/process-executor.js';

/** What only the entry point knows: facts of this process and of where its files are. */
export interface Surroundings {
  starterId: string;
  searchPath: string;
  temporaryDir: string;
  uid: number;
  gid: number;
  pyodide?: ProcessExecutorOptions['pyodide'];
}

export function createExecutor(settings: StarterSettings, surroundings: Surroundings): Executor {
  return settings.executor === 'docker'
    ? createDockerExecutor(settings, surroundings)
    : createProcessExecutor(settings, surroundings);
}

function createDockerExecutor(settings: StarterSettings, { starterId, uid, gid }: Surroundings): Executor {
  const { exchangeDir, exchangeHostDir } = settings;
  return new DockerExecutor({
    starterId,
    engineUrl: settings.dockerHost ?? null,
    image: settings.runnerImage,
    user: runnerUser(uid, gid),
    network: settings.network,
    runtime: settings.runtime ?? null,
    exchangeRoot: exchangeHostDir ? { here: exchangeDir, onHost: exchangeHostDir } : null,
  });
}

function createProcessExecutor(settings: StarterSettings, surroundings: Surroundings): Executor {
  const { starterId, searchPath, temporaryDir, pyodide } = surroundings;
  // Beside the exchange directory, not in it: the exchange sweeps what it does not know.
  const stateDir = join(dirname(settings.exchangeDir), 'stadion-processes');
  return new ProcessExecutor({ starterId, stateDir, temporaryDir, searchPath, pyodide });
}
