/** The main job, end to end on real parts: MariaDB, the production entry points, and each executor. */
import { execFileSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@stadion/testkit';
import { authToken, base, Trio } from './trio.js';

jest.setTimeout(120_000);

describe.each(['docker', 'process'] as const)('the pipeline with the %s executor', (executor) => {
  let trio: Trio;
  beforeAll(async () => {
    trio = await Trio.start({
      executor,
      scheduler: { STADION_TIME_LIMIT: '4' },
      starter: { STADION_TIME_LIMIT: '4', STADION_MEMORY: '256m', TIME_ZONE: 'Asia/Tokyo' },
    });
  });
  afterAll(() => trio.stop());

  it('runs a script with its context, environment and working folder, and the host application reads the result', async () => {
    const run = await trio.run(
      `import json, os, sys
context = json.load(sys.stdin)
print('Hello', context['row']['Name'])
print(os.environ['dtable_web_url'], os.environ['api_token'], os.environ['is_cloud'], os.environ['TZ'])
print(os.getcwd(), sys.argv, __name__)
open('result.txt', 'w').write('mine')
print('to stderr', file=sys.stderr)
`,
      { context_data: { table: 'T1', row: { Name: 'ü 🏟' } } },
    );
    expect(run.output).toBe(
      `Hello ü 🏟\n${trio.host.url} temporary-token 1 Asia/Tokyo\n/scripts ['index.py'] __main__\nto stderr\n`,
    );
    expect(run).toMatchObject({
      state: 'finished',
      success: true,
      return_code: 0,
      owner: 'alice@example.com',
    });
    expect(run.started_at).not.toBe('');
  });

  it("gives the context to a script as the host application's own library reads it", async () => {
    const library = `import os, sys, json
data = None
if os.environ.get('is_cloud') == '1' and not sys.stdin.isatty():
    text = sys.stdin.read()
    try:
        data = json.loads(text)
    except ValueError:
        data = None
print(repr(data))
`;
    expect((await trio.run(library, { context_data: { row: [1, 'ä'] } })).output).toBe("{'row': [1, 'ä']}\n");
    expect((await trio.run(library)).output).toBe('None\n');
  });

  it('runs JavaScript, which the name of the script tells, with all that Python gets', async () => {
    const source = `import { readFileSync } from 'node:fs';
const context = JSON.parse(readFileSync(0, 'utf8'));
console.log('Hello', context.row.Name, process.env.api_token, process.cwd());
console.log(new Date(Date.UTC(2026, 0, 1)).getHours());
process.exitCode = 5;
`;
    const request = { script_name: 'greet.mjs', context_data: { row: { Name: 'ü' } } };
    expect(await trio.run(source, request)).toMatchObject({
      script_name: 'greet.mjs',
      success: false,
      return_code: 5,
      output: 'Hello ü temporary-token /scripts\n9\n',
    });
  });

  it('reports the exit code of a script that fails, and what it printed before', async () => {
    const run = await trio.run(`print('before')\nraise SystemExit(3)`);
    expect(run).toMatchObject({ success: false, return_code: 3, output: 'before\n' });
  });

  it('ends a script at its time limit and keeps what it printed (R9)', async () => {
    const run = await trio.run(
      `import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('so far')\nwhile True: time.sleep(1)`,
    );
    expect(run).toMatchObject({ success: false, return_code: -1 });
    expect(run.output).toBe(
      "so far\nThe script's running time exceeded the limit and the execution was aborted.",
    );
    const took = Date.parse(run.finished_at!) - Date.parse(run.started_at);
    expect(took).toBeLessThanOrEqual(7_000);
  });

  it('says that a script ran out of memory, and keeps what it printed (R1)', async () => {
    const run = await trio.run(
      `print('so far', flush=True)\nblocks = []\nwhile True: blocks.append(bytearray(10_000_000))`,
    );
    expect(run).toMatchObject({ state: 'finished', success: false });
    expect(run.output).toMatch(/^so far\n/);
    // A process has a limit on its addresses and gets an exception; a container's memory is counted, and it is killed.
    expect(run.output).toMatch(executor === 'docker' ? /out of memory \(limit 256 MiB\)/i : /MemoryError/);
    if (executor === 'docker') expect(run.return_code).toBe(137);
  });

  it('cuts 50 MB of output at a million characters and says so (R6)', async () => {
    const run = await trio.run(`import sys\nfor _ in range(50): sys.stdout.write('x' * 1_000_000)`);
    expect(run).toMatchObject({ success: true, return_code: 0 });
    // Compared without matchers that would print all of it.
    const { length } = run.output!;
    expect(length <= 1_000_000 && length > 990_000).toBe(true);
    expect(run.output!.slice(-200)).toMatch(/^x+\n.*truncated/);
  });

  it('keeps output that is not UTF-8, with replacements (R6)', async () => {
    const run = await trio.run(`import sys\nsys.stdout.buffer.write(b'a\\xff\\xfeb')`);
    expect(run).toMatchObject({ success: true, output: 'a\ufffd\ufffdb' });
  });

  it.each([
    ['a script that the file server does not have', 'Fail to get script', null],
    ['a script that the host application does not know', 'Failed', -1],
  ])('ends the run of %s as the original does, with the reason', async (_what, output, returnCode) => {
    const name = `missing-${returnCode}.py`;
    if (output === 'Fail to get script') {
      trio.host.scriptFile(name, { script_url: `${trio.host.url}/scripts/nowhere.py` });
    }
    const key = await trio.client.submitRun({ dtable_uuid: base, script_name: name, owner: 'bob' });
    const run = await trio.client.waitForRun(key, { everyMs: 50, signal: AbortSignal.timeout(30_000) });
    expect(run).toMatchObject({ success: false, return_code: returnCode });
    expect(run.output).toMatch(new RegExp(`^${output}\n.+404`, 's'));
  });

  it('refuses to download a script from a host that is not allowed', async () => {
    const key = await trio.client.submitRun({
      dtable_uuid: base,
      script_name: 'evil.py',
      owner: 'mallory',
      script_url: 'http://169.254.169.254/latest/meta-data/',
    });
    const run = await trio.client.waitForRun(key, { everyMs: 50, signal: AbortSignal.timeout(30_000) });
    expect(run.output).toMatch(/^Fail to get script\n/);
  });

  it.each(['json/tool.py', 'calendar.py', 'this.py'])(
    'runs %s of the Python project, which nobody here wrote, unchanged',
    async (file) => {
      const library = execFileSync(
        'python3',
        ['-c', 'import sysconfig; print(sysconfig.get_path("stdlib"))'],
        { encoding: 'utf8' },
      );
      const source = await readFile(join(library.trim(), file));
      const run = await trio.run(source, { context_data: { b: [1, 2], a: 'ä' } });
      const expected = {
        'json/tool.py': '{\n    "b": [\n        1,\n        2\n    ],\n    "a": "\\u00e4"\n}\n',
        'calendar.py': new RegExp(`^ +${new Date().getFullYear()}\\n\\n +January +February +March\\n`),
        'this.py': /^The Zen of Python, by Tim Peters\n/,
      }[file];
      expect(run.output).toEqual(typeof expected === 'string' ? expected : expect.stringMatching(expected!));
      expect(run).toMatchObject({ success: true, return_code: 0 });
    },
  );

  it('runs for an automation that nobody watches', async () => {
    const name = 'automation.py';
    trio.host.scriptFile(name, { script_url: trio.serve(name, `print('ran')`) });
    const key = await trio.client.submitRun({
      dtable_uuid: base,
      script_name: name,
      owner: 'automation@example.com',
      operate_from: 'automation-rule',
    });
    // Told by the scheduler's log, not by asking for the run.
    await eventually(
      async () => {
        const lines = (await trio.scheduler.log()).split('\n');
        return lines.some((line) => line.includes('task finished') && line.includes(`"taskId":${key.id},`));
      },
      { timeoutMs: 30_000 },
    );
    expect(await trio.client.waitForRun(key, { everyMs: 50 })).toMatchObject({
      output: 'ran\n',
      operate_from: 'automation-rule',
    });
  });

  it('runs 20 scripts of 5 owners at once, each with its own result', async () => {
    const runs = await Promise.all(
      Array.from({ length: 20 }, (_, n) => trio.run(`print(${n})`, { owner: `owner-${n % 5}` })),
    );
    expect(runs.map((run) => run.output)).toEqual(Array.from({ length: 20 }, (_, n) => `${n}\n`));
  });

  it('leaves nothing behind: no folder, no container, no secret in a log', async () => {
    await eventually(async () => (await readdir(join(trio.exchangeDir, 'attempts'))).length === 0);
    if (executor === 'docker') {
      const identity = await readFile(join(trio.exchangeDir, 'starter.json'), 'utf8');
      const starterId = /[0-9a-f-]{36}/.exec(identity)![0];
      const ours = ['ps', '-aq', '--filter', `label=org.stadion.starter=${starterId}`];
      await eventually(() => execFileSync('docker', ours, { encoding: 'utf8' }) === '');
    }
    const logs = (await trio.scheduler.log()) + (await trio.starter.log());
    expect(logs).not.toContain(authToken);
    expect(logs).not.toContain('temporary-token');
  });
});
