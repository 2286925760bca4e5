import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDataDir, readOrMakeSecret } from './data-dir.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stadion-test-data-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

describe('the data directory', () => {
  it('keeps the database from other users, and lets nobody list it', async () => {
    const dataDir = await openDataDir(join(folder, 'data'), process.pid);
    expect(await modeOf(dataDir.path)).toBe('711');
    expect(await modeOf(join(dataDir.path, 'database'))).toBe('700');
  });

  it('belongs to one process at a time, which is named', async () => {
    const holder = spawn(process.execPath, ['-e', 'process.stdin.resume()'], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    try {
      const dataDir = await openDataDir(folder, holder.pid!);
      await expect(openDataDir(folder, process.pid)).rejects.toThrow(`process ${holder.pid}`);
      await dataDir.release();
      await expect(openDataDir(folder, process.pid)).resolves.toBeDefined();
    } finally {
      holder.kill('SIGKILL');
    }
  });

  it.each(['999999999', '', 'nonsense'])(
    'is taken over from a process that was killed, lock %j',
    async (lock) => {
      await writeFile(join(folder, 'lock'), lock);
      await expect(openDataDir(folder, process.pid)).resolves.toBeDefined();
      expect(await readFile(join(folder, 'lock'), 'utf8')).toBe(`${process.pid}\n`);
    },
  );
});

describe('the generated secret', () => {
  it('is strong, private, and the same at every start', async () => {
    const file = join(folder, 'secret');
    const secret = await readOrMakeSecret(file);
    expect(secret).toMatch(/^[\w-]{43}$/);
    expect(await modeOf(file)).toBe('600');
    expect(await readOrMakeSecret(file)).toBe(secret);
  });
});
