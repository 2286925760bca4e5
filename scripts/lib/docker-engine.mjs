// A Docker Engine for the tests: one that answers already (then everything the tests make in it is found again by
// label and removed), or a private one in namespaces of its own, with all its files in the run's folder.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { PlainError } from './plain-error.mjs';
import { endProcessGroup } from './session.mjs';

/** @typedef {{ host: string, shared: boolean }} Engine `shared`: others use it too, so leave nothing behind */

export const dockerCommand = {
  command: 'docker',
  debianPackage: 'docker.io',
  otherwise: 'install the docker command line',
};

export const privateEngineCommands = [
  { command: 'dockerd', debianPackage: 'docker.io' },
  { command: 'iptables', debianPackage: 'iptables' },
  { command: 'ip', debianPackage: 'iproute2' },
].map((need) => ({ ...need, otherwise: 'start a Docker Engine and set DOCKER_HOST' }));

/** The engine of DOCKER_HOST, or the machine's own, if it answers. @param {(line: string) => void} log @returns {Promise<Engine | undefined>} */
export async function findEngine(log) {
  const named = process.env['DOCKER_HOST'];
  const host = named ?? 'unix:///var/run/docker.sock';
  if (await answers(host)) return { host, shared: true };
  if (named) log(`DOCKER_HOST is ${named}, but no engine answers there.`);
  return undefined;
}

/**
 * @param {import('./session.mjs').Session} session
 * @param {import('./place.mjs').Place} place
 * @param {{ path: string, name: string }} folder
 * @returns {Promise<Engine>}
 */
export async function startPrivateEngine(session, place, folder) {
  session.log('Starting a private Docker Engine …');
  const host = `unix://${join(folder.path, 'docker.sock')}`;
  const settings = join(folder.path, 'daemon.json');
  const logFile = join(folder.path, 'dockerd.log');
  writeFileSync(settings, '{}'); // not the machine's own /etc/docker/daemon.json

  const dockerd = [
    ['--config-file', settings],
    ['--host', host],
    ['--data-root', join(folder.path, 'docker')],
    ['--exec-root', join(folder.path, 'docker-exec')],
    ['--pidfile', join(folder.path, 'docker.pid')],
    ['--cgroup-parent', folder.name],
  ].flat();
  const output = openSync(logFile, 'a');
  const child = spawn(...place.inside('dockerd', dockerd), {
    stdio: ['ignore', output, output],
    detached: true,
  });
  closeSync(output);
  let spawnError = '';
  child.on('error', (error) => (spawnError = error.message));
  session.defer('the Docker Engine', () => endProcessGroup(child));

  let up = false;
  const settled = async () => (up = await answers(host)) || child.exitCode !== null || !child.pid;
  await session.waitUntil(settled, 60_000);
  if (!up) {
    const tail = spawnError || readFileSync(logFile, 'utf8').trim().split('\n').slice(-15).join('\n');
    const fix = 'see its last lines above, or start an engine yourself and set DOCKER_HOST';
    throw new PlainError(`The private Docker Engine did not start: ${fix}.`, tail);
  }
  return { host, shared: false };
}

/**
 * Registers the removal of what the tests leave in an engine that others use too: containers made from the
 * run's image (they inherit its label), and networks and volumes of ours that were not there before.
 * @param {import('./session.mjs').Session} session @param {Engine} engine @param {string} label
 */
export async function removeOurThingsAtEnd(session, engine, label) {
  /** @param {string[]} args */
  const docker = (args) => runOutsideSession('docker', args, { ...process.env, DOCKER_HOST: engine.host });
  const kinds = ['network', 'volume'];
  /** @param {string} kind */
  const ours = async (kind) => words(await docker([kind, 'ls', '-q', '--filter', 'name=stadion']));
  const before = new Set((await Promise.all(kinds.map(ours))).flat());

  session.defer('what the tests made in the Docker Engine', async () => {
    const containers = words(await docker(['ps', '-aq', '--filter', `label=${label}`]));
    if (containers.length > 0) await docker(['rm', '-fv', ...containers]);
    for (const kind of kinds) {
      const added = (await ours(kind)).filter((id) => !before.has(id));
      // The engine refuses to remove what is in use, by another run then: that run removes it.
      for (const id of added) await docker([kind, 'rm', id]).catch(() => {});
    }
    const images = words(await docker(['images', '-q', '--filter', `label=${label}`]));
    if (images.length > 0) await docker(['rmi', '-f', ...new Set(images)]);
  });
}

/** For clean-up, which goes on when the session was interrupted. @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} env @returns {Promise<string>} */
function runOutsideSession(command, args, env) {
  return new Promise((done, fail) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => (stdout += chunk));
    child.on('error', fail);
    child.on('close', (code) =>
      code === 0 ? done(stdout) : fail(new Error(`${command} ${args[0]}: code ${code}`)),
    );
  });
}

/** @param {string} text */
function words(text) {
  return text.split(/\s+/).filter(Boolean);
}

/** Asks the engine itself: the docker command may not be installed yet. @param {string} host @returns {Promise<boolean>} */
function answers(host) {
  const target = targetOf(host);
  if (!target)
    throw new PlainError(
      `DOCKER_HOST ${host} is of a kind the tests cannot use: give a unix:// or tcp:// address.`,
    );
  return new Promise((done) => {
    const ask = request({ ...target, path: '/_ping', timeout: 3000 }, (answer) => {
      answer.resume();
      done(answer.statusCode === 200);
    });
    ask.on('timeout', () => ask.destroy());
    ask.on('error', () => done(false));
    ask.end();
  });
}

/** @param {string} host */
function targetOf(host) {
  if (host.startsWith('unix://')) return { socketPath: host.slice('unix://'.length) };
  if (!host.startsWith('tcp://')) return undefined;
  const { hostname, port } = new URL(host.replace(/^tcp:/, 'http:'));
  return { host: hostname, port: Number(port || 2375) };
}
