// The temp folder of one run, and the sweep of folders whose run was killed before it could clean up. The folder's
// name is also the name of the run: its cgroups carry it, and its processes do in their environment, so that
// whatever is left of a run can be found again and nothing else is.
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
import { setTimeout as delay } from 'node:timers/promises';

const PREFIX = 'stadion-test-';
const RUN_VARIABLE = 'STADION_TEST_RUN';
const TEN_MINUTES_MS = 600_000;

/** @param {import('./session.mjs').Session} session @returns {Promise<{ path: string, name: string, tmp: string }>} */
export async function makeRunFolder(session) {
  await sweepFoldersOfDeadRuns();
  const path = mkdtempSync(join(tmpdir(), PREFIX));
  writeFileSync(
    join(path, 'owner.json'),
    JSON.stringify({ pid: process.pid, startedAt: startTimeOf(process.pid) }),
  );
  session.defer(`the folder ${path}`, () => removeRunFolder(path));
  process.env[RUN_VARIABLE] = basename(path); // every process started from here on inherits it
  chmodSync(path, 0o755); // MariaDB's own user passes through it
  const tmp = join(path, 'tmp');
  mkdirSync(tmp);
  chmodSync(tmp, 0o1777);
  return { path, name: basename(path), tmp };
}

async function sweepFoldersOfDeadRuns() {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(tmpdir(), name);
    try {
      if (!isOwnerAlive(path)) await removeRunFolder(path);
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
async function removeRunFolder(path) {
  endProcessesOf(basename(path));
  await removeCgroups(basename(path));
  // Never delete through a mount: mmdebstrap and dockerd mount in namespaces of their own, this is the belt to that.
  const mounted = readLines('/proc/self/mounts').filter((line) => line.split(' ')[1]?.startsWith(`${path}/`));
  if (mounted.length > 0) throw new Error(`something is still mounted below it: ${mounted[0]}`);
  rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}

/** Ends what a test started and forgot, or a killed run left. Not this process: its own variable was set too late to show. @param {string} runName */
function endProcessesOf(runName) {
  const mark = `${RUN_VARIABLE}=${runName}`;
  const pids = existsSync('/proc') ? readdirSync('/proc').filter((name) => /^\d+$/.test(name)) : [];
  for (const pid of pids) {
    if (readText(`/proc/${pid}/environ`).split('\0').includes(mark)) kill(Number(pid));
  }
}

/** @param {number} pid */
function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it ended by itself in between
  }
}

/** Removes the empty cgroups that a private engine leaves in the kernel's tree. @param {string} name */
async function removeCgroups(name) {
  const top = '/sys/fs/cgroup';
  if (!existsSync(top)) return;
  const controllers = readdirSync(top, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const parent of [top, ...controllers.map((entry) => join(top, entry.name))]) {
    const cgroup = join(parent, name);
    if (existsSync(cgroup)) await removeCgroupTree(cgroup);
  }
}

/** @param {string} cgroup */
async function removeCgroupTree(cgroup) {
  for (const entry of readdirSync(cgroup, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeCgroupTree(join(cgroup, entry.name));
  }
  // Busy until the kernel is through with the processes it has just killed: some tens of milliseconds.
  for (let tries = 100; ; tries--) {
    try {
      return rmdirSync(cgroup);
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EBUSY' || tries === 0) throw error;
      await delay(50);
    }
  }
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
  return readText(file).split('\n').filter(Boolean);
}

/** @param {string} file @returns {string} empty when it cannot be read */
function readText(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
