import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { eventually, fakeOriginalScheduler, type FakeOriginalScheduler } from '@stadion/testkit';
import { StandInExecutor } from '../testing/stand-in-executor.js';
import { type Stage, setStage } from '../testing/starter-harness.js';
import { cutToFit, originalDeliveryOf } from './original-scheduler.js';

let stage: Stage;
let original: FakeOriginalScheduler;
beforeEach(async () => {
  stage = await setStage();
  original = await fakeOriginalScheduler();
});
afterEach(async () => {
  await stage.end();
  await original.close();
});

const start = (executor = new StandInExecutor(), env: Record<string, string> = {}) =>
  stage.start({ executor, env: { STADION_ORIGINAL_SCHEDULER_URL: original.url, ...env } });

const dispatch = (more: object = {}) => ({
  script_url: stage.host.script('/hello.py', 'print("hello")'),
  env: { dtable_web_url: 'http://web', api_token: 'tok' },
  context_data: { row: { _id: 'abc' } },
  script_id: 2626,
  ...more,
});

/** From another address of the loopback network, so that the socket tells it apart. */
async function postFrom(localAddress: string, url: string, headers: Record<string, string> = {}) {
  return await new Promise<number>((resolve, reject) => {
    const sending = httpRequest(
      `${url}/function/run-python`,
      { method: 'POST', localAddress, headers: { 'Content-Type': 'application/json', ...headers } },
      (response) => {
        response.resume().on('end', () => resolve(response.statusCode ?? 0));
      },
    );
    sending.once('error', reject);
    sending.end(JSON.stringify(dispatch()));
  });
}

describe('an original scheduler in front of our starter', () => {
  it('is answered Received, and gets the result in its own form, word for word', async () => {
    const executor = new StandInExecutor();
    executor.script = (sandbox) => {
      sandbox.print('hello\n');
      sandbox.end({ exitCode: 3 });
    };
    const { url, log } = await start(executor);
    const answer = await original.push(url, dispatch());
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toMatch(/^text\/html/);
    expect(await answer.text()).toBe('Received');

    const result = await eventually(() => original.results[0]);
    const { spend_time, ...rest } = result;
    expect(rest).toEqual({
      success: false,
      return_code: 3,
      output: 'hello\n',
      script_id: 2626,
      task_log_id: null,
    });
    expect(typeof spend_time).toBe('number');
    // No running callback, no heartbeat, no token: it has none of them.
    expect(original.requests.map(({ path }) => path)).toEqual(['/script-result/']);
    expect(original.requests[0]!.headers['authorization']).toBeUndefined();
    expect(original.requests[0]!.headers['user-agent']).toMatch(/^python-starter\//);
    expect(stage.scheduler.posts).toBe(0);
    expect(log.join('')).not.toMatch(/"tok"/);
  });

  it('gives the script its environment, and its context only when that is an object', async () => {
    const executor = new StandInExecutor();
    executor.script = () => undefined;
    const { url } = await start(executor);
    for (const [n, [context_data, input, env, expected]] of (
      [
        [{ a: 1 }, '{"a":1}', { api_token: null }, { is_cloud: '1', api_token: '' }],
        [[1, 2], '', null, { is_cloud: '1' }],
        ['text', '', undefined, { is_cloud: '1' }],
        [null, '', { n: 1 }, { is_cloud: '1', n: '1' }],
      ] as const
    ).entries()) {
      expect((await original.push(url, dispatch({ context_data, env, script_id: n + 1 }))).status).toBe(200);
      const sandbox = await eventually(() =>
        [...executor.sandboxes.values()].find(({ spec }) => spec.taskId === n + 1),
      );
      expect(await readFile(join(sandbox.spec.scriptsDir, 'input'), 'utf8')).toBe(input);
      expect(sandbox.spec.env).toEqual(expected);
      sandbox.end();
    }
  });

  it('R22: nobody else is let in without a token, whatever their headers say', async () => {
    const { url, executor } = await start();
    expect(await postFrom('127.0.0.2', url)).toBe(401);
    expect(await postFrom('127.0.0.2', url, { 'X-Forwarded-For': '127.0.0.1' })).toBe(401);
    expect(await postFrom('127.0.0.1', url, { 'X-Forwarded-For': '203.0.113.9' })).toBe(401);
    expect(await postFrom('127.0.0.1', url, { Authorization: 'Bearer nonsense' })).toBe(401);
    expect((await fetch(`${url}/v1/starter`)).status).toBe(401);
    expect(executor.started).toEqual([]);
    expect(await postFrom('127.0.0.1', url)).toBe(200);
  });

  it('R22: without the setting, nobody is', async () => {
    const { url, executor } = await stage.start();
    expect((await original.push(url, dispatch())).status).toBe(401);
    expect(executor.started).toEqual([]);
  });

  it('what it asks for badly is refused as the original does', async () => {
    const { url } = await start();
    const bad = await fetch(`${url}/function/run-python`, { method: 'POST', body: 'not json' });
    expect(bad.status).toBe(400);
    expect(await bad.text()).toMatch(/^Bad Request\./);
    expect((await original.push(url, dispatch({ script_id: 'x' }))).status).toBe(400);
    for (const method of ['GET', 'POST']) {
      expect(await (await fetch(`${url}/ping/`, { method })).text()).toBe('Pong');
    }
  });

  it('its sentences are the original ones', async () => {
    const { url } = await start();
    await original.push(url, dispatch({ script_url: null }));
    expect(await eventually(() => original.results[0])).toMatchObject({
      output: 'Script URL is missing',
      return_code: null,
      spend_time: null,
      success: false,
    });
  });

  it('results are posted until they are taken, also by the next process (R14)', async () => {
    original.failsWith = 500;
    const first = await start();
    await original.push(first.url, dispatch());
    await eventually(() => original.requests.length >= 2);
    await first.stop();
    original.failsWith = undefined;
    await start();
    expect(await eventually(() => original.results[0])).toMatchObject({ script_id: 2626, output: 'ran\n' });
    expect(original.results).toHaveLength(1);
  });

  it('R16: a result that its proxy finds too large is cut instead of lost', async () => {
    original.bodyLimit = 1024 * 1024;
    const executor = new StandInExecutor();
    executor.script = (sandbox) => {
      sandbox.print('\u0001'.repeat(900_000));
      sandbox.end();
    };
    const { url } = await start(executor);
    await original.push(url, dispatch());
    const { output } = await eventually(() => original.results[0]);
    expect(output).toMatch(/The output was cut/);
    expect(String(output).length).toBeGreaterThan(150_000);
  });

  it('a run that finds every slot taken waits, and is never refused (R7)', async () => {
    const executor = new StandInExecutor();
    executor.script = () => undefined;
    const { url } = await start(executor, { STADION_SLOTS: '1', STADION_QUEUE_LIMIT: '0' });
    for (const script_id of [1, 2, 3]) {
      expect((await original.push(url, dispatch({ script_id }))).status).toBe(200);
    }
    executor.script = (sandbox) => sandbox.end();
    (await eventually(() => [...executor.sandboxes.values()][0])).end();
    await eventually(() => original.results.length === 3);
  });

  it('fetches the script from the alternative file server, whoever asks for it', async () => {
    const executor = new StandInExecutor();
    const { url } = await start(executor, {
      ALTERNATIVE_FILE_SERVER_ROOT: `${stage.host.url}/`,
      USE_ALTERNATIVE_FILE_SERVER_ROOT: 'true',
      STADION_SCRIPT_HOSTS: 'only.example',
    });
    stage.host.script('/f/hello.py', 'print(1)');
    await original.push(url, dispatch({ script_url: 'https://cloud.invalid/f/hello.py?op=download' }));
    expect(await eventually(() => original.results[0])).toMatchObject({ success: true });
    const ours = stage.scheduler.dispatchOf('https://cloud.invalid/f/hello.py');
    await stage.scheduler.dispatch(url, ours);
    expect(await stage.scheduler.resultOf(ours.attempt_id)).toMatchObject({ success: true });
    expect(stage.host.requests.map(({ path }) => path)).toEqual(['/f/hello.py?op=download', '/f/hello.py']);
  });

  it('our own scheduler works beside it, with its token', async () => {
    const { url } = await start();
    const ours = stage.scheduler.dispatchOf(stage.host.script('/ours.py', ''));
    expect((await stage.scheduler.dispatch(url, ours)).status).toBe(200);
    await original.push(url, dispatch());
    await stage.scheduler.resultOf(ours.attempt_id);
    await eventually(() => original.results.length === 1);
    expect(stage.scheduler.results).toHaveLength(1);
  });

  it('the starter needs neither a scheduler of ours nor a secret then', async () => {
    const { url } = await start(new StandInExecutor(), {
      STADION_SCHEDULER_URL: '',
      STADION_AUTH_TOKEN: '',
      PYTHON_SCHEDULER_URL: original.url,
    });
    await original.push(url, dispatch());
    await eventually(() => original.results.length === 1);
    const ours = stage.scheduler.dispatchOf(stage.host.script('/ours.py', ''));
    expect((await stage.scheduler.dispatch(url, ours)).status).toBe(401);
  });
});

test('only an answer of 200 ends the posting, but for what can never be taken', () => {
  expect(originalDeliveryOf(200).kind).toBe('delivered');
  for (const status of [401, 403, 404, 405, 500, 502]) expect(originalDeliveryOf(status).kind).toBe('retry');
  for (const status of [400, 413]) expect(originalDeliveryOf(status).kind).toBe('refused');
});

test('a cut never splits a character and always fits', () => {
  const result = {
    success: true,
    return_code: 0,
    output: '😀'.repeat(5_000),
    spend_time: 1,
    script_id: 1,
    task_log_id: null,
  };
  for (const limit of [1_000, 1_001, 1_002, 1_003]) {
    const text = cutToFit(result, limit);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(limit);
    expect((JSON.parse(text) as { output: string }).output).toMatch(/^(😀)+�?\n\[The output was cut/u);
  }
});
