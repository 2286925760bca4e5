// Brings up what integration and e2e tests need: a Docker Engine, MariaDB, the runner image, and what
// docker-compose.yml needs. Uses what the developer has, starts the rest privately, and says in variables where it is.
import { areBasesCached, provideBaseImages } from './base-images.mjs';
import { provideCompose } from './compose-command.mjs';
import { mmdebstrapCommand } from './debian-image.mjs';
import { ensureCommands } from './debian-packages.mjs';
import {
  dockerCommand,
  findEngine,
  privateEngineCommands,
  removeOurThingsAtEnd,
  startPrivateEngine,
} from './docker-engine.mjs';
import { findMariadb, mariadbCommands, startMariadb } from './mariadb.mjs';
import { makeNamespaces, thisMachine } from './place.mjs';
import { startRegistryProxy } from './registry-proxy.mjs';
import { buildRunnerImages } from './runner-image.mjs';

/**
 * @typedef {object} TestEnvironment
 * @property {import('./place.mjs').Place} place where the tests must run
 * @property {Record<string, string>} env for the tests
 */

const bubblewrap = {
  command: 'bwrap',
  debianPackage: 'bubblewrap',
  otherwise: 'install bubblewrap',
};

/**
 * @param {import('./session.mjs').Session} session
 * @param {{ path: string, name: string, tmp: string }} folder
 * @param {{ compose: boolean }} options whether the tests of docker-compose.yml will run
 * @returns {Promise<TestEnvironment>}
 */
export async function bringUpEnvironment(session, folder, { compose }) {
  const foundMariadb = await findMariadb();
  const foundEngine = await findEngine(session.log);
  await ensureCommands(session, [
    dockerCommand,
    ...(foundEngine ? [] : privateEngineCommands),
    ...(foundEngine || areBasesCached({ compose }) ? [] : [mmdebstrapCommand]),
    ...(foundMariadb ? [] : mariadbCommands),
    ...(process.platform === 'linux' ? [bubblewrap] : []),
  ]);
  const composeCommand = compose ? await provideCompose(session) : undefined;

  // A database that the developer named is on this machine's network, which the namespaces cannot reach: then
  // a private one is started beside the private engine instead.
  const place = foundEngine ? thisMachine : await makeNamespaces(session);
  const reachableMariadb = place.ownNetwork ? undefined : foundMariadb;
  if (foundMariadb && !reachableMariadb)
    session.log('Leaving STADION_TEST_MARIADB_URL aside: the private engine is in a network of its own.');

  const label = `org.stadion.test-run=${folder.name}`;
  const [mariadbUrl, docker] = await allOrFirstError([
    reachableMariadb ?? startMariadb(session, place, folder),
    bringUpDocker(session, place, folder, { found: foundEngine, label, compose }),
  ]);
  return {
    place,
    env: {
      DOCKER_HOST: docker.host,
      STADION_TEST_MARIADB_URL: mariadbUrl,
      STADION_TEST_RUNNER_IMAGE: docker.images.python,
      STADION_TEST_NODE_RUNNER_IMAGE: docker.images.node,
      STADION_TEST_PYTHON_IMAGE: docker.bases.python,
      ...(composeCommand ? { STADION_TEST_COMPOSE: composeCommand } : {}),
      ...(docker.bases.node ? { STADION_TEST_NODE_IMAGE: docker.bases.node } : {}),
      ...(docker.bases.mariadb ? { STADION_TEST_MARIADB_IMAGE: docker.bases.mariadb } : {}),
      STADION_TEST_ENGINE_ADDRESS: docker.address,
      ...(docker.proxy ? { STADION_TEST_BUILD_PROXY: docker.proxy } : {}),
      // The metadata address may be listened on: it is this run's own.
      ...(place.ownNetwork ? { STADION_TEST_OWN_NETWORK: '1' } : {}),
    },
  };
}

/**
 * @param {import('./session.mjs').Session} session
 * @param {import('./place.mjs').Place} place
 * @param {{ path: string, name: string, tmp: string }} folder
 * @param {{ found: import('./docker-engine.mjs').Engine | undefined, label: string, compose: boolean }} options
 */
async function bringUpDocker(session, place, folder, { found, label, compose }) {
  const engine = found ?? (await startPrivateEngine(session, place, folder));
  if (engine.shared) await removeOurThingsAtEnd(session, engine, label);
  const options = {
    env: { DOCKER_HOST: engine.host, DOCKER_BUILDKIT: '0' },
    label,
    // In an engine that others share, the names are this run's own: another run may be using its images now.
    tag: engine.shared ? folder.name : 'test',
    needMmdebstrap: () => ensureCommands(session, [mmdebstrapCommand]),
    compose,
  };
  const bases = await provideBaseImages(session, engine, folder, options);
  const images = await buildRunnerImages(session, folder, { ...options, bases });
  const address = await engineAddress(session, options.env);
  const proxy =
    compose && place.ownNetwork ? await startRegistryProxy(session, place, folder, address) : undefined;
  return { host: engine.host, images, bases, address, proxy };
}

/** This machine's address that every container of the engine reaches. @param {import('./session.mjs').Session} session @param {Record<string, string>} env */
async function engineAddress(session, env) {
  const format = '{{range .IPAM.Config}}{{.Gateway}}|{{.Subnet}} {{end}}';
  const args = ['network', 'inspect', '--format', format, 'bridge'];
  const told = await session.mustRun("Asking for the engine's network", 'docker', args, { env });
  const [gateway, subnet = ''] = (told.split(' ').find((one) => !one.includes('::')) ?? '').split('|');
  // An engine that has just made its bridge does not tell; it takes the first address.
  return gateway || subnet.replace(/\.0\/\d+$/, '.1').trim();
}

/**
 * Like Promise.all, but waits for the others before it rejects: what they acquire meanwhile must be registered
 * for release before the releases start.
 * @template {unknown[]} T
 * @param {[...T]} attempts
 * @returns {Promise<{ [K in keyof T]: Awaited<T[K]> }>}
 */
async function allOrFirstError(attempts) {
  await Promise.allSettled(attempts);
  return /** @type {any} */ (Promise.all(attempts));
}
