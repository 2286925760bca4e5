/**
 * Takes Docker's attached stream apart while it arrives: frames of an 8-byte header (stream, 0, 0, 0, length as
 * big-endian 32 bits) and a payload. Payload is passed on in the pieces it came in; nothing is gathered or copied.
 */
export type OutputStream = 'stdout' | 'stderr';

export class OutputDemuxer {
  readonly #onPiece: (stream: OutputStream, piece: Buffer) => void;
  readonly #header = Buffer.alloc(8);
  #headerBytes = 0;
  #payloadLeft = 0;

  constructor(onPiece: (stream: OutputStream, piece: Buffer) => void) {
    this.#onPiece = onPiece;
  }

  write(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#payloadLeft === 0) {
        const taken = chunk.copy(this.#header, this.#headerBytes, at);
        at += taken;
        this.#headerBytes += taken;
        if (this.#headerBytes < 8) return;
        this.#headerBytes = 0;
        this.#payloadLeft = this.#header.readUInt32BE(4);
        const kind = this.#header[0];
        if ((kind !== 1 && kind !== 2) || this.#header.readUIntBE(1, 3) !== 0) {
          throw new Error(
            `Docker sent a stream header that it does not document: ${this.#header.toString('hex')}`,
          );
        }
        continue;
      }
      const piece = chunk.subarray(at, at + this.#payloadLeft);
      at += piece.length;
      this.#payloadLeft -= piece.length;
      this.#onPiece(this.#header[0] === 1 ? 'stdout' : 'stderr', piece);
    }
  }
}
