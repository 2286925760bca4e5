import { createLogger } from './logger.js';
import { PeriodicLoop, type PeriodicTask } from './periodic.js';

const logger = createLogger({ service: 'test', level: 'silent' });

/** A task whose passes the test lets go one by one. */
function gatedTask() {
  const started: (() => void)[] = [];
  let passes = 0;
  let concurrent = 0;
  let most = 0;
  let failNext = false;
  const releases: (() => void)[] = [];
  const task: PeriodicTask = {
    name: 'gated',
    cron: '0 0 1 1 *',
    behindAfterMs: 50,
    async runOnce() {
      passes += 1;
      most = Math.max(most, (concurrent += 1));
      started.shift()?.();
      await new Promise<void>((resolve) => releases.push(resolve));
      concurrent -= 1;
      if (failNext) throw new Error('midway');
      return {};
    },
  };
  return {
    task,
    nextStart: () => new Promise<void>((resolve) => started.push(resolve)),
    release: () => releases.shift()?.(),
    fail: (value: boolean) => (failNext = value),
    passes: () => passes,
    mostAtOnce: () => most,
  };
}

describe('a periodic loop', () => {
  it('runs a pass at once when nudged', async () => {
    const gated = gatedTask();
    const loop = new PeriodicLoop(gated.task, logger);
    const started = gated.nextStart();
    loop.nudge();
    await started;
    gated.release();
    await loop.stop();
    expect(gated.passes()).toBe(1);
  });

  it('folds nudges during a pass into one more pass, and never overlaps', async () => {
    const gated = gatedTask();
    const loop = new PeriodicLoop(gated.task, logger);
    const first = gated.nextStart();
    loop.nudge();
    await first;
    const second = gated.nextStart();
    loop.nudge();
    loop.nudge();
    loop.nudge();
    gated.release();
    await second;
    gated.release();
    await loop.stop();
    expect(gated.passes()).toBe(2);
    expect(gated.mostAtOnce()).toBe(1);
  });

  it('goes on after a pass failed, and reports the failure until one succeeds (R20)', async () => {
    const gated = gatedTask();
    const loop = new PeriodicLoop(gated.task, logger);
    const first = gated.nextStart();
    gated.fail(true);
    loop.nudge();
    await first;
    const second = gated.nextStart();
    loop.nudge();
    gated.release();
    await second;
    expect(loop.health()).toMatchObject({ lastError: 'midway' });
    gated.fail(false);
    gated.release();
    await loop.stop();
    expect(loop.health()).not.toHaveProperty('lastError');
  });

  it('is behind when no pass has ended well for too long (R20)', async () => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate'] });
    try {
      const loop = new PeriodicLoop({ ...gatedTask().task, behindAfterMs: 50 }, logger);
      expect(loop.health().behind).toBe(false);
      jest.setSystemTime(Date.now() + 51);
      expect(loop.health().behind).toBe(true);
    } finally {
      jest.useRealTimers();
    }
  });

  it('ticks by its cron expression', async () => {
    let passed!: () => void;
    const pass = new Promise<void>((resolve) => (passed = resolve));
    const task: PeriodicTask = {
      name: 'tick',
      cron: '* * * * * *',
      behindAfterMs: 5_000,
      runOnce: () => Promise.resolve((passed(), {})),
    };
    const loop = new PeriodicLoop(task, logger);
    loop.start();
    await pass;
    await loop.stop();
  });

  it('does nothing once it is stopped', async () => {
    const gated = gatedTask();
    const loop = new PeriodicLoop(gated.task, logger);
    await loop.stop();
    loop.nudge();
    expect(gated.passes()).toBe(0);
  });
});
