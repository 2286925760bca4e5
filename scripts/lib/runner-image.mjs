// The images that the tests' sandboxes run in, built from services/runner the way a user builds them.
import { cpSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { repoRoot } from './workspace.mjs';

/** @typedef {{ env: Record<string, string>, label: string, tag: string }} BuildOptions */

/**
 * @param {import('./session.mjs').Session} session
 * @param {{ path: string }} folder
 * @param {BuildOptions & { bases: import('./base-images.mjs').BaseImages }} options
 * @returns {Promise<{ python: string, node: string }>} the images' names
 */
export async function buildRunnerImages(session, folder, { bases, ...options }) {
  const nodeBase = bases.node ?? (await addThisNode(session, folder, bases.python, options));
  return {
    python: await buildRunner(session, 'python', `PYTHON_IMAGE=${bases.python}`, options),
    node: await buildRunner(session, 'node', `NODE_IMAGE=${nodeBase}`, options),
  };
}

/** @param {import('./session.mjs').Session} session @param {string} language @param {string} base @param {BuildOptions} options */
async function buildRunner(session, language, base, options) {
  session.log(`Building the ${language} runner image with ${base} …`);
  const context = join(repoRoot, 'services/runner', language);
  return build(session, `stadion/runner-${language}`, context, base, options);
}

/**
 * Every Debian image has what Node needs, so this machine's Node makes one of it that has Node.
 * @param {import('./session.mjs').Session} session @param {{ path: string }} folder @param {string} base @param {BuildOptions} options
 */
async function addThisNode(session, folder, base, options) {
  const context = join(folder.path, 'runner-node-image');
  mkdirSync(context);
  cpSync(realpathSync(process.execPath), join(context, 'node'));
  writeFileSync(join(context, 'Dockerfile'), 'ARG BASE\nFROM ${BASE}\nCOPY node /usr/local/bin/node\n');
  return build(session, 'stadion-base-runner-node', context, `BASE=${base}`, options);
}

/** @param {import('./session.mjs').Session} session @param {string} name @param {string} context @param {string} argument @param {BuildOptions} options */
async function build(session, name, context, argument, { env, label, tag }) {
  const image = `${name}:${tag}`;
  const args = ['build', '--quiet', '--label', label, '--build-arg', argument, '--tag', image, context];
  await session.mustRun(`Building ${image}`, 'docker', args, { env });
  return image;
}
