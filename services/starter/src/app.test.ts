import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fixedOutput, starterStatus } from '@stadion/contracts';
import { deriveKey, signToken } from '@stadion/service-kit';
import { eventually } from '@stadion/testkit';
import request from 'supertest';
import { Exchange } from './exchange/exchange.js';
import { SandboxStartError } from './executors/executor.js';
import { StandInExecutor, type StandInSandbox } from './testing/stand-in-executor.js';
import { type Stage, setStage, testSecret } from './testing/starter-harness.js';

let stage: Stage;
beforeEach(async () => {
  stage = await setStage();
});
afterEach(() => stage.end());

const script = (source = 'print(1)') => stage.host.script(`/${randomUUID()}.py`, source);
const folders = () => readdir(join(stage.dir, 'exchange', 'attempts'));
/** Scripts that run until the test ends them. */
function holding(): StandInExecutor {
  const executor = new StandInExecutor();
  executor.script = () => undefined;
  return executor;
}
/** On disk as an attempt is from the moment that its script may run. */
async function plantLaunched() {
  const dispatch = stage.scheduler.dispatchOf(script());
  const exchange = await stage.exchange();
  await exchange.journal(dispatch);
  await exchange.prepareScripts(dispatch.attempt_id, Buffer.from(''), '');
  await exchange.markLaunching(dispatch.attempt_id);
  return dispatch;
}
/** No result can be written while its script's folder is there, as when that fills the disk. */
function fillDiskByScripts(): void {
  const original = Object.getOwnPropertyDescriptor(Exchange.prototype, 'spool')?.value as Exchange['spool'];
  jest.spyOn(Exchange.prototype, 'spool').mockImplementation(async function (this: Exchange, id, result) {
    if (existsSync(this.scriptsDir(id))) throw Object.assign(new Error('disk full'), { code: 'ENOSPC' });
    await original.call(this, id, result);
  });
}
async function sandboxOf(executor: StandInExecutor, attemptId: string): Promise<StandInSandbox> {
  return await eventually(() => executor.sandboxes.get(attemptId));
}

describe('the story of an attempt', () => {
  test('it is received, fetched, run with its environment and input, reported running, reported ended, and gone', async () => {
    const executor = holding();
    const { url, log } = await stage.start({ executor, env: { TIME_ZONE: 'Europe/Berlin' } });
    const dispatch = stage.scheduler.dispatchOf(script('print("hello")'), {
      env: { api_token: 'very-secret', dtable_web_url: 'http://web' },
      context_data: { row: { Name: 'ü' } },
    });
    const answer = await stage.scheduler.dispatch(url, dispatch);
    expect(answer).toMatchObject({ status: 200, body: 'Received' });
    expect(answer.headers.get('content-type')).toMatch(/^text\/html/);

    const sandbox = await sandboxOf(executor, dispatch.attempt_id);
    expect(sandbox.spec.env).toEqual({
      is_cloud: '1',
      TZ: 'Europe/Berlin',
      api_token: 'very-secret',
      dtable_web_url: 'http://web',
    });
    expect(sandbox.spec.limits).toMatchObject({ memoryBytes: 1024 ** 3, cpus: 1, pids: 128 });
    expect(await readFile(join(sandbox.spec.scriptsDir, 'index.py'), 'utf8')).toBe('print("hello")');
    expect(await readFile(join(sandbox.spec.scriptsDir, 'input'), 'utf8')).toBe('{"row":{"Name":"ü"}}');
    const running = await eventually(() => stage.scheduler.running[0]);
    expect(running).toEqual({
      script_id: dispatch.script_id,
      started_at: sandbox.startedAt.getTime() / 1000,
      attemptId: dispatch.attempt_id,
    });

    sandbox.print('hello\n');
    sandbox.end();
    expect(await stage.scheduler.resultOf(dispatch.attempt_id)).toMatchObject({
      script_id: dispatch.script_id,
      success: true,
      return_code: 0,
      output: 'hello\n',
      cause: 'exit',
    });
    await eventually(async () => (await folders()).length === 0 && sandbox.removed);
    expect(log.join('')).not.toMatch(/very-secret|run-token-|print\(/);
  });

  test('context that is a list or a string reaches the script, and none is empty input', async () => {
    const executor = holding();
    const { url } = await stage.start({ executor });
    for (const [context_data, input] of [
      [[1, 2], '[1,2]'],
      ['text', '"text"'],
      [null, ''],
    ] as const) {
      const dispatch = stage.scheduler.dispatchOf(script(), { context_data: context_data as never });
      await stage.scheduler.dispatch(url, dispatch);
      const sandbox = await sandboxOf(executor, dispatch.attempt_id);
      expect(await readFile(join(sandbox.spec.scriptsDir, 'input'), 'utf8')).toBe(input);
    }
  });

  test('JavaScript runs with the limits and the name that its profile says', async () => {
    const profiles = join(stage.dir, 'profiles.json');
    await writeFile(profiles, '{"node": {"memory": "300m", "time_limit": 7}}');
    const executor = holding();
    const { url } = await stage.start({ executor, env: { STADION_PROFILES: profiles } });
    const dispatch = stage.scheduler.dispatchOf(script('let a;'), { script_name: 'report.mjs' });
    await stage.scheduler.dispatch(url, dispatch);
    const { spec } = await sandboxOf(executor, dispatch.attempt_id);
    expect(spec).toMatchObject({
      profile: 'node',
      scriptFile: 'index.mjs',
      timeLimitS: 7,
      limits: { memoryBytes: 300 * 1024 ** 2, pids: 128 },
    });
    expect((await readdir(spec.scriptsDir)).sort()).toEqual(['index.mjs', 'input']);
  });

  test('an unknown profile ends the run with a sentence that names the known ones', async () => {
    const { url, executor } = await stage.start();
    const dispatch = stage.scheduler.dispatchOf(script(), { profile: 'ruby' });
    await stage.scheduler.dispatch(url, dispatch);
    expect(await stage.scheduler.resultOf(dispatch.attempt_id)).toMatchObject({
      success: false,
      return_code: -1,
      output: 'There is no runner profile "ruby"; known are node, python.',
    });
    expect(executor.started).toEqual([]);
  });

  test('R1: a script that ran out of memory is reported, and the starter goes on', async () => {
    const executor = new StandInExecutor();
    executor.script = (sandbox) => {
      sandbox.print('so far\n');
      sandbox.end({ cause: 'out_of_memory', exitCode: 137 });
    };
    const { url } = await stage.start({ executor });
    const first = stage.scheduler.dispatchOf(script());
    await stage.scheduler.dispatch(url, first);
    const result = await stage.scheduler.resultOf(first.attempt_id);
    expect(result).toMatchObject({ success: false, return_code: 137, cause: 'out_of_memory' });
    expect(result.output).toMatch(/^so far\n.*out of memory \(limit 1 GiB\)/);
    executor.script = (sandbox) => sandbox.end();
    const second = stage.scheduler.dispatchOf(script());
    await stage.scheduler.dispatch(url, second);
    expect((await stage.scheduler.resultOf(second.attempt_id)).success).toBe(true);
  });

  test('R9: the clock starts with the script, not with the sandbox, and partial output is kept', async () => {
    const executor = holding();
    executor.beforeStart = () => new Promise((resolve) => setTimeout(resolve, 900));
    executor.script = (sandbox) => sandbox.print('half');
    const { url } = await stage.start({ executor });
    const dispatch = stage.scheduler.dispatchOf(script(), { time_limit_s: 0.5 });
    await stage.scheduler.dispatch(url, dispatch);
    const sandbox = await sandboxOf(executor, dispatch.attempt_id);
    const result = await stage.scheduler.resultOf(dispatch.attempt_id);
    expect(result).toMatchObject({
      success: false,
      return_code: -1,
      output: `half\n${fixedOutput.timeLimit}`,
      cause: 'time_limit',
    });
    expect(result.spend_time).toBeGreaterThanOrEqual(0.49);
    expect(result.spend_time).toBeLessThan(2.5);
    await eventually(() => sandbox.removed);
  });

  test('R17: a run that waited longer than its time limit for a slot is not told timed out', async () => {
    const executor = holding();
    const { url } = await stage.start({ executor, env: { STADION_SLOTS: '1' } });
    const first = stage.scheduler.dispatchOf(script());
    const second = stage.scheduler.dispatchOf(script(), { time_limit_s: 0.3 });
    await stage.scheduler.dispatch(url, first);
    await stage.scheduler.dispatch(url, second);
    const holder = await sandboxOf(executor, first.attempt_id);
    const waitedSince = Date.now();
    await eventually(() => Date.now() - waitedSince > 400);
    expect(executor.started).toEqual([first.attempt_id]);
    executor.script = (sandbox) => sandbox.end();
    holder.end();
    expect(await stage.scheduler.resultOf(second.attempt_id)).toMatchObject({ success: true, cause: 'exit' });
  });

  test("the starter's own time limit applies when it is the lower one", async () => {
    const executor = holding();
    const { url } = await stage.start({ executor, env: { STADION_TIME_LIMIT: '5' } });
    const own = stage.scheduler.dispatchOf(script(), { time_limit_s: 600 });
    const requested = stage.scheduler.dispatchOf(script(), { time_limit_s: 2 });
    for (const dispatch of [own, requested]) await stage.scheduler.dispatch(url, dispatch);
    expect((await sandboxOf(executor, own.attempt_id)).spec.timeLimitS).toBe(5);
    expect((await sandboxOf(executor, requested.attempt_id)).spec.timeLimitS).toBe(2);
  });

  test('a script that cannot be had is reported without a sandbox', async () => {
    const { url, executor } = await stage.start();
    const missing = stage.scheduler.dispatchOf(`${stage.host.url}/nowhere.py?token=s3cret`);
    const none = stage.scheduler.dispatchOf(null);
    const large = stage.scheduler.dispatchOf(stage.host.huge('/huge.py', 11 * 1024 ** 2));
    for (const dispatch of [missing, none, large]) await stage.scheduler.dispatch(url, dispatch);
    const result = await stage.scheduler.resultOf(missing.attempt_id);
    expect(result).toMatchObject({ success: false, return_code: null, cause: 'script_unavailable' });
    expect(result.output).toMatch(/^Fail to get script\nThe host \S+ answered 404\.$/);
    expect(await stage.scheduler.resultOf(none.attempt_id)).toMatchObject({
      return_code: null,
      output: 'Script URL is missing',
    });
    expect(await stage.scheduler.resultOf(large.attempt_id)).toMatchObject({
      return_code: -1,
      cause: 'script_invalid',
    });
    expect(executor.started).toEqual([]);
    await eventually(async () => (await folders()).length === 0);
  });

  test('a sandbox that cannot be had is reported with its reason', async () => {
    const executor = new StandInExecutor();
    executor.beforeStart = () => {
      throw new SandboxStartError('image_missing', 'The runner image x is not on this machine.');
    };
    const { url } = await stage.start({ executor });
    const dispatch = stage.scheduler.dispatchOf(script());
    await stage.scheduler.dispatch(url, dispatch);
    expect(await stage.scheduler.resultOf(dispatch.attempt_id)).toMatchObject({
      success: false,
      cause: 'image_missing',
      output: 'The runner image x is not on this machine.',
    });
  });

  test('an engine that is away is waited for: its runs are late, not failed, and new ones are refused meanwhile', async () => {
    const executor = new StandInExecutor();
    const { url } = await stage.start({ executor });
    const dispatch = stage.scheduler.dispatchOf(script());
    const refused: number[] = [];
    let tries = 0;
    let leftoverRemoved = false;
    executor.leftovers = () => {
      const remove = () => Promise.resolve(void (leftoverRemoved = true));
      return Promise.resolve([{ attemptId: dispatch.attempt_id, running: false, remove }]);
    };
    executor.beforeStart = async () => {
      tries += 1;
      executor.ready = tries > 1;
      if (tries === 1) throw new SandboxStartError('engine_unavailable', 'The engine does not answer.');
      refused.push((await stage.scheduler.dispatch(url, stage.scheduler.dispatchOf(script()))).status);
    };
    // Away for this question, too.
    jest.spyOn(executor, 'leftovers').mockRejectedValueOnce(new Error('away'));
    await stage.scheduler.dispatch(url, dispatch);
    expect(await stage.scheduler.resultOf(dispatch.attempt_id)).toMatchObject({
      success: true,
      cause: 'exit',
    });
    expect(refused).toEqual([503]);
    expect(leftoverRemoved).toBe(true);
    expect(executor.started).toEqual([dispatch.attempt_id]);
  });

  test('waiting for an engine that is away does not hold up a stop', async () => {
    const executor = new StandInExecutor();
    let tries = 0;
    executor.beforeStart = () => {
      tries += 1;
      throw new SandboxStartError('engine_unavailable', 'The engine does not answer.');
    };
    const { url, stop } = await stage.start({ executor });
    const dispatch = stage.scheduler.dispatchOf(script());
    await stage.scheduler.dispatch(url, dispatch);
    await eventually(() => tries === 2);
    await stop();
    expect(await stage.scheduler.resultOf(dispatch.attempt_id)).toMatchObject({ cause: 'starter_restarted' });
    expect(executor.started).toEqual([]);
  });

  test('an executor that throws something else is a fault of ours: reported, and not shown', async () => {
    const executor = new StandInExecutor();
    executor.beforeStart = () => {
      throw new Error('internal detail');
    };
    const { url, log } = await stage.start({ executor });
    const dispatch = stage.scheduler.dispatchOf(script());
    await stage.scheduler.dispatch(url, dispatch);
    const result = await stage.scheduler.resultOf(dispatch.attempt_id);
    expect(result).toMatchObject({ success: false, cause: 'engine_error' });
    expect(result.output).not.toContain('internal detail');
    expect(log.join('')).toContain('internal detail');
  });

  test('a scheduler that does not take running reports still gets the result', async () => {
    stage.scheduler.runningMood = 'hang';
    const { url } = await stage.start();
    const dispatch = stage.scheduler.dispatchOf(script());
    await stage.scheduler.dispatch(url, dispatch);
    expect((await stage.scheduler.resultOf(dispatch.attempt_id)).success).toBe(true);
  });

  test('a sandbox whose removal failed is removed by a sweep', async () => {
    const executor = new StandInExecutor();
    executor.removeFails = true;
    const { url, starter } = await stage.start({ executor });
    const dispatch = stage.scheduler.dispatchOf(script());
    await stage.scheduler.dispatch(url, dispatch);
    await stage.scheduler.resultOf(dispatch.attempt_id);
    await eventually(() => starter.status().attempts.length === 0);
    expect(executor.sandboxes.size).toBe(1);
    executor.removeFails = false;
    expect(await starter.sweep()).toMatchObject({ sandboxes: 1 });
    expect(executor.sandboxes.size).toBe(0);
  });
});

describe('slots and repetition', () => {
  test('more than slots and queue is busy, with a time to come back, and leaves nothing behind', async () => {
    const executor = holding();
    const { url, starter } = await stage.start({
      executor,
      env: { STADION_SLOTS: '2', STADION_QUEUE_LIMIT: '1' },
    });
    const dispatches = Array.from({ length: 4 }, () => stage.scheduler.dispatchOf(script()));
    const answers = [];
    for (const dispatch of dispatches) answers.push(await stage.scheduler.dispatch(url, dispatch));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
    expect(Number(answers[3]?.headers.get('retry-after'))).toBeGreaterThan(0);
    await eventually(() => executor.started.length === 2);
    expect(starter.status()).toMatchObject({ slots: 2, busy: 3 });
    expect((await folders()).sort()).toEqual(
      dispatches
        .slice(0, 3)
        .map((one) => one.attempt_id)
        .sort(),
    );

    executor.script = (sandbox) => sandbox.end();
    for (const sandbox of [...executor.sandboxes.values()]) sandbox.end();
    for (const { attempt_id } of dispatches.slice(0, 3)) await stage.scheduler.resultOf(attempt_id);
    expect(executor.started).toEqual(dispatches.slice(0, 3).map((one) => one.attempt_id));
  });

  test('the same attempt is received again and never run again, while it runs, after it ended, and after a restart', async () => {
    const executor = new StandInExecutor();
    const first = await stage.start({ executor });
    const dispatch = stage.scheduler.dispatchOf(script());
    const both = await Promise.all([
      stage.scheduler.dispatch(first.url, dispatch),
      stage.scheduler.dispatch(first.url, dispatch),
    ]);
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
    await stage.scheduler.resultOf(dispatch.attempt_id);
    await eventually(async () => (await folders()).length === 0);
    expect((await stage.scheduler.dispatch(first.url, dispatch)).status).toBe(200);
    await first.stop();
    const second = await stage.start({ executor });
    expect((await stage.scheduler.dispatch(second.url, dispatch)).body).toBe('Received');
    expect(second.starter.status().attempts).toEqual([]);
    expect(executor.started).toEqual([dispatch.attempt_id]);
  });

  test.each(['launching', 'result'] as const)(
    'an attempt of which only its folder (%s) is known is not run again, and its end is told by the sweep',
    async (left) => {
      const { url, starter, executor } = await stage.start();
      const dispatch = await plantLaunched();
      if (left === 'result') {
        const report = { script_id: dispatch.script_id, success: true, return_code: 0, output: 'kept\n' };
        const exchange = await stage.exchange();
        await exchange.spool(dispatch.attempt_id, { runToken: dispatch.run_token, report });
      }
      // Not even a journal that cannot be written may take the folder away.
      jest.spyOn(Exchange.prototype, 'journal').mockRejectedValueOnce(new Error('disk full'));
      for (let times = 0; times < 2; times += 1) {
        expect((await stage.scheduler.dispatch(url, dispatch)).body).toBe('Received');
      }
      expect(await folders()).toEqual([dispatch.attempt_id]);
      expect(executor.started).toEqual([]);
      await starter.sweep();
      expect(await stage.scheduler.resultOf(dispatch.attempt_id)).toMatchObject(
        left === 'result' ? { output: 'kept\n' } : { cause: 'engine_error' },
      );
      expect(executor.started).toEqual([]);
    },
  );

  test('a starter whose executor is not ready refuses instead of failing runs', async () => {
    const executor = new StandInExecutor();
    executor.ready = false;
    const { url, log } = await stage.start({ executor });
    const answer = await stage.scheduler.dispatch(url, stage.scheduler.dispatchOf(script()));
    expect(answer.status).toBe(503);
    expect(await folders()).toEqual([]);
    expect(log.join('')).toContain('the engine does not answer');
    expect((await fetch(`${url}/_/health`)).status).toBe(503);
    expect((await fetch(`${url}/health/ready`)).status).toBe(503);
  });
});

describe('results while the scheduler is away', () => {
  test('R14: a result that cannot be delivered survives a restart of the starter', async () => {
    stage.scheduler.mood = { status: 503 };
    const first = await stage.start();
    const dispatch = stage.scheduler.dispatchOf(script());
    await stage.scheduler.dispatch(first.url, dispatch);
    await eventually(() => stage.scheduler.posts > 2);
    expect(first.starter.status()).toMatchObject({ busy: 0, attempts: [dispatch.attempt_id] });
    const scripts = join(stage.dir, 'exchange', 'attempts', dispatch.attempt_id, 'scripts');
    await eventually(() =>
      readdir(scripts).then(
        () => false,
        () => true,
      ),
    );
    await first.stop();
    stage.scheduler.mood = 'accept';
    const second = await stage.start();
    expect(await stage.scheduler.resultOf(dispatch.attempt_id)).toMatchObject({
      success: true,
      output: 'ran\n',
    });
    expect(second.executor.started).toEqual([]);
    await eventually(async () => (await folders()).length === 0);
  });
});

describe('what an earlier process left', () => {
  test('an attempt that was accepted and never launched is launched, once', async () => {
    const dispatch = stage.scheduler.dispatchOf(script());
    await (await stage.exchange()).journal(dispatch);
    const { executor } = await stage.start();
    expect((await stage.scheduler.resultOf(dispatch.attempt_id)).success).toBe(true);
    expect(executor.started).toEqual([dispatch.attempt_id]);
  });

  test('R18: an attempt that was under way is not run again: its sandbox goes and its end is told', async () => {
    const dispatch = stage.scheduler.dispatchOf(script());
    const exchange = await stage.exchange();
    await exchange.journal(dispatch);
    await exchange.prepareScripts(dispatch.attempt_id, Buffer.from(''), '');
    await exchange.markLaunching(dispatch.attempt_id);
    const executor = holding();
    await executor.start({ attemptId: dispatch.attempt_id } as never);
    await stage.start({ executor });
    const result = await stage.scheduler.resultOf(dispatch.attempt_id);
    expect(result).toMatchObject({ success: false, cause: 'starter_restarted' });
    expect(result.output).toMatch(/restarted while this script ran/);
    expect(executor.started).toEqual([dispatch.attempt_id]);
    expect(executor.sandboxes.size).toBe(0);
    await eventually(async () => (await folders()).length === 0);
  });

  test('R18: a script that filled the disk is told ended all the same, at start and by a sweep', async () => {
    fillDiskByScripts();
    const before = await plantLaunched();
    const { starter } = await stage.start();
    expect(await stage.scheduler.resultOf(before.attempt_id)).toMatchObject({ cause: 'starter_restarted' });
    const later = await plantLaunched();
    await starter.sweep();
    expect(await stage.scheduler.resultOf(later.attempt_id)).toMatchObject({ cause: 'engine_error' });
  });

  test('R18: folders without a journal, strangers and sandboxes of nobody are swept, at start and later', async () => {
    const plant = async (executor: StandInExecutor) => {
      const exchange = await stage.exchange();
      await exchange.removeFolder(randomUUID());
      const dispatch = stage.scheduler.dispatchOf(null);
      await exchange.journal(dispatch);
      const folder = join(stage.dir, 'exchange', 'attempts', dispatch.attempt_id);
      await writeFile(join(folder, 'journal.json'), 'not json');
      await writeFile(join(stage.dir, 'exchange', 'attempts', 'stranger'), '');
      await executor.start({ attemptId: randomUUID() } as never);
    };
    const executor = holding();
    await plant(executor);
    const { starter } = await stage.start({ executor });
    expect(await folders()).toEqual([]);
    expect(executor.sandboxes.size).toBe(0);
    await plant(executor);
    expect(await starter.sweep()).toMatchObject({ sandboxes: 1, folders: 2 });
    expect(await folders()).toEqual([]);
    expect(executor.sandboxes.size).toBe(0);
  });

  test('a sweep leaves alone what runs, what waits and what is not delivered yet', async () => {
    stage.scheduler.mood = { status: 503 };
    const executor = holding();
    const { url, starter } = await stage.start({ executor, env: { STADION_SLOTS: '1' } });
    const dispatches = Array.from({ length: 3 }, () => stage.scheduler.dispatchOf(script()));
    for (const dispatch of dispatches) await stage.scheduler.dispatch(url, dispatch);
    (await sandboxOf(executor, dispatches[0]!.attempt_id)).end();
    await sandboxOf(executor, dispatches[1]!.attempt_id);
    expect(await starter.sweep()).toEqual({ sandboxes: 0, folders: 0, tombstones: 0, trash: 0 });
    expect((await folders()).length).toBe(3);
  });

  test('until all of it is known, the starter is not ready, takes nothing, and does not list its attempts', async () => {
    const executor = new StandInExecutor();
    let url = '';
    let seen: unknown;
    executor.leftovers = async () => {
      const dispatched = await stage.scheduler.dispatch(url, stage.scheduler.dispatchOf(script()));
      const statusOf = async (path: string) => (await fetch(url + path)).status;
      seen = {
        dispatched: dispatched.status,
        listed: await stage.scheduler.statusOf(url).then(
          () => true,
          () => false,
        ),
        health: await statusOf('/_/health'),
        ready: await statusOf('/health/ready'),
        live: await statusOf('/health/live'),
      };
      return [];
    };
    await stage.start({ executor, onListening: (address) => (url = address) });
    expect(seen).toEqual({ dispatched: 503, listed: false, health: 503, ready: 503, live: 200 });
    expect((await fetch(`${url}/_/health`)).status).toBe(200);
  });

  test('an engine that is away at the start does not keep the starter from starting', async () => {
    const executor = new StandInExecutor();
    executor.leftovers = () => Promise.reject(new Error('away'));
    await expect(stage.start({ executor })).resolves.toBeDefined();
  });
});

describe('stopping', () => {
  test('running scripts that do not end in the grace are ended and told so; waiting ones run after the next start', async () => {
    const executor = holding();
    const first = await stage.start({ executor, env: { STADION_SLOTS: '1' } });
    const running = stage.scheduler.dispatchOf(script());
    const waiting = stage.scheduler.dispatchOf(script());
    for (const dispatch of [running, waiting]) await stage.scheduler.dispatch(first.url, dispatch);
    (await sandboxOf(executor, running.attempt_id)).print('so far\n');
    await first.stop();
    const result = await stage.scheduler.resultOf(running.attempt_id);
    expect(result).toMatchObject({ success: false, cause: 'starter_restarted' });
    expect(result.output).toMatch(/^so far\n.*shut down/);
    expect(executor.closed).toBe(true);
    expect(executor.started).toEqual([running.attempt_id]);
    executor.script = (sandbox) => sandbox.end();
    await stage.start({ executor });
    expect((await stage.scheduler.resultOf(waiting.attempt_id)).success).toBe(true);
    expect(executor.started).toEqual([running.attempt_id, waiting.attempt_id]);
  });

  test('a script that filled the disk and is ended by the stop keeps its output', async () => {
    fillDiskByScripts();
    const executor = holding();
    const { url, stop } = await stage.start({ executor });
    const dispatch = stage.scheduler.dispatchOf(script());
    await stage.scheduler.dispatch(url, dispatch);
    (await sandboxOf(executor, dispatch.attempt_id)).print('so far\n');
    await stop();
    expect((await stage.scheduler.resultOf(dispatch.attempt_id)).output).toMatch(/^so far\n.*shut down/);
  });

  test('a script that ends within the grace keeps its result', async () => {
    const executor = holding();
    const { url, stop } = await stage.start({ executor, env: { STADION_STOP_GRACE: '5' } });
    const dispatch = stage.scheduler.dispatchOf(script());
    await stage.scheduler.dispatch(url, dispatch);
    const sandbox = await sandboxOf(executor, dispatch.attempt_id);
    const stopping = stop();
    const refused = await stage.scheduler.dispatch(url, stage.scheduler.dispatchOf(script()));
    expect(refused.status).toBe(503);
    expect((await stage.scheduler.statusOf(url)).draining).toBe(true);
    sandbox.print('done\n');
    sandbox.end();
    await stopping;
    expect(await stage.scheduler.resultOf(dispatch.attempt_id)).toMatchObject({
      success: true,
      output: 'done\n',
    });
  });

  test('an attempt that is being downloaded is kept for the next start', async () => {
    const slow = stage.host.drip('/slow.py');
    const first = await stage.start();
    const dispatch = stage.scheduler.dispatchOf(slow);
    await stage.scheduler.dispatch(first.url, dispatch);
    await eventually(() => stage.host.requests.length === 1);
    await first.stop();
    expect(stage.scheduler.posts).toBe(0);
    // To its last heartbeat it says that it has the attempt, or the scheduler would take it for lost.
    expect(first.starter.status().attempts).toEqual([dispatch.attempt_id]);
    stage.host.script('/slow.py', 'print(1)');
    await stage.start();
    expect((await stage.scheduler.resultOf(dispatch.attempt_id)).success).toBe(true);
  });
});

describe('who may call', () => {
  const key = deriveKey(testSecret, 'starter');
  const bearer = (subject: string, more: { audience?: 'starter' | 'scheduler'; key?: typeof key } = {}) =>
    `Bearer ${signToken(more.key ?? key, { audience: more.audience ?? 'starter', subject, expiresInS: 60 })}`;

  test('R8/R22: without the token of the scheduler for this very attempt nothing runs', async () => {
    const { url, executor } = await stage.start();
    const dispatch = stage.scheduler.dispatchOf(script());
    const subject = `attempt:${dispatch.attempt_id}`;
    const cases: [string | undefined, number][] = [
      [undefined, 401],
      ['Bearer ', 401],
      [`Bearer ${testSecret}`, 401],
      [`Token ${testSecret}`, 401],
      [`Bearer ${dispatch.run_token}`, 401],
      [bearer(subject, { audience: 'scheduler' }), 401],
      [bearer(subject, { key: deriveKey(testSecret, 'run') }), 401],
      [bearer(subject, { key: deriveKey('another-Secret-of-24-chars-0', 'starter') }), 401],
      [bearer(`attempt:${randomUUID()}`), 403],
      [bearer('scheduler'), 403],
      [bearer(subject.toUpperCase()), 403],
    ];
    for (const [authorization, status] of cases) {
      const call = request(url).post('/function/run-python').send(dispatch);
      if (authorization !== undefined) call.set('Authorization', authorization);
      expect([authorization, (await call).status]).toEqual([authorization, status]);
    }
    expect(await folders()).toEqual([]);
    expect(executor.started).toEqual([]);
  });

  test('the status is for the scheduler, and follows the contract', async () => {
    const { url } = await stage.start();
    const statusWith = (authorization: string) =>
      request(url).get('/v1/starter').set('Authorization', authorization);
    expect((await request(url).get('/v1/starter')).status).toBe(401);
    expect((await statusWith(bearer(`attempt:${randomUUID()}`))).status).toBe(403);
    const { status, body } = await statusWith(bearer('scheduler'));
    expect(status).toBe(200);
    expect(starterStatus.parse(body)).toMatchObject({
      executor: 'process',
      slots: 10,
      busy: 0,
      draining: false,
    });
  });
});

describe('the original routes', () => {
  test.each(['get', 'post'] as const)('%s /ping/ and /_/health answer as they did', async (method) => {
    const { url } = await stage.start();
    const ping = await request(url)[method]('/ping/');
    expect([ping.status, ping.text]).toEqual([200, 'Pong']);
    const health = await request(url)[method]('/_/health');
    expect([health.status, health.text]).toEqual([200, 'Everything is ok.']);
  });

  test('a bad body is told which field is wrong', async () => {
    const { url } = await stage.start();
    const dispatch = stage.scheduler.dispatchOf(script());
    const answerTo = async (body: string) => {
      const { status, text } = await request(url)
        .post('/function/run-python')
        .set('Authorization', stage.scheduler.authorize(dispatch.attempt_id))
        .set('Content-Type', 'text/plain')
        .send(body);
      return `${status} ${text}`;
    };
    expect(await answerTo('{')).toMatch(/^400 Bad Request\./);
    expect(await answerTo('[]')).toMatch(/^400 Bad Request\./);
    expect(await answerTo('{"__proto__":{"a":1}}')).toMatch(/^400 Bad Request\./);
    expect(await answerTo(JSON.stringify({ ...dispatch, script_id: 'abc' }))).toMatch(
      /^400 Bad Request\..*script_id/,
    );
    expect(await answerTo(JSON.stringify({ ...dispatch, attempt_id: '../x' }))).toMatch(
      /^400 Bad Request\..*attempt_id/,
    );
    expect(await answerTo(JSON.stringify({ ...dispatch, env: { a: 1 } }))).toMatch(/^400 Bad Request\..*env/);
    expect(await answerTo(JSON.stringify({ ...dispatch, run_token: undefined }))).toMatch(
      /^400 .*run_token is required/,
    );
    expect(await answerTo(JSON.stringify(dispatch))).toBe('200 Received');
  });

  test('health says what isolates scripts, and metrics count', async () => {
    const { url } = await stage.start();
    const dispatch = stage.scheduler.dispatchOf(script());
    await stage.scheduler.dispatch(url, dispatch);
    await stage.scheduler.resultOf(dispatch.attempt_id);
    const ready = await request(url).get('/health/ready');
    expect(ready.body).toMatchObject({
      ready: true,
      parts: { executor: { detail: { isolation: 'none: a stand-in' } } },
    });
    const { text } = await request(url).get('/metrics');
    expect(text).toMatch(/stadion_starter_slots\{service="starter"\} 10/);
    expect(text).toMatch(/stadion_starter_attempts_total\{cause="exit",service="starter"\} 1/);
    expect(text).toMatch(/stadion_starter_(busy|queued|outbox)\{/);
    expect(text).toMatch(/stadion_starter_script_fetch_seconds_count\{service="starter"\} 1/);
  });
});

test('a starter with an address of its own registers by heartbeat', async () => {
  const { url, starter } = await stage.start({ env: { STADION_ADVERTISE_URL: 'http://starter-1:8088' } });
  expect(url).toBeDefined();
  const heartbeat = await eventually(() => stage.scheduler.heartbeats[0]);
  expect(heartbeat).toEqual(starter.status());
  expect(heartbeat.url).toBe('http://starter-1:8088');
});
