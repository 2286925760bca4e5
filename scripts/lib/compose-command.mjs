// Which Compose there is: the plugin of the docker command (v2), or the older command of its own.
import { ensureCommands, findCommand } from './debian-packages.mjs';

const standalone = {
  command: 'docker-compose',
  debianPackage: 'docker-compose',
  otherwise: "install Docker's Compose plugin",
};

/** @param {import('./session.mjs').Session} session @returns {Promise<string>} `docker compose` or `docker-compose` */
export async function provideCompose(session) {
  if (findCommand('docker')) {
    if ((await session.run('docker', ['compose', 'version'])).code === 0) return 'docker compose';
  }
  await ensureCommands(session, [standalone]);
  return 'docker-compose';
}
