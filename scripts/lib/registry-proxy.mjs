// Lets image builds in a private engine, whose network leads nowhere, reach the npm registry and nothing else: an
// HTTP proxy whose one end is in that network and whose other end is on this machine, with a socket file between.
import { spawn } from 'node:child_process';
import { createServer, connect } from 'node:net';
import { createServer as createHttpServer } from 'node:http';
import { join } from 'node:path';
import { PlainError } from './plain-error.mjs';
import { endProcessGroup } from './session.mjs';
import { repoRoot } from './workspace.mjs';

const INSIDE = '--inside';

/**
 * @param {import('./session.mjs').Session} session
 * @param {import('./place.mjs').Place} place
 * @param {{ path: string }} folder
 * @param {string} address of this machine in the engine's network
 * @returns {Promise<string>} the proxy's URL for containers
 */
export async function startRegistryProxy(session, place, folder, address) {
  const file = join(folder.path, 'registry-proxy.sock');
  const registry = new URL(
    (await session.mustRun('Asking npm for its registry', 'npm', ['config', 'get', 'registry'])).trim(),
  );
  const allowed = `${registry.hostname}:${registry.port || 443}`;
  const outside = createHttpServer((_request, response) => response.writeHead(403).end());
  outside.on('connect', (request, socket) => {
    socket.on('error', () => {});
    if (request.url !== allowed) return socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    const far = connect(Number(registry.port || 443), registry.hostname, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(far).pipe(socket);
    });
    far.on('error', () => socket.destroy());
    socket.on('close', () => far.destroy());
  });
  await new Promise((done, fail) => outside.once('error', fail).listen(file, () => done(undefined)));
  session.defer('the registry proxy', () => {
    outside.closeAllConnections();
    outside.close();
  });

  const script = join(repoRoot, 'scripts/lib/registry-proxy.mjs');
  const child = spawn(...place.inside(process.execPath, [script, INSIDE, file, address]), {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  session.defer("the registry proxy's inner end", () => endProcessGroup(child, 0));
  child.on('error', () => {}); // told below
  let port = '';
  child.stdout.on('data', (chunk) => (port += chunk));
  await session.waitUntil(() => /\n/.test(port) || child.exitCode !== null || !child.pid, 10_000);
  if (!/^\d+\n/.test(port))
    throw new PlainError('The way to the npm registry for image builds did not open.');
  return `http://${address}:${port.trim()}`;
}

const [flag, file = '', address] = process.argv.slice(2);
if (flag === INSIDE) {
  const server = createServer((near) => {
    const far = connect(file);
    near.pipe(far).pipe(near);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ])
      one?.on('error', () => other?.destroy()).on('close', () => other?.destroy());
  });
  server.listen(0, address, () => {
    const bound = server.address();
    console.log(typeof bound === 'object' && bound?.port);
  });
}
