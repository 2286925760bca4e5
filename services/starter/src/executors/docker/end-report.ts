/**
 * The runner's last words. PID 1 of the container ends standard error with NUL, a word that only it and the starter
 * know, and a line of JSON. `EndReportFilter` passes on all standard error before that, without holding back
 * anything that cannot be the beginning of it.
 */
import { z } from 'zod';

const endReport = z.object({
  exit_code: z.number().int().min(0).max(255),
  /** Processes of this container that were killed for want of memory. */
  oom_kills: z.number().int().min(0),
  /** Processes or threads that this container's limit refused. */
  pids_refused: z.number().int().min(0),
  ended_by: z.enum(['itself', 'time_limit', 'signal']),
});
export type EndReport = z.infer<typeof endReport>;

const maxReportBytes = 4_096;

export class EndReportFilter {
  readonly #marker: Buffer;
  readonly #onPiece: (piece: Buffer) => void;
  #heldBack: Buffer = Buffer.alloc(0);
  #report: Buffer | undefined;

  constructor(word: string, onPiece: (piece: Buffer) => void) {
    this.#marker = Buffer.from(`\0${word}`);
    this.#onPiece = onPiece;
  }

  write(chunk: Buffer): void {
    if (this.#report) {
      this.#report = Buffer.concat([this.#report, chunk]).subarray(0, maxReportBytes);
      return;
    }
    const data = this.#heldBack.length > 0 ? Buffer.concat([this.#heldBack, chunk]) : chunk;
    const at = data.indexOf(this.#marker);
    if (at >= 0) {
      this.#heldBack = Buffer.alloc(0);
      this.#report = Buffer.from(data.subarray(at + this.#marker.length)).subarray(0, maxReportBytes);
      this.#pass(data.subarray(0, at));
      return;
    }
    const keep = this.#beginningAtEndOf(data);
    this.#heldBack = Buffer.from(data.subarray(data.length - keep));
    this.#pass(data.subarray(0, data.length - keep));
  }

  /** Passes on what was held back in vain, and tells the report if there was one. */
  end(): EndReport | undefined {
    this.#pass(this.#heldBack);
    this.#heldBack = Buffer.alloc(0);
    if (!this.#report) return undefined;
    try {
      return endReport.parse(JSON.parse(this.#report.toString()));
    } catch {
      return undefined; // cut off by a kill: then there is none
    }
  }

  /** How many bytes at the end of `data` may be the marker's beginning. The marker has its only NUL in front. */
  #beginningAtEndOf(data: Buffer): number {
    const nul = data.lastIndexOf(0);
    const length = data.length - nul;
    if (nul < 0 || length >= this.#marker.length) return 0;
    return data.subarray(nul).equals(this.#marker.subarray(0, length)) ? length : 0;
  }

  #pass(piece: Buffer): void {
    if (piece.length > 0) this.#onPiece(piece);
  }
}
