/** Chooses the best sandbox that is here: Docker when an engine answers and has the runner image, else a process. */
import type { Executor } from '@stadion/starter';

export interface ExecutorChoice {
  executor: Executor;
  /** What separates a script from this machine. */
  isolation: string;
  /** How to get a better one; undefined when there is none, or it was asked for. */
  better: string | undefined;
  warnings: readonly string[];
}

export interface Candidates {
  docker(): Executor;
  process(): Executor;
}

/** Throws a sentence when what was asked for is not to be had. */
export async function chooseExecutor(wish: string, candidates: Candidates): Promise<ExecutorChoice> {
  let better: string | undefined;
  if (wish !== 'process') {
    const docker = candidates.docker();
    const health = await docker.health();
    if (health.ready) return { executor: docker, ...health, better: undefined };
    await docker.close();
    if (wish === 'docker')
      throw new Error(`The docker executor cannot be used: ${health.problem ?? 'no reason given'}`);
    better = `a Docker container would be stronger. ${health.problem ?? ''}`.trim();
  }
  const executor = candidates.process();
  const health = await executor.health();
  if (!health.ready)
    throw new Error(`The process executor cannot be used: ${health.problem ?? 'no reason given'}`);
  return { executor, ...health, better };
}
