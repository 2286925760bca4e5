// Brings up what integration and e2e tests need: a Docker Engine, MariaDB, the runner image. Uses what the
// developer has, starts the rest privately, and says in variables where it is.
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
import { buildRunnerImage, isDebianBaseCached, mmdebstrapCommand } from './runner-image.mjs';

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

/** @param {import('./session.mjs').Session} session @param {{ path: string, name: string, tmp: string }} folder @returns {Promise<TestEnvironment>} */
export async function bringUpEnvironment(session, folder) {
  const foundMariadb = await findMariadb();
  const foundEngine = await findEngine(session.log);
  await ensureCommands(session, [
    dockerCommand,
    ...(foundEngine ? [] : privateEngineCommands),
    ...(foundEngine || isDebianBaseCached() ? [] : [mmdebstrapCommand]),
    ...(foundMariadb ? [] : mariadbCommands),
    ...(process.platform === 'linux' ? [bubblewrap] : []),
  ]);

  // A database that the developer named is on this machine's network, which the namespaces cannot reach: then
  // a private one is started beside the private engine instead.
  const place = foundEngine ? thisMachine : await makeNamespaces(session);
  const reachableMariadb = place.ownNetwork ? undefined : foundMariadb;
  if (foundMariadb && !reachableMariadb)
    session.log('Leaving STADION_TEST_MARIADB_URL aside: the private engine is in a network of its own.');

  const label = `org.stadion.test-run=${folder.name}`;
  const [mariadbUrl, docker] = await allOrFirstError([
    reachableMariadb ?? startMariadb(session, place, folder),
    bringUpDocker(session, place, folder, foundEngine, label),
  ]);
  return {
    place,
    env: {
      DOCKER_HOST: docker.host,
      STADION_TEST_MARIADB_URL: mariadbUrl,
      STADION_TEST_RUNNER_IMAGE: docker.image,
      // The metadata address may be listened on: it is this run's own.
      ...(place.ownNetwork ? { STADION_TEST_OWN_NETWORK: '1' } : {}),
    },
  };
}

/**
 * @param {import('./session.mjs').Session} session
 * @param {import('./place.mjs').Place} place
 * @param {{ path: string, name: string, tmp: string }} folder
 * @param {import('./docker-engine.mjs').Engine | undefined} found
 * @param {string} label
 */
async function bringUpDocker(session, place, folder, found, label) {
  const engine = found ?? (await startPrivateEngine(session, place, folder));
  if (engine.shared) await removeOurThingsAtEnd(session, engine, label);
  const needMmdebstrap = () => ensureCommands(session, [mmdebstrapCommand]);
  const image = await buildRunnerImage(session, engine, folder, { label, needMmdebstrap });
  return { host: engine.host, image };
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
