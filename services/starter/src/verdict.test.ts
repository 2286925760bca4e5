import { fixedOutput } from '@stadion/contracts';
import { SandboxStartError, type SandboxExit } from './executors/executor.js';
import { ScriptFetchError } from './exchange/fetch-script.js';
import { OutputCollector } from './output-collector.js';
import { type RunEnd, verdictOfFetch, verdictOfRestart, verdictOfRun, verdictOfStart } from './verdict.js';

const startedAt = new Date('2026-11-21T12:00:00Z');
const afterS = (seconds: number) => new Date(startedAt.getTime() + seconds * 1000);

function verdict(exit: Partial<SandboxExit>, more: Partial<RunEnd> & { printed?: string } = {}) {
  const collector = new OutputCollector(1_000_000);
  collector.add('stdout', Buffer.from(more.printed ?? ''));
  return verdictOfRun({
    taskId: 7,
    exit: { cause: 'exit', exitCode: 0, startedAt, finishedAt: afterS(2.5), ...exit },
    output: collector.end(),
    stoppedFor: undefined,
    timeLimitS: 900,
    limits: { memoryBytes: 1024 ** 3, pids: 128 },
    outputLimit: 1_000_000,
    ...more,
  });
}

test('a script that exits 0 succeeded', () => {
  expect(verdict({}, { printed: 'hello\n' })).toEqual({
    script_id: 7,
    success: true,
    return_code: 0,
    output: 'hello\n',
    spend_time: 2.5,
    started_at: startedAt.getTime() / 1000,
    cause: 'exit',
  });
});

test('a script that exits 3 failed, and nothing is added to its output', () => {
  expect(verdict({ exitCode: 3 }, { printed: 'before\n' })).toMatchObject({
    success: false,
    return_code: 3,
    output: 'before\n',
    cause: 'exit',
  });
});

test('R1: out of memory is return code 137, a sentence with the limit, and what was printed before', () => {
  const report = verdict({ cause: 'out_of_memory', exitCode: null }, { printed: 'so far\n' });
  expect(report).toMatchObject({ success: false, return_code: 137, cause: 'out_of_memory' });
  expect(report.output).toMatch(/^so far\n.*out of memory \(limit 1 GiB\)/);
});

test('R9: at the time limit the partial output is kept and the fixed text follows on a line of its own', () => {
  const stopped = { cause: 'stopped', exitCode: 137, finishedAt: afterS(900.1) } as const;
  expect(verdict(stopped, { printed: 'half', stoppedFor: 'time_limit' })).toMatchObject({
    success: false,
    return_code: -1,
    output: `half\n${fixedOutput.timeLimit}`,
    cause: 'time_limit',
  });
  expect(verdict(stopped, { stoppedFor: 'time_limit' }).output).toBe(fixedOutput.timeLimit);
});

test('a sandbox whose own watchdog was faster than the starter reached the time limit too', () => {
  expect(verdict({ exitCode: 137, finishedAt: afterS(901) }).cause).toBe('time_limit');
});

test('a script that ended by itself in the moment it was stopped did end by itself', () => {
  expect(verdict({ exitCode: 0 }, { stoppedFor: 'time_limit' })).toMatchObject({
    success: true,
    cause: 'exit',
  });
  expect(verdict({ cause: 'out_of_memory' }, { stoppedFor: 'time_limit' }).cause).toBe('out_of_memory');
});

test('a script that was ended by the stop of the starter says so', () => {
  const report = verdict({ cause: 'stopped', exitCode: 137 }, { stoppedFor: 'shutdown', printed: 'x\n' });
  expect(report).toMatchObject({ success: false, return_code: -1, cause: 'starter_restarted' });
  expect(report.output).toMatch(/^x\nThe script was ended because .* shut down\.$/);
});

test.each(['pids_limit', 'stopped', 'engine_error'] as const)('%s has a sentence in the output', (cause) => {
  const report = verdict({ cause, exitCode: null }, { printed: 'x\n' });
  expect(report).toMatchObject({ success: false, return_code: -1, cause });
  expect(report.output).toMatch(/^x\nThe script was .*\.$/);
  expect(verdict({ cause, exitCode: 9 }).return_code).toBe(9);
});

test('an attempt that never started has no start, and the fixed output first', () => {
  const unavailable = new ScriptFetchError(
    'script_unavailable',
    `${fixedOutput.scriptUnavailable}\nThe host answered 404.`,
  );
  expect(verdictOfFetch(7, unavailable)).toEqual({
    script_id: 7,
    success: false,
    return_code: null,
    output: 'Fail to get script\nThe host answered 404.',
    spend_time: 0,
    started_at: null,
    cause: 'script_unavailable',
  });
  expect(verdictOfFetch(7, new ScriptFetchError('script_invalid', 'Script invalid!')).return_code).toBe(-1);
  const missing = new SandboxStartError('image_missing', 'The runner image is missing.');
  expect(verdictOfStart(7, missing)).toMatchObject({
    cause: 'image_missing',
    output: 'The runner image is missing.',
  });
  expect(verdictOfStart(7, new SandboxStartError('engine_unavailable', 'x')).cause).toBe('engine_error');
  expect(verdictOfRestart(7)).toMatchObject({ success: false, cause: 'starter_restarted' });
});
