/**
 * The exchange directory: the only place where attempts are on disk. Its folders are
 * `attempts/<id>/` (journal, result, and `scripts/`, which the sandbox sees), `done/` (one empty file per attempt
 * that is over, the tombstone), `refused/` (results the scheduler would not take) and `trash/`.
 * One process uses it at a time. Whoever decides what happens to an attempt is elsewhere; this keeps and deletes.
 */
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, opendir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type DispatchRequest, dispatchRequest, resultReport } from '@stadion/contracts';
import { codeOf } from '@stadion/service-kit';
import { syncFolder, writeDurably } from './durable-file.js';
import type { ScriptFile } from '../script-file.js';
import { emptyTrash, removeTree } from './remove-tree.js';

const uuid = z.uuid();

/** What was accepted. Has the script's environment and the run token in it; deleted with the attempt's folder. */
const journalSchema = z.object({ acceptedAt: z.number(), request: dispatchRequest });
export type Journal = z.infer<typeof journalSchema>;

/** A result that waits for the scheduler's acknowledgement, with the token that goes with it. */
const spooledResultSchema = z.object({ runToken: z.string().min(1), report: resultReport });
export type SpooledResult = z.infer<typeof spooledResultSchema>;

/** What is on disk of one attempt, found at start or by a sweep. */
export interface StoredAttempt {
  attemptId: string;
  /** Undefined when it is missing or unreadable. */
  journal: Journal | undefined;
  /** The executor was, or may have been, asked to start the script. */
  launching: boolean;
  hasResult: boolean;
  /** It is over and acknowledged; only its folder is left. */
  buried: boolean;
}

export class Exchange {
  private constructor(
    private readonly root: string,
    /** Stable for as long as the directory is. */
    readonly starterId: string,
  ) {}

  /** Creates what is missing. */
  static async open(root: string): Promise<Exchange> {
    for (const name of ['', 'attempts', 'done', 'refused', 'trash']) {
      const folder = join(root, name);
      await mkdir(folder, { recursive: true });
      // Sandboxes that are not root must pass through to their own folder, and see nothing on the way.
      await chmod(folder, name === '' || name === 'attempts' ? 0o711 : 0o700);
    }
    return new Exchange(root, await readStarterId(root));
  }

  /** The attempt's folder that its sandbox sees as `/scripts`. */
  scriptsDir(attemptId: string): string {
    return join(this.#folder(attemptId), 'scripts');
  }

  /** Returns once the attempt would survive a power cut. */
  async journal(request: DispatchRequest): Promise<void> {
    const folder = this.#folder(request.attempt_id);
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o711);
    const journal: Journal = { acceptedAt: Date.now(), request };
    await writeDurably(join(folder, 'journal.json'), JSON.stringify(journal));
    await syncFolder(this.#attempts);
  }

  /**
   * Lays out what the script sees. The folder is sticky and everyone's, so that the sandbox's user may create files
   * but neither change nor replace script and input, which stay the starter's.
   */
  async prepareScripts(
    attemptId: string,
    script: Buffer,
    input: string,
    scriptFile: ScriptFile = 'index.py',
  ): Promise<void> {
    const folder = this.scriptsDir(attemptId);
    // A restart may have come between preparing and launching.
    await removeTree(folder, this.#trash);
    await mkdir(folder, { mode: 0o700 });
    for (const [name, content] of [
      [scriptFile, script],
      ['input', input],
    ] as const) {
      await writeFile(join(folder, name), content, { flag: 'wx', mode: 0o600 });
      await chmod(join(folder, name), 0o444);
    }
    await chmod(folder, 0o1777);
  }

  /** From here on the script may have run; durable before the executor is asked. */
  async markLaunching(attemptId: string): Promise<void> {
    await writeDurably(join(this.#folder(attemptId), 'launching'), '');
  }

  /** Returns once the result would survive a power cut. */
  async spool(attemptId: string, result: SpooledResult): Promise<void> {
    await writeDurably(join(this.#folder(attemptId), 'result.json'), JSON.stringify(result));
  }

  /** Undefined when there is none, or none that can be read. */
  async readResult(attemptId: string): Promise<SpooledResult | undefined> {
    return await readJson(join(this.#folder(attemptId), 'result.json'), spooledResultSchema);
  }

  /** The script's folder goes as soon as its result is spooled; the rest waits for the acknowledgement. */
  async removeScripts(attemptId: string): Promise<void> {
    await removeTree(this.scriptsDir(attemptId), this.#trash);
  }

  /** The attempt is over: remembered, so that it never runs again, and everything else of it deleted. */
  async bury(attemptId: string): Promise<void> {
    await writeFile(this.#tombstone(attemptId), '', { mode: 0o600 });
    await syncFolder(join(this.root, 'done'));
    await this.removeFolder(attemptId);
  }

  /** Like `bury`, but keeps the result for an operator. */
  async buryRefused(attemptId: string): Promise<void> {
    await rename(
      join(this.#folder(attemptId), 'result.json'),
      join(this.root, 'refused', `${uuid.parse(attemptId)}.json`),
    ).catch(ignoreMissing);
    await this.bury(attemptId);
  }

  /** Deletes the folder and leaves no tombstone: for what was never accepted. */
  async removeFolder(attemptId: string): Promise<void> {
    await removeTree(this.#folder(attemptId), this.#trash);
  }

  async isBuried(attemptId: string): Promise<boolean> {
    return await exists(this.#tombstone(attemptId));
  }

  /** Deletes an entry of `attempts/` whatever its name. */
  async removeStray(name: string): Promise<void> {
    await removeTree(join(this.#attempts, name), this.#trash);
  }

  /** Names in `attempts/`: attempt ids, and `strays`, which no starter makes. */
  async listAttempts(): Promise<{ attemptIds: string[]; strays: string[] }> {
    const attemptIds: string[] = [];
    const strays: string[] = [];
    for await (const entry of await opendir(this.#attempts)) {
      const isAttempt = entry.isDirectory() && uuid.safeParse(entry.name).success;
      (isAttempt ? attemptIds : strays).push(entry.name);
    }
    return { attemptIds, strays };
  }

  async readAttempt(attemptId: string): Promise<StoredAttempt> {
    const folder = this.#folder(attemptId);
    const journal = await readJson(join(folder, 'journal.json'), journalSchema);
    return {
      attemptId,
      journal: journal?.request.attempt_id === attemptId ? journal : undefined,
      launching: await exists(join(folder, 'launching')),
      hasResult: (await this.readResult(attemptId)) !== undefined,
      buried: await this.isBuried(attemptId),
    };
  }

  /** Answers how many tombstones and left-over pieces it deleted. */
  async forget(olderThanMs: number): Promise<{ tombstones: number; trash: number }> {
    const done = join(this.root, 'done');
    let tombstones = 0;
    for await (const entry of await opendir(done)) {
      const path = join(done, entry.name);
      const { mtimeMs } = await stat(path);
      if (Date.now() - mtimeMs < olderThanMs) continue;
      await rm(path, { force: true });
      tombstones += 1;
    }
    return { tombstones, trash: await emptyTrash(this.#trash) };
  }

  get #attempts(): string {
    return join(this.root, 'attempts');
  }

  get #trash(): string {
    return join(this.root, 'trash');
  }

  /** Parses the id again: it becomes a path. */
  #folder(attemptId: string): string {
    return join(this.#attempts, uuid.parse(attemptId));
  }

  #tombstone(attemptId: string): string {
    return join(this.root, 'done', uuid.parse(attemptId));
  }
}

/** The id in `starter.json`, made on first use. */
export async function readStarterId(root: string): Promise<string> {
  const path = join(root, 'starter.json');
  const schema = z.object({ starter_id: uuid });
  const known = await readJson(path, schema);
  if (known) return known.starter_id;
  await mkdir(root, { recursive: true });
  const starter_id = randomUUID();
  await writeDurably(path, JSON.stringify({ starter_id }));
  return starter_id;
}

async function readJson<T extends z.ZodType>(path: string, schema: T): Promise<z.output<T> | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    (error: unknown) => {
      ignoreMissing(error);
      return false;
    },
  );
}

function ignoreMissing(error: unknown): void {
  if (codeOf(error) !== 'ENOENT') throw error;
}
