import fc from 'fast-check';
import { OutputDemuxer } from './output-demuxer.js';

function frame(kind: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header[0] = kind;
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

test('however the frames are cut, each stream arrives whole and in order', () => {
  const frames = fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 40 })), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(
      frames,
      fc.array(fc.integer({ min: 1, max: 17 }), { minLength: 1, maxLength: 20 }),
      (sent, cuts) => {
        const wire = Buffer.concat(sent.map(([kind, payload]) => frame(kind, payload)));
        const got: Record<string, Buffer[]> = { stdout: [], stderr: [] };
        const demuxer = new OutputDemuxer((stream, piece) => got[stream]?.push(piece));
        for (let at = 0, turn = 0; at < wire.length; turn += 1) {
          const size = cuts[turn % cuts.length] ?? 1;
          demuxer.write(wire.subarray(at, at + size));
          at += size;
        }
        const wanted = (kind: number) =>
          Buffer.concat(sent.filter(([k]) => k === kind).map(([, payload]) => payload));
        expect(Buffer.concat(got['stdout'] ?? []).equals(wanted(1))).toBe(true);
        expect(Buffer.concat(got['stderr'] ?? []).equals(wanted(2))).toBe(true);
      },
    ),
  );
});

test('a piece is passed on at once, without waiting for the rest of its frame, and not copied', () => {
  const pieces: Buffer[] = [];
  const demuxer = new OutputDemuxer((_, piece) => pieces.push(piece));
  const chunk = frame(1, Buffer.alloc(1_000)).subarray(0, 108);
  demuxer.write(chunk);
  expect(pieces.map((piece) => piece.length)).toEqual([100]);
  expect(pieces[0]?.buffer).toBe(chunk.buffer);
});

test.each([frame(0, Buffer.from('x')), frame(3, Buffer.from('x')), Buffer.from('plain text of a tty')])(
  'a header that Docker does not document is an error, not output',
  (wire) => {
    expect(() => new OutputDemuxer(() => undefined).write(wire)).toThrow('does not document');
  },
);
