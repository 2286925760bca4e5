// A MariaDB for the tests: the one that STADION_TEST_MARIADB_URL names, or a private one with its files in the
// run's folder. Test databases inside it are made and dropped by the testkit.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, closeSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { findCommand } from './debian-packages.mjs';
import { PlainError } from './plain-error.mjs';
import { endProcessGroup } from './session.mjs';

const OLDEST = [10, 6];

export const mariadbCommands = [
  {
    command: 'mariadbd',
    debianPackage: 'mariadb-server',
    otherwise:
      'set STADION_TEST_MARIADB_URL to mysql://user:password@host:port of one that may be written to',
  },
];

/** The server that the developer named. @returns {Promise<string | undefined>} its URL */
export async function findMariadb() {
  const url = process.env['STADION_TEST_MARIADB_URL'];
  if (!url) return undefined;
  const { hostname, port } = new URL(url);
  const version = await serverVersion({ host: hostname, port: Number(port || 3306) });
  const fix = 'start it, or unset the variable and the tests start one of their own';
  if (!version)
    throw new PlainError(`No MariaDB answers at STADION_TEST_MARIADB_URL (${hostname}:${port}): ${fix}.`);
  refuseOld(version);
  return url;
}

/**
 * @param {import('./session.mjs').Session} session
 * @param {import('./place.mjs').Place} place
 * @param {{ path: string }} folder
 * @returns {Promise<string>} the URL of an account that may do everything
 */
export async function startMariadb(session, place, folder) {
  session.log('Starting a private MariaDB …');
  const server = findCommand('mariadbd') ?? 'mariadbd';
  refuseOld(
    /Ver (\S+)/.exec(
      await session.mustRun('Asking for its version', server, ['--no-defaults', '--version']),
    )?.[1] ?? '',
  );

  const dataDir = join(folder.path, 'mariadb');
  const socket = join(dataDir, 'server.sock');
  mkdirSync(dataDir, { mode: 0o700 });
  // As root it wants to be told to be somebody else.
  const unixUser = process.getuid?.() === 0 ? ['--user=mysql'] : [];
  await session.mustRun(
    'Making a MariaDB data folder',
    findCommand('mariadb-install-db') ?? 'mysql_install_db',
    [
      '--no-defaults',
      `--datadir=${dataDir}`,
      '--auth-root-authentication-method=socket', // no account without a password on TCP
      '--skip-test-db',
      ...unixUser,
    ],
  );

  const password = randomBytes(12).toString('hex');
  const initFile = join(folder.path, 'mariadb-init.sql');
  const account = `'stadion_test'@'%'`;
  writeFileSync(
    initFile,
    `CREATE USER ${account} IDENTIFIED BY '${password}';\nGRANT ALL PRIVILEGES ON *.* TO ${account} WITH GRANT OPTION;\n`,
    { mode: 0o600 },
  );
  if (unixUser.length > 0) {
    const { uid, gid } = statSync(dataDir); // mariadb-install-db gave it to that user
    chownSync(initFile, uid, gid);
  }
  const port = place.ownNetwork ? 3306 : await freePort();
  const options = [
    '--no-defaults',
    ...unixUser,
    `--datadir=${dataDir}`,
    `--socket=${socket}`,
    `--pid-file=${join(dataDir, 'server.pid')}`,
    `--init-file=${initFile}`,
    '--bind-address=127.0.0.1',
    `--port=${port}`,
    '--skip-name-resolve',
    '--max-connections=400',
    // Skips fsync alone: what was committed survives a killed server, though not a machine that loses power.
    '--innodb-flush-method=nosync',
    '--debug-no-sync',
  ];
  const logFile = join(folder.path, 'mariadb.log');
  const output = openSync(logFile, 'a');
  const child = spawn(...place.inside(server, options), {
    stdio: ['ignore', output, output],
    detached: true,
  });
  closeSync(output);
  child.on('error', () => {}); // told below, by the server not answering
  session.defer('MariaDB', () => endProcessGroup(child, 10_000));

  let up = false;
  // Through the file, which leads into another network too.
  const answers = async () => (await serverVersion({ path: socket })) !== undefined;
  const settled = async () => (up = await answers()) || child.exitCode !== null || !child.pid;
  await session.waitUntil(settled, 60_000);
  if (!up) {
    const tail = readFileSync(logFile, 'utf8').trim().split('\n').slice(-15).join('\n');
    const fix = 'see its last lines above, or set STADION_TEST_MARIADB_URL to one that runs';
    throw new PlainError(`The private MariaDB did not start: ${fix}.`, tail);
  }
  return `mysql://stadion_test:${password}@127.0.0.1:${port}`;
}

/** @param {string} version such as 10.11.6-MariaDB */
function refuseOld(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  throw new PlainError(`MariaDB ${version} is too old: the tests need ${OLDEST.join('.')} or newer.`);
}

/**
 * What a server says of itself to whoever connects; undefined when none does.
 * @param {{ path: string } | { host: string, port: number }} target @returns {Promise<string | undefined>}
 */
function serverVersion(target) {
  return new Promise((done) => {
    const socket = connect(target);
    socket.setTimeout(3000, () => socket.destroy());
    // A handshake: 4 bytes of header, protocol 10, the version as a C string ("5.5.5-" is there for old replicas).
    socket.once('data', (data) => {
      const version = data[4] === 10 ? data.toString('latin1', 5, data.indexOf(0, 5)) : undefined;
      done(version?.replace(/^5\.5\.5-/, ''));
      socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => done(undefined));
  });
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((done, fail) => {
    const server = createServer().on('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => done(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
