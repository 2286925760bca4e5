/** Chooses the best sandbox that is here: Docker when an engine answers and has the runner image, else a process. */
import type { Executor, ExecutorHealth, Language } from '@stadion/starter';

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

/**
 * Throws a sentence when what was asked for is not to be had. `language` is what the script at hand needs: an engine
 * without an image for it is passed over like one that does not answer.
 */
export async function chooseExecutor(
  wish: string,
  candidates: Candidates,
  language: Language = 'python',
): Promise<ExecutorChoice> {
  let better: string | undefined;
  if (wish !== 'process') {
    const docker = candidates.docker();
    const health = await docker.health();
    const problem = problemOf(health, language);
    if (problem === undefined) return { executor: docker, ...health, better: undefined };
    await docker.close();
    if (wish === 'docker') throw new Error(`The docker executor cannot be used: ${problem}`);
    better = `a Docker container would be stronger. ${problem}`.trim();
  }
  const executor = candidates.process();
  const health = await executor.health();
  const problem = problemOf(health, language);
  if (problem !== undefined) throw new Error(`The process executor cannot be used: ${problem}`);
  return { executor, ...health, better };
}

function problemOf(health: ExecutorHealth, language: Language): string | undefined {
  if (!health.ready) return health.problem ?? 'no reason given';
  const profile = health.profiles.find(({ name }) => name === language);
  return profile && !profile.available ? (profile.problem ?? 'no reason given') : undefined;
}
