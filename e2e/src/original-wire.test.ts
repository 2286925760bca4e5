/**
 * Scheduler and starter speak the original pipeline's wire to each other, each taking the other for the original: what
 * either sends is what the other understands, end to end and without a token.
 */
import { fixedOutput } from '@stadion/contracts';
import { eventually } from '@stadion/testkit';
import { Trio } from './trio.js';

let trio: Trio;
beforeAll(async () => {
  trio = await Trio.start({
    executor: 'process',
    wire: 'original',
    starter: { PYTHON_PROCESS_TIMEOUT: '3' },
  });
});
afterAll(() => trio?.stop());

test('a run goes the whole way, with context, environment and output', async () => {
  const run = await trio.run(
    'import sys, json, os\nprint(json.load(sys.stdin)["row"]["Name"], os.environ["api_token"], os.environ["is_cloud"])\nsys.exit(3)',
    { context_data: { row: { Name: 'ü😀' } } },
  );
  expect(run).toMatchObject({
    state: 'finished',
    success: false,
    return_code: 3,
    output: 'ü😀 temporary-token 1\n',
  });
  expect(run.started_at).not.toBe('');
});

test('the fixed sentences arrive as what they mean', async () => {
  const late = await trio.run('import time\ntime.sleep(60)');
  expect(late).toMatchObject({ success: false, return_code: -1 });
  expect(late.output).toContain(fixedOutput.timeLimit);
  trio.host.scriptFile('gone.py', { script_url: `${trio.host.url}/nowhere.py` });
  const { output, success } = await trio.client
    .submitRun({ dtable_uuid: '5c264e76-0e5a-448a-9f34-580b551364ca', owner: 'a', script_name: 'gone.py' })
    .then((key) => trio.client.waitForRun(key, { everyMs: 50, signal: AbortSignal.timeout(30_000) }));
  expect(success).toBe(false);
  expect(output).toContain(fixedOutput.scriptUnavailable);
});

test('a starter that is killed and comes back still tells how the run ended (R3)', async () => {
  trio.host.scriptFile('long.py', {
    script_url: trio.serve('long.py', 'import time\ntime.sleep(2.5)\nprint("end")'),
  });
  const key = await trio.client.submitRun({
    dtable_uuid: '5c264e76-0e5a-448a-9f34-580b551364ca',
    owner: 'a',
    script_name: 'long.py',
  });
  await eventually(async () => (await trio.client.getRun(key)).state === 'running', { timeoutMs: 20_000 });
  await trio.starter.kill();
  await trio.starter.start();
  const run = await trio.client.waitForRun(key, { everyMs: 50, signal: AbortSignal.timeout(30_000) });
  // Interrupted, or carried on with: either way the starter says so, and nobody else has to.
  expect(run.state).toBe('finished');
  expect(run.output).toMatch(/end|restart/);
});
