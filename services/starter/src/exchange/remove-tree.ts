/**
 * Deletes a folder that a script could write to. A script may have left symlinks, FIFOs, folders without
 * permissions, a million files, or folders nested deeper than a path may be long; it may even still be running.
 * So nothing is ever reached through a path the script can change: each folder is first moved into `trashDir`, which
 * is ours alone, and only then opened. Links are unlinked, never followed, and no path grows with the nesting.
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, lstat, open, opendir, rename, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf } from '@stadion/service-kit';

/**
 * `trashDir` is on the same file system and not writable by scripts. A `path` that is not there counts as removed.
 * Rejects when something cannot be deleted; what is left then lies in `trashDir`.
 */
export async function removeTree(path: string, trashDir: string): Promise<void> {
  const root = await moveAside(path, trashDir);
  if (root) await emptyOut([root], trashDir);
}

/** Deletes whatever earlier removals left behind. */
export async function emptyTrash(trashDir: string): Promise<number> {
  const found: string[] = [];
  for await (const entry of await opendir(trashDir)) found.push(join(trashDir, entry.name));
  await emptyOut([...found], trashDir);
  return found.length;
}

async function moveAside(path: string, trashDir: string): Promise<string | undefined> {
  const aside = join(trashDir, randomUUID());
  try {
    await rename(path, aside);
    return aside;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** `pending` are entries of the trash folder itself. */
async function emptyOut(pending: string[], trashDir: string): Promise<void> {
  let firstError: Error | undefined;
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    try {
      await removeOne(path, pending, trashDir);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') continue;
      firstError ??= error instanceof Error ? error : new Error(messageOf(error));
    }
  }
  if (firstError) throw firstError;
}

async function removeOne(path: string, pending: string[], trashDir: string): Promise<void> {
  if (!(await lstat(path)).isDirectory()) return await unlink(path);
  // A folder without permissions cannot be read by a starter that is not root, even when it belongs to it.
  await chmod(path, 0o700).catch(() => undefined);
  for await (const entry of await opendir(path)) {
    const inside = join(path, entry.name);
    if (!entry.isDirectory()) {
      await unlink(inside);
      continue;
    }
    const aside = await moveFolderAside(inside, trashDir);
    if (aside) pending.push(aside);
  }
  await rmdir(path);
}

/** Moving a folder to another parent writes its "..", for which it must be writable to us. */
async function moveFolderAside(path: string, trashDir: string): Promise<string | undefined> {
  try {
    return await moveAside(path, trashDir);
  } catch (error) {
    if (codeOf(error) !== 'EACCES' || process.platform !== 'linux') throw error;
    await makeWritable(path);
    return await moveAside(path, trashDir);
  }
}

/** chmod by path would follow a link that a script put there just now; O_PATH names what was there, unopened. */
async function makeWritable(path: string): Promise<void> {
  const oPath = 0o10000000;
  const folder = await open(path, oPath | constants.O_NOFOLLOW | constants.O_DIRECTORY);
  try {
    await chmod(`/proc/self/fd/${folder.fd}`, 0o700);
  } finally {
    await folder.close();
  }
}
