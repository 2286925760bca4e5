/**
 * The file `output` that an original runner image leaves in the script's folder. The script could have put anything there
 * under that name, so it is opened without following a link or waiting for a writer, must be a plain file, and is read up
 * to a bound.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '@stadion/service-kit';
import type { SandboxSpec } from '../executor.js';

/** More than any output limit keeps: 2.8 million characters of at most four bytes each. */
const maxBytes = 16 * 1024 * 1024;
const pieceBytes = 64 * 1024;

/** Hands the file to `onOutput` as standard output. Never rejects: a sentence on standard error says what was not read. */
export async function handOverOutputFile({
  scriptsDir,
  onOutput,
}: Pick<SandboxSpec, 'scriptsDir' | 'onOutput'>): Promise<void> {
  try {
    const problem = await readInto(join(scriptsDir, 'output'), (piece) => onOutput('stdout', piece));
    if (problem) onOutput('stderr', Buffer.from(`${problem}\n`));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    onOutput('stderr', Buffer.from(unread(codeOf(error) === 'ELOOP' ? 'a link' : undefined)));
  }
}

async function readInto(path: string, onPiece: (piece: Buffer) => void): Promise<string | undefined> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const about = await file.stat();
    if (!about.isFile()) return unread(about.isDirectory() ? 'a folder' : 'no plain file').trimEnd();
    for (let read = 0; read < maxBytes;) {
      const piece = Buffer.alloc(pieceBytes);
      const { bytesRead } = await file.read(piece, 0, pieceBytes, read);
      if (bytesRead === 0) return undefined;
      onPiece(piece.subarray(0, bytesRead));
      read += bytesRead;
    }
    return undefined;
  } finally {
    await file.close();
  }
}

const unread = (what: string | undefined) =>
  `The script's output was not read: the file "output" ${what === undefined ? 'cannot be opened' : `is ${what}`}.\n`;
