// The image that the tests' sandboxes run in, built from services/runner/python the way a user builds it. Its base
// is the Python image of the Dockerfile where the engine has or gets it, else one made from Debian's packages.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { PlainError } from './plain-error.mjs';
import { cacheDir, repoRoot } from './workspace.mjs';

const PUBLIC_BASE = 'python:3.13-slim-bookworm';
const PULL_TIMEOUT_MS = 90_000;

/** Changing this makes a new base; it is kept in node_modules/.cache between runs. */
const DEBIAN_BASE = {
  suite: 'bookworm',
  packages: ['python3', 'ca-certificates'],
  leaveOut: ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*'],
};

export const mmdebstrapCommand = {
  command: 'mmdebstrap',
  debianPackage: 'mmdebstrap',
  otherwise: `pull ${PUBLIC_BASE} into your Docker Engine`,
};

/** Whether the base from Debian's packages was made before. */
export const isDebianBaseCached = () => existsSync(debianBaseFile());

/**
 * @param {import('./session.mjs').Session} session
 * @param {import('./docker-engine.mjs').Engine} engine
 * @param {{ path: string, name: string, tmp: string }} folder
 * @param {{ label: string, needMmdebstrap: () => Promise<void> }} options
 * @returns {Promise<string>} the image's name
 */
export async function buildRunnerImage(session, engine, folder, { label, needMmdebstrap }) {
  const env = { DOCKER_HOST: engine.host, DOCKER_BUILDKIT: '0' };
  // In an engine that others share, the name is this run's own: another run may be using its image now.
  const tag = engine.shared ? folder.name : 'test';
  const base = (await hasPublicBase(session, engine, env))
    ? PUBLIC_BASE
    : await importDebianBase(session, folder, { env, label, tag, needMmdebstrap });

  session.log(`Building the runner image from ${base} …`);
  const image = `stadion/runner-python:${tag}`;
  const context = join(repoRoot, 'services/runner/python');
  const build = [
    'build',
    '--quiet',
    '--label',
    label,
    '--build-arg',
    `PYTHON_IMAGE=${base}`,
    '--tag',
    image,
    context,
  ];
  await session.mustRun('Building the runner image', 'docker', build, { env });
  return image;
}

/** @param {import('./session.mjs').Session} session @param {import('./docker-engine.mjs').Engine} engine @param {Record<string, string>} env */
async function hasPublicBase(session, engine, env) {
  if (!engine.shared) return false; // just started, and its network leads nowhere
  if ((await session.run('docker', ['image', 'inspect', PUBLIC_BASE], { env })).code === 0) return true;
  session.log(`Pulling ${PUBLIC_BASE} …`);
  const pulled = await session.run('docker', ['pull', '--quiet', PUBLIC_BASE], {
    env,
    timeoutMs: PULL_TIMEOUT_MS,
  });
  return pulled.code === 0;
}

/**
 * @param {import('./session.mjs').Session} session
 * @param {{ path: string, tmp: string }} folder
 * @param {{ env: Record<string, string>, label: string, tag: string, needMmdebstrap: () => Promise<void> }} options
 */
async function importDebianBase(session, folder, { env, label, tag, needMmdebstrap }) {
  const file = debianBaseFile();
  if (!existsSync(file)) {
    await needMmdebstrap();
    await makeDebianBase(session, folder, file);
  }
  const image = `stadion-base-python:${tag}`;
  const changes = ['--change', `LABEL ${label}`, '--change', 'CMD ["python3"]'];
  await session.mustRun('Importing the Debian base image', 'docker', ['import', ...changes, file, image], {
    env,
  });
  return image;
}

/** @param {import('./session.mjs').Session} session @param {{ path: string, tmp: string }} folder @param {string} file */
async function makeDebianBase(session, folder, file) {
  session.log(`Making a base image from Debian's packages (once, about half a minute) …`);
  if (process.platform !== 'linux')
    throw new PlainError(
      `The engine has no ${PUBLIC_BASE} and cannot pull it: pull or load it, then try again.`,
    );
  const { suite, packages, leaveOut } = DEBIAN_BASE;
  const made = join(folder.path, 'base.tar');
  const build = [
    'mmdebstrap',
    '--variant=minbase',
    `--include=${packages.join(',')}`,
    ...leaveOut.map((path) => `--dpkgopt=path-exclude=${path}`),
    '--customize-hook=ln -sf python3 "$1/usr/bin/python"',
    suite,
    made,
  ];
  // As root it mounts /proc and the like: in namespaces of its own, nothing of that outlives an interruption.
  const alone = ['--mount', '--pid', '--fork', '--kill-child=KILL', '--mount-proc'];
  const [command = '', ...args] = process.getuid?.() === 0 ? ['unshare', ...alone, ...build] : build;
  await session.mustRun('Making the Debian base image', command, args, { env: { TMPDIR: folder.tmp } });
  mkdirSync(cacheDir, { recursive: true });
  await session.mustRun('Keeping the Debian base image', 'cp', [made, `${file}.${process.pid}`]);
  renameSync(`${file}.${process.pid}`, file); // whole or not at all
}

function debianBaseFile() {
  const recipe = createHash('sha256').update(JSON.stringify(DEBIAN_BASE)).digest('hex').slice(0, 12);
  return join(cacheDir, `debian-python-${recipe}.tar`);
}
