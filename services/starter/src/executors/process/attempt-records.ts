/**
 * One small file per sandbox that exists, so that a starter finds after a crash what its predecessor left. Written
 * before the process starts, deleted by `remove`. A record never holds a script, an input or an environment.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const attemptRecord = z.object({
  attemptId: z.string(),
  pid: z.number().int().positive().optional(),
  startTicks: z.string().optional(),
  user: z.object({ uid: z.number().int(), gid: z.number().int(), dedicated: z.boolean() }).optional(),
  home: z.string(),
});
export type AttemptRecord = z.infer<typeof attemptRecord>;

export class AttemptRecords {
  constructor(private readonly folder: string) {}

  async write(record: AttemptRecord): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const path = this.pathOf(record.attemptId);
    await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${path}.new`, path);
  }

  async all(): Promise<AttemptRecord[]> {
    const names = await readdir(this.folder).catch(() => []);
    const records = await Promise.all(
      names.filter((name) => name.endsWith('.json')).map((name) => this.read(name)),
    );
    return records.filter((record) => record !== undefined);
  }

  delete(attemptId: string): Promise<void> {
    return rm(this.pathOf(attemptId), { force: true });
  }

  private async read(name: string): Promise<AttemptRecord | undefined> {
    try {
      return attemptRecord.parse(JSON.parse(await readFile(join(this.folder, name), 'utf8')));
    } catch {
      return undefined; // removed at this moment
    }
  }

  private pathOf(attemptId: string): string {
    if (!/^[\w-]{1,64}$/.test(attemptId)) throw new Error(`"${attemptId}" is no attempt id`);
    return join(this.folder, `${attemptId}.json`);
  }
}
