import type { Executor, ExecutorHealth } from '@stadion/starter';
import { chooseExecutor } from './choose-executor.js';

function candidate(name: 'docker' | 'process', health: Partial<ExecutorHealth>) {
  const seen = { closed: false };
  const executor: Executor = {
    name,
    health: () =>
      Promise.resolve({ ready: true, profiles: [], isolation: `${name} isolation`, warnings: [], ...health }),
    start: () => Promise.reject(new Error('not asked for')),
    leftovers: () => Promise.resolve([]),
    close: () => Promise.resolve(void (seen.closed = true)),
  };
  return { executor, seen };
}

const choose = (wish: string, docker: Partial<ExecutorHealth>, ofProcess: Partial<ExecutorHealth> = {}) => {
  const candidates = { docker: candidate('docker', docker), process: candidate('process', ofProcess) };
  const choice = chooseExecutor(wish, {
    docker: () => candidates.docker.executor,
    process: () => candidates.process.executor,
  });
  return { choice, dockerWasClosed: () => candidates.docker.seen.closed };
};
const away = { ready: false, problem: 'No engine answers; start one.' };

describe('choosing an executor', () => {
  it('takes Docker when it is ready', async () => {
    const { choice, dockerWasClosed } = choose('auto', {});
    expect(await choice).toMatchObject({ isolation: 'docker isolation', better: undefined });
    expect(dockerWasClosed()).toBe(false);
  });

  it('takes a process otherwise, and says how to get Docker', async () => {
    const { choice, dockerWasClosed } = choose('auto', away);
    expect(await choice).toMatchObject({
      executor: { name: 'process' },
      better: expect.stringContaining('No engine answers; start one.'),
    });
    expect(dockerWasClosed()).toBe(true);
  });

  it('takes what was asked for or says why not', async () => {
    expect(await choose('process', {}).choice).toMatchObject({
      executor: { name: 'process' },
      better: undefined,
    });
    await expect(choose('docker', away).choice).rejects.toThrow('No engine answers; start one.');
    await expect(choose('auto', away, { ready: false, problem: 'No Python.' }).choice).rejects.toThrow(
      'No Python.',
    );
  });
});
