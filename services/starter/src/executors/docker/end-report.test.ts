import fc from 'fast-check';
import { EndReportFilter } from './end-report.js';

const word = '0123456789abcdef';
const told = { exit_code: 3, oom_kills: 0, pids_refused: 1, ended_by: 'itself' };
const lastWords = `\0${word}${JSON.stringify(told)}\n`;

function pass(pieces: Iterable<Buffer>) {
  const passed: Buffer[] = [];
  const filter = new EndReportFilter(word, (piece) => passed.push(piece));
  for (const piece of pieces) filter.write(piece);
  const immediately = Buffer.concat(passed).toString('latin1');
  const report = filter.end();
  return { immediately, report, output: Buffer.concat(passed).toString('latin1') };
}

function* cut(data: Buffer, sizes: number[]) {
  for (let at = 0, turn = 0; at < data.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield data.subarray(at, at + size);
    at += size;
  }
}

const anySizes = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 10 });
/** Output rich in beginnings of the marker. */
const anyOutput = fc
  .array(
    fc.oneof(fc.constantFrom('\0', '\0' + word.slice(0, 5), '\0' + word.slice(0, -1), word), fc.string()),
  )
  .map((parts) => parts.join(''))
  // The whole marker is what no script can know.
  .filter((text) => !text.includes('\0' + word));

test('however it is cut, output stays whole and the report is told', () => {
  fc.assert(
    fc.property(anyOutput, anySizes, (output, sizes) => {
      const bytes = Buffer.from(output);
      const got = pass(cut(Buffer.concat([bytes, Buffer.from(lastWords)]), sizes));
      expect(got.output).toBe(bytes.toString('latin1'));
      expect(got.report).toEqual(told);
    }),
  );
});

test('however it is cut, output without a report stays whole', () => {
  fc.assert(
    fc.property(anyOutput, anySizes, (output, sizes) => {
      const bytes = Buffer.from(output);
      const got = pass(cut(bytes, sizes));
      expect(got.output).toBe(bytes.toString('latin1'));
      expect(got.report).toBeUndefined();
    }),
  );
});

test('ordinary text is never held back', () => {
  expect(pass([Buffer.from('Password: ')]).immediately).toBe('Password: ');
  expect(pass([Buffer.from(`\0\0x`)]).immediately).toBe('\0\0x');
});

test('a report that was cut off, or says what no runner says, is none', () => {
  expect(pass([Buffer.from(lastWords.slice(0, -10))]).report).toBeUndefined();
  expect(pass([Buffer.from(`\0${word}{"exit_code":"x"}\n`)]).report).toBeUndefined();
});

test('what follows the marker cannot fill the memory', () => {
  const got = pass([
    Buffer.from(`\0${word}`),
    ...Array.from({ length: 100 }, () => Buffer.alloc(65_536, 'x')),
  ]);
  expect(got).toMatchObject({ output: '', report: undefined });
});
