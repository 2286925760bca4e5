import { Lifecycle, withinMs } from './lifecycle.js';
import { createLogger } from './logger.js';

const logger = createLogger({ service: 'test', level: 'silent' });

describe('a lifecycle', () => {
  it('releases in reverse, goes on after a failure, and stops once', async () => {
    const order: string[] = [];
    const lifecycle = new Lifecycle(logger);
    lifecycle.onStop('first', () => void order.push('first'));
    lifecycle.onStop('broken', () => Promise.reject(new Error('stuck')));
    lifecycle.onStop('last', async () => void order.push('last'));
    await Promise.all([lifecycle.stop('test'), lifecycle.stop('test again')]);
    expect(order).toEqual(['last', 'first']);
  });

  it('does not wait for ever for one part', async () => {
    const order: string[] = [];
    const lifecycle = new Lifecycle(logger, 10);
    lifecycle.onStop('first', () => void order.push('first'));
    lifecycle.onStop('hanging', () => new Promise(() => {}));
    await lifecycle.stop('test');
    expect(order).toEqual(['first']);
  });
});

describe('withinMs', () => {
  it('passes on what comes in time and rejects what does not', async () => {
    await expect(withinMs(1_000, Promise.resolve(1))).resolves.toBe(1);
    await expect(withinMs(1, new Promise(() => {}))).rejects.toThrow('longer than 1 ms');
  });
});
