import fc from 'fast-check';
import { escapeNonAscii } from './host-format.js';

describe('what is not ASCII', () => {
  const oneByOne = (text: string) =>
    text.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

  it('is escaped as Python does it', () => {
    expect(escapeNonAscii('aü🏟\u007f~z').toString('latin1')).toBe('a\\u00fc\\ud83c\\udfdf\\u007f~z');
  });

  it('is escaped wherever it stands, and the rest is left alone', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (odd, plain) => {
        for (const text of [odd, plain, plain + odd, odd + plain]) {
          expect(escapeNonAscii(text).toString('latin1')).toBe(oneByOne(text));
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
