// The temp folder of one run, and the sweep of folders whose run was killed before it could clean up. The folder's
// name is also the name of the run: its cgroups carry it, so that they can be found again.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

const PREFIX = 'stadion-test-';
const TEN_MINUTES_MS = 600_000;

/** @param {import('./session.mjs').Session} session @returns {{ path: string, name: string, tmp: string }} */
export function makeRunFolder(session) {
  sweepFoldersOfDeadRuns();
  const path = mkdtempSync(join(tmpdir(), PREFIX));
  writeFileSync(
    join(path, 'owner.json'),
    JSON.stringify({ pid: process.pid, startedAt: startTimeOf(process.pid) }),
  );
  session.defer(`the folder ${path}`, () => removeRunFolder(path));
  chmodSync(path, 0o755); // MariaDB's own user passes through it
  const tmp = join(path, 'tmp');
  mkdirSync(tmp);
  chmodSync(tmp, 0o1777);
  return { path, name: basename(path), tmp };
}

/**
 * Notes a process outside namespaces that a killed run would leave behind, for the next run's sweep.
 * @param {string} runFolder @param {number} pid
 */
export function noteProcess(runFolder, pid) {
  const line = JSON.stringify({ pid, startedAt: startTimeOf(pid) });
  writeFileSync(join(runFolder, 'processes'), `${line}\n`, { flag: 'a' });
}

function sweepFoldersOfDeadRuns() {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(tmpdir(), name);
    try {
      if (!isOwnerAlive(path)) removeRunFolder(path);
    } catch {
      // another user's, or another run is sweeping it at this moment
    }
  }
}

/** @param {string} path */
function isOwnerAlive(path) {
  const ownerFile = join(path, 'owner.json');
  // A run that is just making its folder has not written the file yet.
  if (!existsSync(ownerFile)) return Date.now() - statSync(path).mtimeMs < TEN_MINUTES_MS;
  return isSameProcessAlive(JSON.parse(readFileSync(ownerFile, 'utf8')));
}

/** @param {string} path */
function removeRunFolder(path) {
  endNotedProcesses(path);
  removeCgroups(basename(path));
  // Never delete through a mount: mmdebstrap and dockerd mount in namespaces of their own, this is the belt to that.
  const mounted = readLines('/proc/self/mounts').filter((line) => line.split(' ')[1]?.startsWith(`${path}/`));
  if (mounted.length > 0) throw new Error(`something is still mounted below it: ${mounted[0]}`);
  rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}

/** @param {string} path */
function endNotedProcesses(path) {
  for (const line of readLines(join(path, 'processes'))) {
    const noted = JSON.parse(line);
    if (isSameProcessAlive(noted)) process.kill(noted.pid, 'SIGKILL');
  }
}

/** Removes the empty cgroups that a private engine leaves in the kernel's tree. @param {string} name */
function removeCgroups(name) {
  const top = '/sys/fs/cgroup';
  if (!existsSync(top)) return;
  const controllers = readdirSync(top, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const parent of [top, ...controllers.map((entry) => join(top, entry.name))]) {
    const cgroup = join(parent, name);
    if (existsSync(cgroup)) removeCgroupTree(cgroup);
  }
}

/** @param {string} cgroup */
function removeCgroupTree(cgroup) {
  for (const entry of readdirSync(cgroup, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroupTree(join(cgroup, entry.name));
  }
  rmdirSync(cgroup);
}

/** @param {{ pid: number, startedAt: string | undefined }} noted */
function isSameProcessAlive({ pid, startedAt }) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ESRCH') return false;
  }
  return startTimeOf(pid) === startedAt; // a process id is used again after a while
}

/** Clock ticks since boot; undefined where there is no /proc. @param {number} pid */
function startTimeOf(pid) {
  const stat = readLines(`/proc/${pid}/stat`)[0];
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

/** @param {string} file */
function readLines(file) {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean);
  } catch {
    return [];
  }
}
