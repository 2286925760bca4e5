import { conformanceLimits as limits } from '../executor-conformance.js';
import type { EndReport } from './end-report.js';
import { exitCause, type EndFacts, inBinaryUnits } from './exit-cause.js';

const report = (changes: Partial<EndReport> = {}): EndReport => ({
  exit_code: 0,
  oom_kills: 0,
  pids_refused: 0,
  ended_by: 'itself',
  ...changes,
});
const state = (ExitCode: number, OOMKilled = false) => ({ ExitCode, OOMKilled });
const cause = (facts: Partial<EndFacts>) =>
  exitCause({
    report: undefined,
    state: state(0),
    stopRequested: false,
    tellsNothing: false,
    limits,
    ...facts,
  });

test.each<[string, Partial<EndFacts>, object]>([
  ['ended well', { report: report() }, { cause: 'exit', exitCode: 0 }],
  ['ended with 3', { report: report({ exit_code: 3 }), state: state(3) }, { cause: 'exit', exitCode: 3 }],
  [
    'was told so by the runner to be out of memory',
    { report: report({ exit_code: 137, oom_kills: 1 }), state: state(137) },
    { cause: 'out_of_memory', exitCode: 137, detail: 'out of memory (limit 256 MiB)' },
  ],
  [
    'was seen by the engine to be out of memory',
    { report: report({ exit_code: 1 }), state: state(1, true) },
    { cause: 'out_of_memory', exitCode: 1 },
  ],
  [
    'was killed together with its runner for want of memory',
    { state: state(137, true) },
    { cause: 'out_of_memory', exitCode: 137 },
  ],
  [
    "coped with a child's want of memory",
    { report: report({ oom_kills: 2 }), state: state(0, true) },
    { cause: 'exit', exitCode: 0 },
  ],
  [
    'hit the process limit',
    { report: report({ exit_code: 1, pids_refused: 4 }), state: state(1) },
    { cause: 'pids_limit', exitCode: 1 },
  ],
  ['coped with a refused process', { report: report({ pids_refused: 4 }) }, { cause: 'exit', exitCode: 0 }],
  [
    'killed itself',
    { report: report({ exit_code: 137 }), state: state(137) },
    { cause: 'exit', exitCode: 137 },
  ],
  ['was stopped', { stopRequested: true, state: state(137) }, { cause: 'stopped', exitCode: 137 }],
  ['was stopped and removed', { stopRequested: true, state: 'gone' }, { cause: 'stopped', exitCode: null }],
  [
    'ended before its stop arrived',
    { stopRequested: true, report: report({ exit_code: 2 }), state: state(2) },
    { cause: 'exit', exitCode: 2 },
  ],
  [
    'may still run, for the engine hangs',
    { stopRequested: true, state: 'unknown' },
    { cause: 'engine_error', exitCode: null },
  ],
  [
    'lost its starter',
    { report: report({ exit_code: 137, ended_by: 'time_limit' }), state: state(137) },
    { cause: 'stopped', exitCode: 137 },
  ],
  [
    'was ended by docker stop',
    { report: report({ exit_code: 137, ended_by: 'signal' }), state: state(137) },
    { cause: 'engine_error', exitCode: 137 },
  ],
  ['was killed from outside', { state: state(137) }, { cause: 'engine_error', exitCode: 137 }],
  ['lost its engine', { state: 'unknown' }, { cause: 'engine_error', exitCode: null }],
  ['was removed by somebody', { state: 'gone' }, { cause: 'engine_error', exitCode: null }],
  ['never ran for want of an order', { state: state(125) }, { cause: 'engine_error', exitCode: null }],
  ['ended while nobody could listen', { state: state(4) }, { cause: 'exit', exitCode: 4 }],
])('a script that %s', (_, facts, wanted) => {
  const end = cause(facts);
  expect(end).toMatchObject(wanted);
  if (end.cause !== 'exit') expect(end.detail).toMatch(/^.{10,200}$/);
});

test.each([
  [1024 ** 3, '1 GiB'],
  [1.5 * 1024 ** 3, '1.5 GiB'],
  [256 * 1024 ** 2, '256 MiB'],
  [512, '512 bytes'],
])('%d bytes are %s', (bytes, text) => {
  expect(inBinaryUnits(bytes)).toBe(text);
});
