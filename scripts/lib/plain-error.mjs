/** Something the reader of the terminal can mend: shown as one sentence, without a stack. */
export class PlainError extends Error {
  /** @param {string} sentence what failed and what to do @param {string} [evidence] output to show above it */
  constructor(sentence, evidence = '') {
    super(sentence);
    this.name = 'PlainError';
    this.evidence = evidence;
  }
}
