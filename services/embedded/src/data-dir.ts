/**
 * The data directory: database, secret, log and exchange directory of one embedded Stadion. One process at a time
 * may use it; a lock file names that process.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { codeOf } from '@stadion/service-kit';

export interface DataDir {
  path: string;
  database: string;
  exchange: string;
  log: string;
  secretFile: string;
  /** Lets another process use the directory. */
  release(): Promise<void>;
}

/** Creates what is missing. Throws a sentence when another process uses the directory. */
export async function openDataDir(path: string, pid: number): Promise<DataDir> {
  const root = resolve(path);
  const dir = {
    path: root,
    database: join(root, 'database', 'stadion.sqlite'),
    exchange: join(root, 'exchange'),
    log: join(root, 'stadion.log'),
    secretFile: join(root, 'secret'),
  };
  // 0711: a script that runs as another user must be able to pass through to its own folder, and to list nothing.
  for (const folder of [root, dir.exchange]) await mkdir(folder, { recursive: true, mode: 0o711 });
  await mkdir(dirname(dir.database), { recursive: true, mode: 0o700 });
  const lock = join(root, 'lock');
  await takeLock(lock, pid, root);
  return { ...dir, release: () => rm(lock, { force: true }) };
}

async function takeLock(lock: string, pid: number, root: string): Promise<void> {
  for (let tries = 0; tries < 2; tries += 1) {
    try {
      await writeFile(lock, `${pid}\n`, { flag: 'wx', mode: 0o600 });
      return;
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
    const holder = Number(await readFile(lock, 'utf8').catch(() => ''));
    if (holder !== pid && isAlive(holder)) {
      throw new Error(
        `Another Stadion (process ${holder}) uses ${root}. Stop it, or choose another folder with --data-dir.`,
      );
    }
    // Its process was killed before it could remove the file.
    await rm(lock, { force: true });
  }
  throw new Error(
    `Another Stadion is starting in ${root}. Try again, or choose another folder with --data-dir.`,
  );
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

/** The shared secret of this data directory: made at the first start, then the same at every other. */
export async function readOrMakeSecret(file: string): Promise<string> {
  const existing = await readFile(file, 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return '';
    throw error;
  });
  if (existing.trim()) return existing.trim();
  const secret = randomBytes(32).toString('base64url');
  const handle = await open(file, 'w', 0o600);
  try {
    await handle.writeFile(`${secret}\n`);
    await handle.chmod(0o600);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return secret;
}
