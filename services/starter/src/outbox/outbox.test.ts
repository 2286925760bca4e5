import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, deriveKey } from '@stadion/service-kit';
import { eventually, type FakeScheduler, fakeScheduler, startLoopbackServer } from '@stadion/testkit';
import { Exchange } from '../exchange/exchange.js';
import { testSecret } from '../testing/starter-harness.js';
import { backoffMs, deliveryOf } from './delivery.js';
import { createOriginalSchedulerClient, noRunToken, routeByOrigin } from './original-scheduler.js';
import { Outbox, pause } from './outbox.js';
import { createSchedulerClient, type SchedulerClient } from './scheduler-client.js';

describe('what an answer means', () => {
  test.each([
    [200, 'delivered'],
    [404, 'unwanted'],
    [409, 'unwanted'],
    [410, 'unwanted'],
    [400, 'refused'],
    [413, 'refused'],
    [422, 'refused'],
    ...[201, 302, 401, 403, 408, 429, 500, 502, 503, 504].map((status): [number, string] => [
      status,
      'retry',
    ]),
  ])('%i is %s', (status, kind) => {
    expect(deliveryOf(status, undefined).kind).toBe(kind);
  });

  test('a busy scheduler says when to come back', () => {
    expect(deliveryOf(429, '7')).toMatchObject({ kind: 'retry', afterMs: 7_000 });
    expect(deliveryOf(429, '99999')).toMatchObject({ afterMs: 60_000 });
    expect(deliveryOf(429, 'soon')).not.toHaveProperty('afterMs');
  });

  test('waits double from 100 ms to 10 s, half of it by chance', () => {
    expect([0, 1, 2, 6, 7, 50].map((failures) => backoffMs(failures, () => 1))).toEqual([
      100, 200, 400, 6_400, 10_000, 10_000,
    ]);
    expect(backoffMs(7, () => 0)).toBe(5_000);
  });
});

describe('the outbox', () => {
  let dir: string;
  let exchange: Exchange;
  let scheduler: FakeScheduler;
  let outbox: Outbox;
  const settled: string[] = [];

  function openOutbox(
    client: SchedulerClient = createSchedulerClient(scheduler.url, deriveKey(testSecret, 'starter')),
  ): Outbox {
    return new Outbox({
      exchange,
      client,
      logger: createLogger({ service: 'test', level: 'silent' }),
      onSettled: (kind) => settled.push(kind),
    });
  }

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'stadion-outbox-test-'));
    exchange = await Exchange.open(dir);
    scheduler = await fakeScheduler(testSecret);
    outbox = openOutbox();
    settled.length = 0;
  });
  afterEach(async () => {
    await outbox.stop();
    await scheduler.close();
    await rm(dir, { recursive: true });
  });

  async function spooled(output = 'x\n', runToken?: string): Promise<string> {
    const request = scheduler.dispatchOf(null);
    await exchange.journal(request);
    const report = { script_id: request.script_id, success: true, return_code: 0, output };
    await exchange.spool(request.attempt_id, { runToken: runToken ?? request.run_token, report });
    return request.attempt_id;
  }

  test('a delivered result is forgotten but for its tombstone', async () => {
    const id = await spooled();
    outbox.add(id);
    outbox.add(id);
    expect((await scheduler.resultOf(id)).output).toBe('x\n');
    await eventually(() => outbox.size === 0);
    expect(scheduler.posts).toBe(1);
    expect(await readdir(join(dir, 'attempts'))).toEqual([]);
    expect(await exchange.isBuried(id)).toBe(true);
  });

  test.each([
    ['answers 503', { status: 503 }],
    ['answers 401', { status: 401 }],
    ['hangs up', 'hang_up' as const],
  ])('R14: a scheduler that %s gets every result once it is back', async (_what, mood) => {
    scheduler.mood = mood;
    const ids = await Promise.all(Array.from({ length: 12 }, () => spooled()));
    for (const id of ids) outbox.add(id);
    await eventually(() => scheduler.posts > 12);
    expect(scheduler.results).toEqual([]);
    expect((await readdir(join(dir, 'attempts'))).length).toBe(12);
    scheduler.mood = 'accept';
    await eventually(() => outbox.size === 0);
    expect(scheduler.results.map((result) => result.attemptId).sort()).toEqual([...ids].sort());
  });

  test('R14: a scheduler that is gone, and comes back on the same address, gets the result', async () => {
    const id = await spooled();
    await scheduler.close();
    outbox.add(id);
    await eventually(() => outbox.has(id));
    scheduler = await fakeScheduler(testSecret, scheduler.port);
    scheduler.mood = { status: 200 }; // This one knows no tokens of the one before.
    await eventually(() => settled.includes('delivered'));
    expect(scheduler.posts).toBe(1);
  });

  test('a busy scheduler is not asked again before it said', async () => {
    scheduler.mood = { status: 429, headers: { 'Retry-After': '1' } };
    const id = await spooled();
    const startedAt = Date.now();
    outbox.add(id);
    await eventually(() => scheduler.posts === 1);
    scheduler.mood = 'accept';
    await scheduler.resultOf(id);
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(990);
  });

  test.each([404, 409, 410])('a result that nobody wants (%i) is dropped', async (status) => {
    scheduler.mood = { status };
    const id = await spooled();
    outbox.add(id);
    await eventually(() => settled.includes('unwanted'));
    expect(await exchange.isBuried(id)).toBe(true);
    expect(await readdir(join(dir, 'attempts'))).toEqual([]);
  });

  test.each([400, 413, 422])('a result that is refused (%i) is kept for an operator', async (status) => {
    scheduler.mood = { status };
    const id = await spooled('precious');
    outbox.add(id);
    await eventually(() => settled.includes('refused'));
    const kept = join(dir, 'refused', `${id}.json`);
    expect(await readFile(kept, 'utf8')).toContain('precious');
    expect((await stat(kept)).mode & 0o777).toBe(0o600);
    expect(await readdir(join(dir, 'attempts'))).toEqual([]);
  });

  test.each([
    ['control characters', '\u0001'],
    ['emoji', '😀'],
  ])('R16: a result of a million %s arrives whole', async (_name, character) => {
    const id = await spooled(character.repeat(1_000_000));
    outbox.add(id);
    const result = await scheduler.resultOf(id);
    expect(result.output === character.repeat(1_000_000)).toBe(true);
  });

  test('at most four results are posted at once, and stopping does not wait for a scheduler that hangs', async () => {
    scheduler.mood = 'hang';
    const ids = await Promise.all(Array.from({ length: 10 }, () => spooled()));
    for (const id of ids) outbox.add(id);
    await eventually(() => scheduler.posts === 4);
    await outbox.stop();
    expect(scheduler.posts).toBe(4);
    expect((await readdir(join(dir, 'attempts'))).length).toBe(10);
  });

  test('a scheduler that hangs does not hold up results for the other one', async () => {
    const other = await startLoopbackServer(() => undefined); // Takes the request and never answers.
    const ours = createSchedulerClient(scheduler.url, deriveKey(testSecret, 'starter'));
    outbox = openOutbox(routeByOrigin(ours, createOriginalSchedulerClient(other.url)));
    try {
      for (let count = 0; count < 10; count += 1) outbox.add(await spooled('x', noRunToken));
      const id = await spooled();
      outbox.add(id);
      expect((await scheduler.resultOf(id)).output).toBe('x\n');
      await eventually(() => outbox.size === 10);
    } finally {
      await outbox.stop();
      await other.close();
    }
  });

  test('a result that was not tried yet does not wait behind those that fail again and again', async () => {
    const posted: number[] = [];
    outbox = openOutbox({
      // Slower to fail than the first waits are long, as a scheduler that hangs.
      postResult: async ({ report }, signal) => {
        posted.push(report.script_id);
        await pause(250, signal);
        return { kind: 'retry', reason: 'it hangs' };
      },
      postRunning: () => Promise.resolve(),
      postHeartbeat: () => Promise.resolve(),
      close: () => undefined,
    });
    for (const id of await Promise.all(Array.from({ length: 9 }, () => spooled()))) outbox.add(id);
    await eventually(() => posted.length >= 9);
    expect(new Set(posted.slice(0, 9)).size).toBe(9);
  });

  test('flushing tries at once what was waiting, and gives up in time', async () => {
    scheduler.mood = { status: 503 };
    const id = await spooled();
    outbox.add(id);
    await eventually(() => scheduler.posts >= 5);
    await outbox.flush(50);
    expect(outbox.has(id)).toBe(true);
    scheduler.mood = 'accept';
    await outbox.flush(5_000);
    expect(outbox.size).toBe(0);
  });

  test('a spooled result that cannot be read is given up, not tried for ever', async () => {
    const id = await spooled();
    await writeFile(join(dir, 'attempts', id, 'result.json'), '{');
    outbox.add(id);
    await eventually(() => settled.includes('unreadable'));
    expect(scheduler.posts).toBe(0);
  });
});
