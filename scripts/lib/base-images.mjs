// The three images that all of ours begin with, as docker-compose.yml names them: the public ones where the engine
// has them or gets them quickly, else stand-ins from Debian's packages and this machine's Node.
import { cpSync, existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { importDebianImage, isCached } from './debian-image.mjs';
import { PlainError } from './plain-error.mjs';
import { repoRoot } from './workspace.mjs';

const PUBLIC = {
  python: 'python:3.13-slim-bookworm',
  node: 'node:22-bookworm-slim',
  mariadb: 'mariadb:11.4',
};
const PULL_TIMEOUT_MS = 90_000;
const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt';

const python = {
  name: 'python',
  publicImage: PUBLIC.python,
  packages: ['python3', 'ca-certificates'],
  hooks: ['--customize-hook=ln -sf python3 "$1/usr/bin/python"'],
};
/** One for Node and MariaDB, because making and importing it is what costs. */
const services = {
  name: 'services',
  publicImage: `${PUBLIC.node} or ${PUBLIC.mariadb}`,
  packages: ['ca-certificates', 'libstdc++6', 'mariadb-server'],
  hooks: [],
};

/** Whether nothing has to be made from packages. @param {{ compose: boolean }} options */
export const areBasesCached = ({ compose }) => isCached(python) && (!compose || isCached(services));

/** @typedef {{ python: string, node?: string, mariadb?: string }} BaseImages */

/**
 * @param {import('./session.mjs').Session} session
 * @param {import('./docker-engine.mjs').Engine} engine
 * @param {{ path: string, tmp: string }} folder
 * @param {import('./debian-image.mjs').ImageOptions & { compose: boolean }} options `compose`: all three, not only what runners need
 * @returns {Promise<BaseImages>}
 */
export async function provideBaseImages(session, engine, folder, options) {
  const { mariadb, ...forRunners } = PUBLIC;
  const wanted = options.compose ? { ...forRunners, mariadb } : forRunners;
  if (await hasAll(session, engine, options.env, Object.values(wanted))) return wanted;

  const images = { python: await importDebianImage(session, folder, python, options) };
  if (!options.compose) return images;
  const base = await importDebianImage(session, folder, services, options);
  return {
    ...images,
    node: await buildNodeImage(session, folder, base, options),
    mariadb: await build(session, 'mariadb', join(repoRoot, 'scripts/lib/mariadb-image'), base, options),
  };
}

/** @param {import('./session.mjs').Session} session @param {import('./docker-engine.mjs').Engine} engine @param {Record<string, string>} env @param {string[]} images */
async function hasAll(session, engine, env, images) {
  if (!engine.shared) return false; // just started, and its network leads nowhere
  for (const image of images) {
    if ((await session.run('docker', ['image', 'inspect', image], { env })).code === 0) continue;
    session.log(`Pulling ${image} …`);
    const options = { env, timeoutMs: PULL_TIMEOUT_MS };
    if ((await session.run('docker', ['pull', '--quiet', image], options)).code !== 0) return false;
  }
  return true;
}

/** This machine's Node and npm, and the certificate authorities that it trusts. @param {import('./session.mjs').Session} session @param {{ path: string }} folder @param {string} base @param {import('./debian-image.mjs').ImageOptions} options */
async function buildNodeImage(session, folder, base, options) {
  const context = join(folder.path, 'node-image');
  mkdirSync(context);
  cpSync(realpathSync(process.execPath), join(context, 'node'));
  cpSync(npmFolder(), join(context, 'npm'), { recursive: true, dereference: true });
  const authorities = existsSync(AUTHORITIES);
  if (authorities) cpSync(AUTHORITIES, join(context, 'authorities.crt'), { dereference: true });
  const lines = [
    'ARG BASE',
    'FROM ${BASE}',
    'COPY node /usr/local/bin/node',
    'COPY npm /usr/local/lib/node_modules/npm',
    'RUN cd /usr/local/bin && ln -s ../lib/node_modules/npm/bin/npm-cli.js npm && ln -s ../lib/node_modules/npm/bin/npx-cli.js npx',
    ...(authorities
      ? [
          `COPY authorities.crt ${AUTHORITIES}`,
          `ENV NODE_EXTRA_CA_CERTS=${AUTHORITIES}`,
          `RUN mkdir -p /usr/local/etc && echo cafile=${AUTHORITIES} > /usr/local/etc/npmrc`,
        ]
      : []),
  ];
  writeFileSync(join(context, 'Dockerfile'), lines.join('\n'));
  return build(session, 'node', context, base, options);
}

/** Beside this Node, or where its `npm` command leads. */
function npmFolder() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  const runBy = process.env['npm_execpath'] ? dirname(dirname(process.env['npm_execpath'])) : '';
  const candidates = [join(prefix, 'lib/node_modules/npm'), runBy, '/usr/share/npm'];
  const found = candidates.find((folder) => folder && existsSync(join(folder, 'bin/npx-cli.js')));
  if (!found)
    throw new PlainError(`npm was not found beside ${process.execPath}: run the tests with \`npm test\`.`);
  return realpathSync(found);
}

/** @param {import('./session.mjs').Session} session @param {string} name @param {string} context @param {string} base @param {import('./debian-image.mjs').ImageOptions} options */
async function build(session, name, context, base, { env, label, tag }) {
  const image = `stadion-base-${name}:${tag}`;
  const args = ['build', '--quiet', '--label', label, '--build-arg', `BASE=${base}`, '--tag', image, context];
  await session.mustRun(`Building the ${name} base image`, 'docker', args, { env });
  return image;
}
