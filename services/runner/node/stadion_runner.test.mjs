// The runner as a process of its own, outside a container: what it reads, what the script gets, what it tells.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, test } from 'node:test';

const runner = new URL('stadion_runner.mjs', import.meta.url).href;
const word = 'f00dfeed';
const path = `${dirname(process.execPath)}:/usr/bin:/bin`;
let folder, scriptsDir, cgroupDir, running;

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'stadion-node-runner-')));
  scriptsDir = join(folder, 'scripts');
  cgroupDir = join(folder, 'cgroup');
  mkdirSync(scriptsDir);
  mkdirSync(cgroupDir);
  running = [];
});
afterEach(async () => {
  // Not SIGKILL: outside a container that would leave its script running.
  for (const child of running) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  rmSync(folder, { recursive: true });
});

function start(source, file = 'index.mjs') {
  writeFileSync(join(scriptsDir, file), source);
  const place = JSON.stringify({ scriptsDir, cgroupDir, graceAfterLimitS: 0.1 });
  const code = `import(${JSON.stringify(runner)}).then((m) => m.runOneScript(${place})).then((code) => process.exit(code))`;
  const child = spawn(process.execPath, ['-e', code], {
    env: { PATH: path, HOME: '/home/seatable', LEAK: 'of the starter' },
  });
  child.stdin.on('error', () => {}); // it may end without reading
  running.push(child);
  return child;
}

async function talk(child, input) {
  child.stdin.end(input);
  const [[code], out, err] = await Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)]);
  return { code, out, err };
}

async function run(source, { env = {}, rest = '', file, ...order } = {}) {
  return await talk(start(source, file), JSON.stringify({ env, time_limit_s: 20, ...order }) + '\n' + rest);
}

function toldIn(err) {
  const [said, told] = err.split(`\0${word}`);
  return [said, JSON.parse(told)];
}

test('end-of-file instead of an order ends it quietly and runs nothing', async () => {
  for (const begun of ['', '{"env": {}, "time_limit_s": 5}']) {
    const child = start(`import fs from 'node:fs'; fs.writeFileSync('ran', '');`);
    assert.deepEqual(await talk(child, begun), { code: 125, out: '', err: '' });
    assert.equal(existsSync(join(scriptsDir, 'ran')), false);
  }
});

test('an order may come in pieces and its stream may stay open', async () => {
  const child = start(`console.log('ran');`);
  for (const piece of ['{"env": {},', ' "time_limit_s"', ': 5}\n']) child.stdin.write(piece);
  const [[code], out] = await Promise.all([once(child, 'exit'), text(child.stdout)]);
  assert.deepEqual([code, out], [0, 'ran\n']);
});

test('an order that makes no sense is refused without quoting it', async () => {
  const orders = ['not JSON secret', '[]', '{}', 'null', '{"env": "secret", "time_limit_s": 1}'];
  orders.push('{"env": {"secret": 1}, "time_limit_s": 1}', '{"env": {}, "time_limit_s": "secret"}');
  for (const order of orders) {
    const { code, out, err } = await talk(start(`console.log('ran')`), order + '\n');
    assert.deepEqual([code, out], [125, ''], order);
    assert.match(err, /does not understand/);
    assert.doesNotMatch(err, /secret/);
  }
});

test('the script gets exactly its variables', async () => {
  const env = {
    api_token: 's"e\ncret',
    empty: '',
    'odd.name': 'ü',
    HOME: '/mine',
    NODE_OPTIONS: '--no-warnings',
  };
  const { code, out, err } = await run('console.log(JSON.stringify(process.env))', { env });
  assert.deepEqual([code, err], [0, '']);
  assert.deepEqual(JSON.parse(out), { PATH: path, LANG: 'C.UTF-8', ...env });
});

test('it is the main program in the scripts folder, and leads a session', async () => {
  const { out } = await run(
    `import fs from 'node:fs';
     const stat = fs.readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ');
     console.log(JSON.stringify([process.argv.slice(1), process.cwd(), Number(stat[3]) === process.pid]));`,
  );
  assert.deepEqual(JSON.parse(out), [[join(scriptsDir, 'index.mjs')], scriptsDir, true]);
});

test('index.js is CommonJS', async () => {
  const { out } = await run('console.log(require.main === module)', { file: 'index.js' });
  assert.equal(out, 'true\n');
});

test('standard input is the input file or empty and never the rest of the order', async () => {
  const source = `import fs from 'node:fs'; console.log(JSON.stringify(fs.readFileSync(0, 'utf8')));`;
  assert.equal((await run(source, { rest: 'more\n' })).out, '""\n');
  writeFileSync(join(scriptsDir, 'input'), '{"a": 1}');
  assert.equal((await run(source, { rest: 'more\n' })).out, '"{\\"a\\": 1}"\n');
});

test('a script that cannot be started says why', async () => {
  const { code, out, err } = await run('', { env: { big: 'x'.repeat(300_000) } });
  assert.deepEqual([code, out, err], [126, '', 'The script could not be started: E2BIG\n']);
});

test("its exit code is the script's, or 128 and the signal", async () => {
  for (const [source, wanted] of [
    ['', 0],
    ['process.exit(3)', 3],
    ['throw 1', 1],
    [`process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000)`, 143],
    ['process.abort()', 134],
  ]) {
    assert.equal((await run(source)).code, wanted, source);
  }
});

test('children that the script left are gone and hold nothing open', async () => {
  const { code, out } = await run(
    `import { spawn } from 'node:child_process';
     spawn('sleep', ['60'], { stdio: 'inherit' }).unref();
     console.log('left');`,
  );
  assert.deepEqual([code, out], [0, 'left\n']);
});

test('the last word on standard error tells the end', async () => {
  const { code, err } = await run(`console.error('mine'); process.exit(3)`, { report: word });
  assert.equal(code, 3);
  assert.deepEqual(toldIn(err), [
    'mine\n',
    { exit_code: 3, oom_kills: 0, pids_refused: 0, ended_by: 'itself' },
  ]);
  assert.equal((await run('')).err, '');
});

test('what the cgroup counted since the start is told, of version 2 and of version 1', async () => {
  const v2 = ['memory.events', 'low 0\nmax 9\noom 9\noom_kill %\noom_group_kill 0\n', 'pids.events'];
  const v1 = ['memory/memory.oom_control', 'oom_kill_disable 0\noom_kill %\n', 'pids/pids.events'];
  for (const [memory, said, pids] of [v2, v1]) {
    rmSync(cgroupDir, { recursive: true });
    const files = [memory, pids].map((name) => join(cgroupDir, name));
    for (const file of files) mkdirSync(dirname(file), { recursive: true });
    writeFileSync(files[0], said.replace('%', '2'));
    writeFileSync(files[1], 'max 5\n');
    const [one, two] = files.map((file) => JSON.stringify(file));
    const later = JSON.stringify(said.replace('%', '3'));
    const source = `import fs from 'node:fs'; fs.writeFileSync(${one}, ${later}); fs.writeFileSync(${two}, 'max 12');`;
    const [, told] = toldIn((await run(source, { report: word })).err);
    assert.deepEqual([told.oom_kills, told.pids_refused], [1, 7]);
  }
});

test("its heap may take four fifths of the container's memory", async () => {
  writeFileSync(join(cgroupDir, 'memory.max'), `${1024 ** 3}\n`);
  const source = `import v8 from 'node:v8'; console.log(v8.getHeapStatistics().heap_size_limit / 1024 ** 2);`;
  const limited = Number((await run(source)).out);
  assert.ok(limited >= 819 && limited < 1024, String(limited));
  writeFileSync(join(cgroupDir, 'memory.max'), 'max\n');
  const { code, out } = await run(`console.log(process.execArgv.length)`);
  assert.deepEqual([code, out], [0, '0\n']);
});

test('a script past its limit and the grace is killed and its output kept', async () => {
  const source = `process.on('SIGTERM', () => {}); console.log('kept'); for (;;);`;
  const { code, out, err } = await run(source, { time_limit_s: 0.5, report: word });
  assert.deepEqual([code, out, toldIn(err)[1].ended_by], [137, 'kept\n', 'time_limit']);
});

test('SIGTERM ends the script and says that it came from outside', async () => {
  const child = start(`console.log('up'); setInterval(() => {}, 1000);`);
  child.stdin.write(JSON.stringify({ env: {}, time_limit_s: 60, report: word }) + '\n');
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  const [[code], err] = await Promise.all([once(child, 'exit'), text(child.stderr)]);
  assert.deepEqual([code, toldIn(err)[1].ended_by], [137, 'signal']);
});

test('SIGUSR1 does not open the debugger of the runner', async () => {
  const child = start(`process.kill(process.ppid, 'SIGUSR1'); setTimeout(() => console.log('done'), 300);`);
  child.stdin.write(JSON.stringify({ env: {}, time_limit_s: 60 }) + '\n');
  const [[code], out, err] = await Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)]);
  assert.deepEqual([code, out, err], [0, 'done\n', '']);
});
