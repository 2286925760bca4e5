import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DispatchRequest } from '@stadion/contracts';
import { Exchange, readStarterId } from './exchange.js';
import { removeTree } from './remove-tree.js';

let root: string;
let exchange: Exchange;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'stadion-exchange-test-'));
  exchange = await Exchange.open(join(root, 'exchange'));
});
afterEach(async () => {
  await removeTree(root, tmpdir());
});

const aRequest = (more: Partial<DispatchRequest> = {}): DispatchRequest => ({
  script_id: 1,
  env: { api_token: 'secret' },
  attempt_id: randomUUID(),
  run_token: 'run-token',
  ...more,
});
const aResult = { runToken: 't', report: { script_id: 1, success: true, return_code: 0, output: '' } };
const modeOf = async (...path: string[]) =>
  ((await stat(join(root, 'exchange', ...path))).mode & 0o7777).toString(8);

async function prepared(): Promise<string> {
  const request = aRequest();
  await exchange.journal(request);
  await exchange.prepareScripts(request.attempt_id, Buffer.from('print(1)'), '{}');
  return request.attempt_id;
}

test('the starter keeps its id for as long as the directory is there', async () => {
  expect((await Exchange.open(join(root, 'exchange'))).starterId).toBe(exchange.starterId);
  expect(await readStarterId(join(root, 'exchange'))).toBe(exchange.starterId);
  expect((await Exchange.open(join(root, 'another'))).starterId).not.toBe(exchange.starterId);
});

test('secrets are for the starter only, the script sees its own folder and can change neither script nor input', async () => {
  const id = await prepared();
  expect(await modeOf()).toBe('711');
  expect(await modeOf('attempts')).toBe('711');
  expect(await modeOf('attempts', id)).toBe('711');
  expect(await modeOf('attempts', id, 'journal.json')).toBe('600');
  expect(await modeOf('attempts', id, 'scripts')).toBe('1777');
  expect(await modeOf('attempts', id, 'scripts', 'index.py')).toBe('444');
  expect(await modeOf('attempts', id, 'scripts', 'input')).toBe('444');
  for (const name of ['done', 'refused', 'trash']) expect(await modeOf(name)).toBe('700');
});

const asRoot = (title: string, check: () => Promise<void>) =>
  process.getuid?.() === 0
    ? test(title, check)
    : test.skip(`${title} (skipped: this user is not root)`, check);
asRoot(
  'another user can create files, and can neither replace nor remove what the starter put there',
  async () => {
    const id = await prepared();
    await chmod(root, 0o711);
    const scripts = exchange.scriptsDir(id);
    const tried = execFileSync(
      '/bin/sh',
      [
        '-c',
        'echo new > made; rm -f index.py; mv input other; echo x > index.py; cat ../journal.json; ls ../..; true',
      ],
      { cwd: scripts, uid: 65_534, gid: 65_534, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    expect(tried.toString()).toBe('');
    expect((await readdir(scripts)).sort()).toEqual(['index.py', 'input', 'made']);
    expect(await readFile(join(scripts, 'index.py'), 'utf8')).toBe('print(1)');
  },
);

test('what was journalled is read back, and an unreadable journal counts as none', async () => {
  const request = aRequest({ context_data: { a: ['ü'] } });
  await exchange.journal(request);
  expect(await exchange.readAttempt(request.attempt_id)).toMatchObject({
    journal: { request },
    launching: false,
    hasResult: false,
    buried: false,
  });
  await exchange.markLaunching(request.attempt_id);
  await exchange.spool(request.attempt_id, aResult);
  expect(await exchange.readAttempt(request.attempt_id)).toMatchObject({ launching: true, hasResult: true });
  await writeFile(join(root, 'exchange', 'attempts', request.attempt_id, 'journal.json'), '{"acceptedAt":1');
  expect((await exchange.readAttempt(request.attempt_id)).journal).toBeUndefined();
});

test('a buried attempt leaves a tombstone and nothing else, tokens included', async () => {
  const id = await prepared();
  await exchange.bury(id);
  expect(await exchange.isBuried(id)).toBe(true);
  expect(await readdir(join(root, 'exchange', 'attempts'))).toEqual([]);
  expect(await readdir(join(root, 'exchange', 'trash'))).toEqual([]);
  expect(await readdir(join(root, 'exchange', 'done'))).toEqual([id]);
});

test('tombstones are forgotten when they are old, and not before', async () => {
  const [young, old] = [randomUUID(), randomUUID()];
  await exchange.bury(young);
  await exchange.bury(old);
  const twoDaysAgo = new Date(Date.now() - 49 * 3600_000);
  await utimes(join(root, 'exchange', 'done', old), twoDaysAgo, twoDaysAgo);
  expect(await exchange.forget(48 * 3600_000)).toEqual({ tombstones: 1, trash: 0 });
  expect([await exchange.isBuried(young), await exchange.isBuried(old)]).toEqual([true, false]);
});

test.each(['../../etc', 'a/b', '..', '', '.'])('an attempt id that is a path (%j) is refused', async (id) => {
  await expect(exchange.bury(id)).rejects.toThrow();
  await expect(exchange.removeFolder(id)).rejects.toThrow();
  expect(() => exchange.scriptsDir(id)).toThrow();
});

describe('what a script may have planted', () => {
  test('links are removed and what they point at stays', async () => {
    const id = await prepared();
    const treasure = join(root, 'treasure');
    await mkdir(treasure);
    await writeFile(join(treasure, 'gold'), 'gold', { mode: 0o640 });
    const scripts = exchange.scriptsDir(id);
    await symlink(treasure, join(scripts, 'link-to-folder'));
    await symlink(join(treasure, 'gold'), join(scripts, 'output'));
    await symlink('/', join(scripts, 'link-to-root'));
    await symlink('../../..', join(scripts, 'link-up'));
    await symlink('loop', join(scripts, 'loop'));
    await link(join(treasure, 'gold'), join(scripts, 'hard-link'));
    await mkdir(join(scripts, 'folder'));
    await symlink(treasure, join(scripts, 'folder', 'inner'));
    execFileSync('mkfifo', [join(scripts, 'fifo'), join(scripts, 'folder', 'index.py')]);

    await exchange.bury(id);

    expect(await readFile(join(treasure, 'gold'), 'utf8')).toBe('gold');
    expect(((await stat(join(treasure, 'gold'))).mode & 0o777).toString(8)).toBe('640');
    expect(await readdir(join(root, 'exchange', 'attempts'))).toEqual([]);
    expect(await readdir(join(root, 'exchange', 'trash'))).toEqual([]);
  });

  test('the scripts folder itself may have become a link', async () => {
    const id = await prepared();
    const treasure = join(root, 'treasure');
    await mkdir(treasure);
    await writeFile(join(treasure, 'gold'), 'gold');
    await rm(exchange.scriptsDir(id), { recursive: true });
    await symlink(treasure, exchange.scriptsDir(id));
    await exchange.removeScripts(id);
    expect(await readdir(treasure)).toEqual(['gold']);
    await expect(lstat(exchange.scriptsDir(id))).rejects.toThrow('ENOENT');
  });

  test('folders nested deeper than a path may be long are removed', async () => {
    const id = await prepared();
    const nest = `
import os
for _ in range(300):
    os.mkdir('d' * 200)
    os.chdir('d' * 200)
open('bottom', 'w').close()`;
    execFileSync('python3', ['-c', nest], { cwd: exchange.scriptsDir(id) });
    await exchange.bury(id);
    expect(await readdir(join(root, 'exchange', 'attempts'))).toEqual([]);
    expect(await readdir(join(root, 'exchange', 'trash'))).toEqual([]);
  });

  asRoot('a starter that is not root removes folders whose permissions were taken away', async () => {
    const nobody = 65_534;
    await chmod(root, 0o777);
    process.setegid?.(nobody);
    process.seteuid?.(nobody);
    try {
      const own = await Exchange.open(join(root, 'of-nobody'));
      const request = aRequest();
      await own.journal(request);
      await own.prepareScripts(request.attempt_id, Buffer.from(''), '');
      const inner = join(own.scriptsDir(request.attempt_id), 'a', 'b', 'c');
      await mkdir(inner, { recursive: true });
      await writeFile(join(inner, 'file'), '', { mode: 0 });
      for (const folder of [inner, join(inner, '..'), join(inner, '..', '..')]) await chmod(folder, 0);
      await own.bury(request.attempt_id);
      expect(await readdir(join(root, 'of-nobody', 'trash'))).toEqual([]);
    } finally {
      process.seteuid?.(0);
      process.setegid?.(0);
    }
  });

  test('what an interrupted removal left in the trash is removed later', async () => {
    const trash = join(root, 'exchange', 'trash');
    await mkdir(join(trash, 'left-over', 'deeper'), { recursive: true });
    await writeFile(join(trash, 'left-over', 'deeper', 'file'), '');
    expect((await exchange.forget(1_000)).trash).toBe(1);
    expect(await readdir(trash)).toEqual([]);
  });
});
