/** Makes the executor that the settings ask for; the only place that knows both technologies. */
import { dirname, join } from 'node:path';
import { SettingsError } from '@stadion/service-kit';
import { namesForSandboxes, type StarterSettings } from './config.js';
import { runnerUser } from './executors/docker/container-options.js';
import { DockerExecutor } from './executors/docker/docker-executor.js';
import type { Executor } from './executors/executor.js';
import { ProcessExecutor, type ProcessExecutorOptions } from './executors/process/process-executor.js';
import type { Profiles } from './profiles.js';

/** What only the entry point knows: facts of this process and of where its files are. */
export interface Surroundings {
  starterId: string;
  searchPath: string;
  temporaryDir: string;
  uid: number;
  gid: number;
  pyodide?: ProcessExecutorOptions['pyodide'];
  node?: ProcessExecutorOptions['node'];
}

export function createExecutor(
  settings: StarterSettings,
  profiles: Profiles,
  surroundings: Surroundings,
): Executor {
  return settings.executor === 'docker'
    ? createDockerExecutor(settings, profiles, surroundings)
    : createProcessExecutor(settings, profiles, surroundings);
}

function createDockerExecutor(
  settings: StarterSettings,
  profiles: Profiles,
  { starterId, uid, gid }: Surroundings,
): Executor {
  const { exchangeDir, exchangeHostDir } = settings;
  return new DockerExecutor({
    starterId,
    engineUrl: settings.dockerHost ?? null,
    profiles: profiles.all,
    user: sandboxUser(settings, runnerUser(uid, gid), uid),
    ...namesForSandboxes(settings),
    exchangeRoot: exchangeHostDir ? { here: exchangeDir, onHost: exchangeHostDir } : null,
  });
}

/** A starter that is not root could not delete files of a user other than its own. */
function sandboxUser(
  { runnerUid, runnerGid }: StarterSettings,
  usual: { uid: number; gid: number },
  starterUid: number,
): { uid: number; gid: number } {
  if (starterUid !== 0 && runnerUid !== undefined && runnerUid !== starterUid) {
    throw new SettingsError([
      `STADION_RUNNER_UID must be ${starterUid}, the starter's own, or the starter must be root: it could not delete the scripts' files`,
    ]);
  }
  return { uid: runnerUid ?? usual.uid, gid: runnerGid ?? usual.gid };
}

function createProcessExecutor(
  settings: StarterSettings,
  profiles: Profiles,
  surroundings: Surroundings,
): Executor {
  const { starterId, searchPath, temporaryDir, pyodide, node } = surroundings;
  // Beside the exchange directory, not in it: the exchange sweeps what it does not know.
  const stateDir = join(dirname(settings.exchangeDir), 'stadion-processes');
  return new ProcessExecutor({
    starterId,
    stateDir,
    temporaryDir,
    searchPath,
    pyodide,
    node,
    profiles: profiles.all,
  });
}
