/** What a host application sees while a part is killed or away. Real processes, MariaDB and Docker. */
import { eventually } from '@stadion/testkit';
import { authToken, base, Trio } from './trio.js';

jest.setTimeout(120_000);

let trio: Trio;
beforeEach(async () => {
  trio = await Trio.start({ executor: 'docker' });
});
afterEach(() => trio.stop());

const patience = () => AbortSignal.timeout(60_000);

async function submitServed(name: string, source: string) {
  trio.host.scriptFile(name, { script_url: trio.serve(name, source) });
  return await trio.client.submitRun({ dtable_uuid: base, script_name: name, owner: 'alice' });
}

it('runs accepted by a scheduler that is then killed all end after its restart (R13)', async () => {
  await trio.starter.stop();
  const keys = await Promise.all(
    Array.from({ length: 10 }, (_, n) => submitServed(`run-${n}.py`, `print(${n})`)),
  );
  await trio.scheduler.kill();
  await Promise.all([trio.scheduler.start(), trio.starter.start()]);
  const runs = await Promise.all(
    keys.map((key) => trio.client.waitForRun(key, { everyMs: 100, signal: patience() })),
  );
  expect(runs.map((run) => run.output)).toEqual(keys.map((_, n) => `${n}\n`));
});

it('a result waits for a scheduler that is away, and is delivered when it is back (R14)', async () => {
  const key = await submitServed(
    'slow.py',
    `import time\nprint('started', flush=True)\ntime.sleep(2)\nprint('done')`,
  );
  await eventually(async () => (await trio.client.getRun(key)).state === 'running', { timeoutMs: 20_000 });
  await trio.scheduler.kill();
  await eventually(async () => (await trio.starter.log()).includes('result not delivered yet'), {
    timeoutMs: 30_000,
  });
  await trio.scheduler.start();
  const run = await trio.client.waitForRun(key, { everyMs: 100, signal: patience() });
  expect(run).toMatchObject({ success: true, output: 'started\ndone\n' });
});

it('a database that is away is answered 503 with Retry-After; runs in flight and their results survive it (R15)', async () => {
  const key = await submitServed('slow.py', `import time\ntime.sleep(2)\nprint('done')`);
  await eventually(async () => (await trio.client.getRun(key)).state === 'running', { timeoutMs: 20_000 });
  await trio.databaseLink.cut();
  const answers = await Promise.all([
    fetch(`${trio.scheduler.url}/run-script/`, {
      method: 'POST',
      headers: { Authorization: `Token ${authToken}` },
      body: JSON.stringify({ dtable_uuid: base, script_name: 'a.py', owner: 'a' }),
    }),
    fetch(`${trio.scheduler.url}/run-script/${key.id}/?dtable_uuid=${base}&script_name=slow.py`, {
      headers: { Authorization: `Token ${authToken}` },
    }),
  ]);
  expect(answers.map((answer) => [answer.status, answer.headers.has('retry-after')])).toEqual([
    [503, true],
    [503, true],
  ]);
  expect((await fetch(`${trio.scheduler.url}/ping/`)).status).toBe(200);
  expect((await fetch(`${trio.scheduler.url}/health/ready`)).status).toBe(503);
  await eventually(async () => (await trio.starter.log()).includes('result not delivered yet'), {
    timeoutMs: 30_000,
  });
  await trio.databaseLink.restore();
  const run = await trio.client.waitForRun(key, { everyMs: 100, signal: patience() });
  expect(run).toMatchObject({ success: true, output: 'done\n' });
});

it('a starter killed while a script runs says so after its restart, and leaves no container', async () => {
  const key = await submitServed('endless.py', `import time\nwhile True: time.sleep(1)`);
  await eventually(async () => (await trio.client.getRun(key)).state === 'running', { timeoutMs: 20_000 });
  await trio.starter.kill();
  await trio.starter.start();
  const run = await trio.client.waitForRun(key, { everyMs: 100, signal: patience() });
  expect(run).toMatchObject({ success: false });
  expect(run.output).toMatch(/restarted/);
});

it('both services stop with exit code 0 when they are told to', async () => {
  expect(await trio.starter.stop()).toBe(0);
  expect(await trio.scheduler.stop()).toBe(0);
});
