import { codePointLength } from '@stadion/contracts';
import fc from 'fast-check';
import { composeOutput, OutputCollector } from './output-collector.js';

const outputOf = (parts: { stdout?: Buffer[]; stderr?: Buffer[] }, limit = 1_000_000, closing?: string) => {
  const collector = new OutputCollector(limit);
  for (const chunk of parts.stdout ?? []) collector.add('stdout', chunk);
  for (const chunk of parts.stderr ?? []) collector.add('stderr', chunk);
  return composeOutput(collector.end(), limit, closing);
};
const utf8 = (text: string) => Buffer.from(text, 'utf8');

test('stdout comes first, then stderr, however they were interleaved', () => {
  const collector = new OutputCollector(100);
  collector.add('stderr', utf8('trace\n'));
  collector.add('stdout', utf8('a'));
  collector.add('stderr', utf8('back\n'));
  collector.add('stdout', utf8('b\n'));
  expect(composeOutput(collector.end(), 100)).toBe('ab\ntrace\nback\n');
});

test('a character that is split between chunks arrives whole', () => {
  const bytes = utf8('a€😀z');
  expect(outputOf({ stdout: [...bytes].map((byte) => Buffer.from([byte])) })).toBe('a€😀z');
});

test('R6: output that is not UTF-8 is kept with replacement characters', () => {
  expect(outputOf({ stdout: [Buffer.from([0x61, 0xff, 0xfe, 0x62, 0x0a])] })).toBe('a\ufffd\ufffdb\n');
  expect(outputOf({ stdout: [Buffer.from([0x61, 0xe2, 0x82])] })).toBe('a\ufffd');
  expect(outputOf({ stdout: [Buffer.from([0xed, 0xa0, 0x80])] })).toBe('\ufffd\ufffd\ufffd');
});

test('a byte order mark and NUL characters are output like any other', () => {
  expect(outputOf({ stdout: [utf8('\ufeffa\0b')] })).toBe('\ufeffa\0b');
});

test('R6: a huge output is capped while it is read, and the output says so', () => {
  const collector = new OutputCollector(1_000_000);
  const block = Buffer.alloc(1024 * 1024, 'x');
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 2_000; i += 1) collector.add('stdout', block);
  expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024);
  const output = composeOutput(collector.end(), 1_000_000);
  expect(codePointLength(output)).toBe(999_999); // room for a digit more was kept
  expect(output).toMatch(/^x+\n\[output truncated: 9999\d\d characters kept of more\]$/);
});

test.each([
  ['control characters', '\u0001'],
  ['emoji', '😀'],
])('R16: exactly a million %s are kept whole', (_name, character) => {
  const text = character.repeat(1_000_000);
  const output = outputOf({ stdout: [utf8(text)] });
  expect(output === text).toBe(true);
});

test('R16: a million and one emoji are cut to at most a million characters with the note counted in', () => {
  const output = outputOf({ stdout: [utf8('😀'.repeat(1_000_001))] });
  expect(codePointLength(output)).toBe(999_999);
  expect(output.endsWith('characters kept of more]')).toBe(true);
  expect(output.isWellFormed()).toBe(true);
});

test('a million chunks of one byte are collected in seconds', () => {
  const collector = new OutputCollector(2_000_000);
  const byte = utf8('x');
  for (let i = 0; i < 1_000_000; i += 1) collector.add('stdout', byte);
  expect(collector.end().stdout.length).toBe(1_000_000);
});

test('a huge stdout does not hide the traceback', () => {
  const output = outputOf({ stdout: [utf8('x'.repeat(5_000))], stderr: [utf8('Traceback: boom\n')] }, 1_000);
  expect(output).toContain('Traceback: boom\n');
  expect(codePointLength(output)).toBeLessThanOrEqual(1_000);
});

test('when both streams overflow, stderr keeps a quarter of the room', () => {
  const output = outputOf({ stdout: [utf8('o'.repeat(5_000))], stderr: [utf8('e'.repeat(5_000))] }, 1_000);
  const kept = (letter: string) => new RegExp(`${letter}{2,}`).exec(output)?.[0].length ?? 0;
  expect(kept('e')).toBeGreaterThan(200);
  expect(kept('o')).toBeGreaterThan(2.5 * kept('e'));
});

test('what the platform says stands on a line of its own, and alone when there was no output', () => {
  expect(outputOf({ stdout: [utf8('half a line')] }, 1_000, 'Ended.')).toBe('half a line\nEnded.');
  expect(outputOf({ stdout: [utf8('a line\n')] }, 1_000, 'Ended.')).toBe('a line\nEnded.');
  expect(outputOf({}, 1_000, 'Ended.')).toBe('Ended.');
});

test('whatever is printed in whatever chunks, the result is well-formed and within the limit', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 })),
      fc.array(fc.uint8Array({ maxLength: 40 })),
      fc.integer({ min: 60, max: 200 }),
      fc.constantFrom('', 'Ended.'),
      (stdout, stderr, limit, closing) => {
        const buffers = (chunks: Uint8Array[]) => chunks.map((chunk) => Buffer.from(chunk));
        const output = outputOf({ stdout: buffers(stdout), stderr: buffers(stderr) }, limit, closing);
        expect(codePointLength(output)).toBeLessThanOrEqual(limit);
        expect(output.isWellFormed()).toBe(true);
        expect(output.endsWith(closing)).toBe(true);
        const whole = Buffer.concat(buffers(stdout)).toString('utf8');
        if (
          closing === '' &&
          stderr.every((chunk) => chunk.length === 0) &&
          codePointLength(whole) <= limit
        ) {
          expect(output).toBe(whole);
        }
      },
    ),
  );
});
