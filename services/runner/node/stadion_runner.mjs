/**
 * PID 1 of a runner container for JavaScript: waits for one order, runs one script, tells how it ended, and is gone. It speaks
 * the protocol of `services/runner/python/stadion_runner.py`; the order is one line of JSON on standard input:
 *   env           object of strings: the script's variables besides PATH, HOME and LANG
 *   time_limit_s  seconds the script may run; this process ends it 5 seconds later should the starter not have
 *   report        a word that only the starter knows; with it, the last thing on standard error is
 *                 NUL, that word, and one line of JSON: {"exit_code", "oom_kills", "pids_refused", "ended_by"}
 * End-of-file instead of an order means that the starter is gone: so is this process, without a word. Needs nothing but
 * Node 20 or newer. Node takes in no orphans of others, so what a script's children leave behind stays a zombie, and counts
 * against the limit on processes, until the container ends.
 */
import { spawn } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { Socket } from 'node:net';
import { constants as system } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const EXIT_WITHOUT_ORDER = 125; // not 0: a script that never ran must not look like one that ended well
const MAX_ORDER_BYTES = 16 * 1024 * 1024;

const usual = { scriptsDir: '/scripts', cgroupDir: '/sys/fs/cgroup', graceAfterLimitS: 5 };

/** The exit code of this process. */
export async function runOneScript(place = usual) {
  // PID 1 gets no default action: without these, `docker stop` would take its full grace period.
  let onSignal = (number) => process.exit(128 + number);
  for (const name of ['SIGTERM', 'SIGINT']) process.on(name, () => onSignal(system.signals[name]));
  // Node would open its debugger for it, to whoever is in here.
  process.on('SIGUSR1', () => {});

  const line = await readLine();
  if (line === undefined) return EXIT_WITHOUT_ORDER;
  const order = understand(line);
  if (order.problem) {
    writeSync(2, `The runner was given an order it does not understand (${order.problem}).\n`);
    return EXIT_WITHOUT_ORDER;
  }

  const before = limitCounters(place.cgroupDir);
  const script = start(order.env, place);
  let endedBy = 'itself';
  const end = (why) => {
    if (endedBy === 'itself') endedBy = why;
    killAll(script);
  };
  onSignal = () => end('signal');
  const timer = setTimeout(() => end('time_limit'), (order.timeLimitS + place.graceAfterLimitS) * 1000);
  const exitCode = await script.ended;
  clearTimeout(timer);
  await killLeftovers(script);
  if (order.report) {
    const after = limitCounters(place.cgroupDir);
    const since = (key) => Math.max(0, after[key] - before[key]);
    const told = {
      oom_kills: since('oom_kills'),
      pids_refused: since('pids_refused'),
      exit_code: exitCode,
      ended_by: endedBy,
    };
    await writeReport(`\0${order.report}${JSON.stringify(told)}\n`);
  }
  return exitCode;
}

/** The first line, or undefined at end-of-file. What follows the line is nobody's. */
function readLine() {
  return new Promise((resolve) => {
    const pieces = [];
    let size = 0;
    const finish = (line) => {
      process.stdin.destroy();
      resolve(line);
    };
    process.stdin.on('data', (piece) => {
      const newline = piece.indexOf(10);
      pieces.push(newline < 0 ? piece : piece.subarray(0, newline));
      size += piece.length;
      if (newline >= 0) finish(Buffer.concat(pieces).toString());
      else if (size > MAX_ORDER_BYTES) finish(undefined);
    });
    process.stdin.on('end', () => finish(undefined));
    process.stdin.on('error', () => finish(undefined));
  });
}

/** Of a problem the kind only: its text could quote a secret. */
function understand(line) {
  try {
    const { env: given, time_limit_s: limit, report } = JSON.parse(line);
    if (typeof given !== 'object' || given === null || Array.isArray(given)) return { problem: 'env' };
    const timeLimitS = Number(limit);
    if (limit === null || !Number.isFinite(timeLimitS)) return { problem: 'time_limit_s' };
    const env = Object.assign(Object.create(null), {
      PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin',
      HOME: process.env.HOME ?? '/home/seatable',
      LANG: 'C.UTF-8',
    });
    for (const [name, value] of Object.entries(given)) {
      if (typeof value !== 'string') return { problem: 'env' };
      env[name] = value;
    }
    return { env, timeLimitS, report };
  } catch {
    return { problem: 'no JSON' };
  }
}

/** `ended` resolves to the exit code, 128 and the signal's number when one ended it. */
function start(env, { scriptsDir, cgroupDir }) {
  const failed = (error) => {
    writeSync(2, `The script could not be started: ${error.code ?? error.name}\n`);
    return { pid: undefined, ended: Promise.resolve(126) };
  };
  let stdin;
  try {
    stdin = openInput(scriptsDir);
    // A session of its own, and the signals as for any program, which `spawn` sees to.
    const child = spawn(process.execPath, [...heapOption(cgroupDir), scriptIn(scriptsDir)], {
      argv0: 'node',
      cwd: scriptsDir,
      env,
      stdio: [stdin, 'inherit', 'inherit'],
      detached: true,
    });
    const ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ? 128 + system.signals[signal] : code));
      child.once('error', (error) => failed(error).ended.then(resolve));
    });
    if (child.pid !== undefined) preferAsOomVictim(child.pid);
    return { pid: child.pid, ended };
  } catch (error) {
    return failed(error);
  } finally {
    if (stdin !== undefined) closeSync(stdin);
  }
}

/** Left to itself, Node would let its heap have half of the container's memory. The rest is for what lies outside of it. */
function heapOption(cgroupDir) {
  for (const name of ['memory.max', 'memory/memory.limit_in_bytes']) {
    try {
      const limit = Number(readFileSync(join(cgroupDir, name), 'utf8'));
      // Version 1 says a number beyond all memory when there is no limit, version 2 a word.
      if (limit < 2 ** 50) return [`--max-old-space-size=${Math.floor((limit * 0.8) / 1024 ** 2)}`];
    } catch {
      // The other layout, or none.
    }
  }
  return [];
}

function openInput(scriptsDir) {
  try {
    return openSync(join(scriptsDir, 'input'), 'r');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    return openSync('/dev/null', 'r');
  }
}

function scriptIn(scriptsDir) {
  try {
    accessSync(join(scriptsDir, 'index.js'), constants.F_OK);
    return 'index.js';
  } catch {
    return 'index.mjs';
  }
}

/** Out of memory shall end the script, not the process that tells about it. */
function preferAsOomVictim(pid) {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, '1000');
  } catch {
    // The script has ended, or the system does not allow it.
  }
}

function killAll({ pid }) {
  try {
    // Only PID 1 of a container may kill "all": anywhere else that would be the machine.
    if (process.pid === 1) process.kill(-1, 'SIGKILL');
    else if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // Nobody is left.
  }
}

/** Nothing may write after the report; a process that can't die within a second dies with this one. */
async function killLeftovers(script) {
  const deadline = performance.now() + 1000;
  do {
    killAll(script);
    if (process.pid !== 1 || !othersLive()) return;
    await pause(5);
  } while (performance.now() < deadline);
}

function othersLive() {
  return readdirSync('/proc').some((name) => {
    if (!/^\d+$/.test(name) || name === '1') return false;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      return !/^ [ZX]/.test(stat.slice(stat.lastIndexOf(')') + 1));
    } catch {
      return false; // gone meanwhile
    }
  });
}

/** How often this container's own memory and process limits bit, on cgroup v1 or v2; 0 where nothing tells. */
function limitCounters(cgroupDir) {
  return {
    oom_kills: firstCounter(cgroupDir, 'oom_kill', 'memory.events', 'memory/memory.oom_control'),
    pids_refused: firstCounter(cgroupDir, 'max', 'pids.events', 'pids/pids.events'),
  };
}

function firstCounter(cgroupDir, key, ...names) {
  for (const name of names) {
    try {
      for (const line of readFileSync(join(cgroupDir, name), 'utf8').split('\n')) {
        const [field, value] = line.split(' ');
        if (field === key) return Number(value);
      }
    } catch {
      // The other layout, or none.
    }
  }
  return 0;
}

/** Bounded, unlike a plain write: a starter that no longer reads must not keep this process alive. */
async function writeReport(text) {
  const stderr = new Socket({ fd: 2, readable: false, writable: true });
  stderr.on('error', () => {});
  await Promise.race([new Promise((resolve) => stderr.end(text, resolve)), pause(5000)]);
}

// Imported by its tests, it does nothing by itself.
if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(await runOneScript());
