/** What a script may have planted at the name `output`, and what becomes of it. */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { handOverOutputFile } from './output-file.js';

let folder: string;
let scriptsDir: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stadion-output-'));
  scriptsDir = join(folder, 'scripts');
  await mkdir(scriptsDir);
});
afterEach(() => rm(folder, { recursive: true }));

async function handedOver() {
  const told = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  await handOverOutputFile({ scriptsDir, onOutput: (stream, piece) => told[stream].push(piece) });
  return { stdout: Buffer.concat(told.stdout), stderr: Buffer.concat(told.stderr).toString() };
}
const output = () => join(scriptsDir, 'output');

test('R6: a plain file is handed over as it is, whatever its bytes', async () => {
  const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i % 256));
  await writeFile(output(), bytes);
  expect(await handedOver()).toEqual({ stdout: bytes, stderr: '' });
});

test('without a file there is nothing to say', async () => {
  expect(await handedOver()).toEqual({ stdout: Buffer.alloc(0), stderr: '' });
});

test.each<[string, () => Promise<unknown>, RegExp]>([
  [
    'a link to a file outside',
    async () => {
      await writeFile(join(folder, 'secret'), 'secret');
      await symlink('../secret', output());
    },
    /"output" is a link\.\n$/,
  ],
  ['a link to nowhere', () => symlink('/nowhere', output()), /"output" is a link\.\n$/],
  ['a folder', () => mkdir(output()), /"output" is a folder\.\n$/],
  ['a FIFO', async () => execFileSync('mkfifo', [output()]), /"output" is no plain file\.\n$/],
])('%s is not read and holds nothing up', async (_, plant, told) => {
  await plant();
  expect(await handedOver()).toEqual({ stdout: Buffer.alloc(0), stderr: expect.stringMatching(told) });
});

test('R6: of a huge file no more is read than any output limit keeps', async () => {
  await writeFile(output(), 'x');
  await truncate(output(), 2 ** 40);
  const { stdout, stderr } = await handedOver();
  expect([stdout.length, stderr]).toEqual([16 * 1024 * 1024, '']);
});
