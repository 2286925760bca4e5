/**
 * Keeps what a script prints, within a limit, while it prints: bytes are decoded as they come (what is not UTF-8
 * becomes U+FFFD), and characters beyond the limit are not kept. A character is a Unicode code point. What the
 * result looks like at the end is `composeOutput`'s to say; it is pure.
 */

export type OutputStream = 'stdout' | 'stderr';

/** What was kept of one stream, and whether there was more. */
export interface KeptText {
  text: string;
  /** Code points in `text`. */
  length: number;
  cut: boolean;
}

export interface KeptOutput {
  stdout: KeptText;
  stderr: KeptText;
}

export class OutputCollector {
  readonly #streams: Record<OutputStream, StreamCollector>;

  /** `limit`: code points kept of each stream. */
  constructor(limit: number) {
    this.#streams = { stdout: new StreamCollector(limit), stderr: new StreamCollector(limit) };
  }

  add(stream: OutputStream, chunk: Buffer): void {
    this.#streams[stream].add(chunk);
  }

  /** What was kept until now; a character whose last bytes are missing shows as U+FFFD. */
  end(): KeptOutput {
    return { stdout: this.#streams.stdout.end(), stderr: this.#streams.stderr.end() };
  }
}

class StreamCollector {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  /** Joined in two steps, so that a million chunks of one character cost neither memory nor time. */
  #pieces: string[] = [];
  readonly #blocks: string[] = [];
  #length = 0;
  #cut = false;

  constructor(private readonly limit: number) {}

  add(chunk: Buffer): void {
    if (this.#cut) return;
    this.#keep(this.#decoder.decode(chunk, { stream: true }));
  }

  end(): KeptText {
    if (!this.#cut) this.#keep(this.#decoder.decode());
    return { text: this.#blocks.join('') + this.#pieces.join(''), length: this.#length, cut: this.#cut };
  }

  #keep(text: string): void {
    if (text === '') return;
    const { head, length } = firstCodePoints(text, this.limit - this.#length);
    this.#cut = head.length < text.length;
    this.#length += length;
    this.#pieces.push(head);
    if (this.#pieces.length < 1024) return;
    this.#blocks.push(this.#pieces.join(''));
    this.#pieces = [];
  }
}

/** The first `count` code points of well-formed text, and how many these are. */
function firstCodePoints(text: string, count: number): { head: string; length: number } {
  let length = 0;
  let at = 0;
  while (at < text.length && length < count) {
    at += text.codePointAt(at)! > 0xffff ? 2 : 1;
    length += 1;
  }
  return { head: at < text.length ? text.slice(0, at) : text, length };
}

/**
 * One text of at most `limit` code points: stdout, then stderr, then a sentence when something was cut, then
 * `closing`, what the platform has to say, on a line of its own. A stderr that is cut off by a huge stdout would
 * hide the traceback, so a quarter of the room is stderr's when it needs it, and more when stdout leaves it.
 */
export function composeOutput(kept: KeptOutput, limit: number, closing = ''): string {
  const { stdout, stderr } = kept;
  const closingLength = closing === '' ? 0 : firstCodePoints(closing, limit).length + 1;
  const fits = stdout.length + stderr.length + closingLength <= limit;
  if (fits && !stdout.cut && !stderr.cut) return withClosing(stdout.text + stderr.text, closing);

  const room = Math.max(0, limit - closingLength - truncationNote(limit).length);
  const stderrKept = Math.min(stderr.length, Math.max(Math.floor(room / 4), room - stdout.length));
  const stdoutKept = Math.min(stdout.length, room - stderrKept);
  const text = firstCodePoints(stdout.text, stdoutKept).head + firstCodePoints(stderr.text, stderrKept).head;
  return withClosing(text + truncationNote(stdoutKept + stderrKept), closing);
}

function truncationNote(kept: number): string {
  return `\n[output truncated: ${kept} characters kept of more]`;
}

function withClosing(text: string, closing: string): string {
  if (text === '' || closing === '') return text + closing;
  return text.endsWith('\n') ? text + closing : `${text}\n${closing}`;
}
