import type { OriginalLog } from './original-rows.js';
import { translateLog, unfinishedSentence } from './translate-log.js';

const log = (part: Partial<OriginalLog> = {}): OriginalLog => ({
  id: 5,
  dtable_uuid: '5c264e76-0e5a-448a-9f34-580b551364ca',
  owner: 'alice@example.com',
  org_id: '7',
  script_name: 'hello.py',
  context_data: '{"row":{"Name":"ü"}}',
  started_at: '2026-07-01 12:00:00.250000',
  finished_at: '2026-07-01 12:00:01.750001',
  success: '1',
  return_code: '0',
  output: 'hello\n',
  operate_from: 'automation-rule',
  created_at: '2026-07-01 11:59:59.000000',
  ...part,
});
const options = { zone: 'Europe/Berlin', begunAt: '2026-11-21 21:00:00.000000' };
const translate = (part: Partial<OriginalLog> = {}, zone = options.zone) =>
  translateLog(log(part), { ...options, zone });

test('a run that ended well is a task that succeeded, at the same moments in UTC', () => {
  expect(translate()).toEqual({
    sourceId: 5,
    state: 'succeeded',
    owner: 'alice@example.com',
    orgId: 7,
    baseUuid: '5c264e76-0e5a-448a-9f34-580b551364ca',
    scriptName: 'hello.py',
    trigger: 'automation-rule',
    context: '{"row":{"Name":"ü"}}',
    createdAt: '2026-07-01 09:59:59.000000',
    startedAt: '2026-07-01 10:00:00.250000',
    finishedAt: '2026-07-01 10:00:01.750001',
    returnCode: 0,
    cause: 'exit',
    output: 'hello\n',
    outputWasCut: false,
    succeeded: true,
    runTimeUs: 1_500_001,
  });
});

test.each([
  ['Fail to get script', 'failed', 'script_unavailable'],
  ['Script invalid!', 'failed', 'script_invalid'],
  ["The script's running time exceeded the limit and the execution was aborted.", 'timed_out', 'time_limit'],
  ['anything else', 'failed', 'exit'],
])('a failed run that says %j is %s', (output, state, cause) => {
  expect(translate({ success: '0', output, return_code: null })).toMatchObject({
    state,
    cause,
    output,
    returnCode: null,
  });
});

test('a run that never ended is lost, says so, and is charged to nobody', () => {
  expect(translate({ finished_at: null, success: null, return_code: null, output: null })).toMatchObject({
    state: 'lost',
    cause: 'lost',
    output: unfinishedSentence,
    finishedAt: '2026-07-01 10:00:00.250000',
    runTimeUs: 0,
  });
  expect(translate({ finished_at: null, output: 'half' }).output).toBe(`half\n${unfinishedSentence}`);
});

test('what the original did not write down is filled in, the same each time', () => {
  expect(translate({ created_at: null }).createdAt).toBe('2026-07-01 10:00:00.250000');
  expect(translate({ created_at: null, started_at: null, finished_at: null })).toMatchObject({
    createdAt: options.begunAt,
    startedAt: null,
    finishedAt: options.begunAt,
  });
  expect(translate({ created_at: '0000-00-00 00:00:00' }).createdAt).toBe('2026-07-01 10:00:00.250000');
  expect(translate({ owner: null, dtable_uuid: '', operate_from: null })).toMatchObject({
    owner: 'unknown',
    baseUuid: 'unknown',
    trigger: 'manualy',
  });
});

test('no organisation is no organisation, however it was written', () => {
  for (const org_id of [null, '-1', '']) expect(translate({ org_id }).orgId).toBeNull();
  expect(translate({ org_id: '0' }).orgId).toBe(0);
});

test('a context that is no JSON is kept as the text that it was', () => {
  expect(translate({ context_data: "{'a': 1}" }).context).toBe('"{\'a\': 1}"');
  for (const context_data of [null, '', 'null']) expect(translate({ context_data }).context).toBeNull();
});

test('an hour that came twice is told apart by the order of the moments', () => {
  // The clocks went back from 03:00 to 02:00 on 25 October 2026 in Berlin.
  expect(
    translate({ created_at: null, started_at: '2026-10-25 02:59:00', finished_at: '2026-10-25 02:01:00' }),
  ).toMatchObject({
    startedAt: '2026-10-25 00:59:00.000000',
    finishedAt: '2026-10-25 01:01:00.000000',
    runTimeUs: 120_000_000,
  });
});

test('an output too long for a statement is cut and says so, within no character', () => {
  const { output, outputWasCut } = translate({ output: `x${'😀'.repeat(3_100_000)}` });
  expect(outputWasCut).toBe(true);
  expect(output.length).toBeLessThan(6_000_200);
  expect(output).toMatch(/The rest of the output was cut/);
});
