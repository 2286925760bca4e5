// Where the services of a test run, and the tests, live: on this machine as it is, or in kernel namespaces of
// their own (network, processes, mounts). The second is for a private Docker Engine: two engines in one network
// would wipe each other's iptables chains at every start and both want docker0; and when the namespaces end, the
// kernel takes every process, container, mount, bridge and rule in them along, even after a SIGKILL.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { PlainError } from './plain-error.mjs';
import { endProcessGroup } from './session.mjs';

/**
 * @typedef {object} Place
 * @property {(command: string, args: string[]) => [string, string[]]} inside the command line that runs a command there
 * @property {boolean} ownNetwork whether its ports and addresses are its own
 * @property {string} [enter] what a developer types before a command to run it there
 */

/** @type {Place} */
export const thisMachine = { inside: (command, args) => [command, args], ownNetwork: false };

/**
 * Init of the namespaces: bash, because it reaps every orphan, as PID 1 must. It gets the cloud metadata address on
 * its loopback, so that a test can listen there and show that a script cannot reach it. The tmpfs hide the
 * machine's own engine (/run/containerd) and keep dockerd's key out of /etc.
 */
const INIT = `
  mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc/docker || exit 1
  ip link set lo up && ip address add 169.254.169.254/32 dev lo || exit 1
  echo ready
  while :; do sleep 3600 & wait $!; done
`;

/** Needs root. @param {import('./session.mjs').Session} session @returns {Promise<Place>} */
export async function makeNamespaces(session) {
  mkdirSync('/etc/docker', { recursive: true });
  const unshare = ['unshare', '--net', '--pid', '--mount', '--fork', '--kill-child=KILL', '--mount-proc'];
  // pdeathsig: they end with this process, however it ends.
  const holder = spawn('setpriv', ['--pdeathsig', 'KILL', ...unshare, 'bash', '-c', INIT], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  session.defer('the namespaces', () => endProcessGroup(holder, 0));

  let output = '';
  for (const stream of [holder.stdout, holder.stderr]) stream.on('data', (chunk) => (output += chunk));
  holder.on('error', (error) => (output += error.message));
  const settled = () => /^ready$/m.test(output) || holder.exitCode !== null || !holder.pid;
  await session.waitUntil(settled, 10_000);
  if (!/^ready$/m.test(output)) {
    const fix = 'start a Docker Engine yourself and set DOCKER_HOST';
    throw new PlainError(
      `This machine does not let root make namespaces, which a private engine needs: ${fix}.`,
      output,
    );
  }
  const init = readFileSync(`/proc/${holder.pid}/task/${holder.pid}/children`, 'utf8').trim();
  const nsenter = ['nsenter', '--target', init, '--net', '--pid', '--mount', '--root'];
  return {
    // Entering a mount namespace leaves one in its root folder; `env -C` goes back to where we were.
    inside: (command, args) => [
      'nsenter',
      [...nsenter.slice(1), 'env', '-C', process.cwd(), command, ...args],
    ],
    ownNetwork: true,
    enter: `${nsenter.join(' ')} env -C "$PWD"`,
  };
}
