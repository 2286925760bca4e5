// Base images for the tests, where the engine cannot pull the public ones: a Debian userland made from packages,
// kept as a tar file in node_modules/.cache between runs, imported into the engine.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { PlainError } from './plain-error.mjs';
import { cacheDir } from './workspace.mjs';

/**
 * @typedef {object} Recipe changing it makes a new base
 * @property {string} name
 * @property {string} publicImage what it stands for
 * @property {string[]} packages
 * @property {string[]} hooks mmdebstrap options, run in the finished userland
 */

const SUITE = 'bookworm';
const LEAVE_OUT = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*'];

export const mmdebstrapCommand = {
  command: 'mmdebstrap',
  debianPackage: 'mmdebstrap',
  otherwise: 'pull the base images that docker-compose.yml names into your Docker Engine',
};

/** @typedef {{ env: Record<string, string>, label: string, tag: string, needMmdebstrap: () => Promise<void> }} ImageOptions */

/** Whether it was made before. @param {Recipe} recipe */
export const isCached = (recipe) => existsSync(fileOf(recipe));

/** @param {import('./session.mjs').Session} session @param {{ path: string, tmp: string }} folder @param {Recipe} recipe @param {ImageOptions} options @returns {Promise<string>} the image's name */
export async function importDebianImage(session, folder, recipe, { env, label, tag, needMmdebstrap }) {
  if (!isCached(recipe)) {
    await needMmdebstrap();
    await make(session, folder, recipe);
  }
  const image = `stadion-base-${recipe.name}:${tag}`;
  const changes = ['--change', `LABEL ${label}`];
  const args = ['import', ...changes, fileOf(recipe), image];
  await session.mustRun(`Importing the ${recipe.name} base image`, 'docker', args, { env });
  return image;
}

/** @param {import('./session.mjs').Session} session @param {{ path: string, tmp: string }} folder @param {Recipe} recipe */
async function make(session, folder, recipe) {
  const { name, packages, hooks, publicImage } = recipe;
  session.log(`Making a ${name} base image from Debian's packages (once, about half a minute) …`);
  if (process.platform !== 'linux')
    throw new PlainError(
      `The engine has no ${publicImage} and cannot pull it: pull or load it, then try again.`,
    );
  const made = join(folder.path, `${name}.tar`);
  const build = [
    'mmdebstrap',
    '--variant=minbase',
    `--include=${packages.join(',')}`,
    ...LEAVE_OUT.map((path) => `--dpkgopt=path-exclude=${path}`),
    ...hooks,
    SUITE,
    made,
  ];
  // As root it mounts /proc and the like: in namespaces of its own, nothing of that outlives an interruption.
  const alone = ['--mount', '--pid', '--fork', '--kill-child=KILL', '--mount-proc'];
  const [command = '', ...args] = process.getuid?.() === 0 ? ['unshare', ...alone, ...build] : build;
  await session.mustRun(`Making the ${name} base image`, command, args, { env: { TMPDIR: folder.tmp } });
  mkdirSync(cacheDir, { recursive: true });
  const file = fileOf(recipe);
  await session.mustRun(`Keeping the ${name} base image`, 'cp', [made, `${file}.${process.pid}`]);
  renameSync(`${file}.${process.pid}`, file); // whole or not at all
}

/** @param {Recipe} recipe */
function fileOf(recipe) {
  const text = JSON.stringify([SUITE, LEAVE_OUT, recipe]);
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 12);
  return join(cacheDir, `debian-${recipe.name}-${hash}.tar`);
}
