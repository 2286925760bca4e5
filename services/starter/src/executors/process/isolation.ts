/**
 * How a process is separated from this machine: `bubblewrap`, else `unshare` of util-linux, else `plain`. Each level
 * is a pure function from a plan to a command line; which one a machine offers is found by running a probe in it.
 */
import { spawn } from 'node:child_process';
import { access, chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { platform, release } from 'node:os';
import { join } from 'node:path';
import type { ScriptFile } from '../../script-file.js';
import type { SandboxLimits } from '../executor.js';
import { isRoot, ownUid, scriptUser, type ScriptUser } from './script-user.js';
import { unshareRoot } from './unshare-root.js';

export const isolationLevels = ['bubblewrap', 'unshare', 'plain'] as const;
export type IsolationLevel = (typeof isolationLevels)[number];

/** One process to be started. */
export interface Plan {
  command: string[];
  scriptsDir: string;
  /** Bound read-only over itself, like `input`. */
  scriptFile: ScriptFile;
  /** Bound at the same place, in addition to the system's folders. */
  readOnlyPaths: string[];
  /** Whom to become; undefined keeps this process's user. */
  user: ScriptUser | undefined;
  limits: SandboxLimits;
  /** The attempt's own home folder; the levels with their own /tmp use that instead. */
  home: string;
}

export interface Command {
  argv: string[];
  cwd: string;
  /** Whom the kernel makes it before it runs; the other levels change the user inside. */
  user?: ScriptUser;
  /** Contents of descriptors 4, 5, … */
  files: string[];
}

export interface Isolation {
  level: IsolationLevel;
  /** The script has its own process identifiers: nothing outside is visible, and the end of the first ends all. */
  ownProcesses: boolean;
  /** The attempt's folder is at /scripts, and little else of this machine's files is there. */
  ownFiles: boolean;
  /** The limit on processes counts this attempt's processes only. */
  countsProcesses: boolean;
  home(plan: { home: string }): string;
  wrap(plan: Plan): Command;
  sentence: string;
  warnings: string[];
}

/** Set in every sandbox whose files are its own; a script's own value wins. */
export const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const passwd = (uid: number) =>
  `root:x:0:0:root:/:/usr/sbin/nologin\nscript:x:${uid}:${uid}:script:/tmp:/bin/sh\n`;
const group = (gid: number) => `root:x:0:\nscript:x:${gid}:\n`;

/** Nothing secret: what name look-ups, TLS and time zones need. */
const etcPaths = [
  'alternatives',
  'ca-certificates',
  'gai.conf',
  'host.conf',
  'hosts',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'localtime',
  'mime.types',
  'nsswitch.conf',
  'pki/ca-trust',
  'pki/tls',
  'protocols',
  'resolv.conf',
  'services',
  'ssl/certs',
  'ssl/cert.pem',
  'ssl/openssl.cnf',
  'timezone',
].map((name) => `/etc/${name}`);

const networkWarning =
  "Scripts use this machine's network and reach whatever it reaches, local services included. Keep scripts off it with the docker executor, or with a firewall rule for the scripts' users.";

/**
 * The best level that works here, or the wanted one. Rejects when the wanted one does not work; the message says why.
 * `probeDir` is a folder to work in, `interpreterPaths` what must be readable.
 */
export async function findIsolation(probeDir: string, wanted?: IsolationLevel): Promise<Isolation> {
  const missing: string[] = [];
  for (const level of wanted ? [wanted] : isolationLevels) {
    const isolation = await isolations[level]();
    const problem = await probe(isolation, probeDir);
    if (problem === undefined) return { ...isolation, warnings: [...missing, ...isolation.warnings] };
    missing.push(`${level} does not work here: ${problem}${remedies[level]}`);
  }
  throw new Error(missing.join(' '));
}

const remedies = {
  bubblewrap:
    ' Install it (for example: apt-get install bubblewrap) and, unless the starter is root, allow user namespaces.',
  unshare: ' It needs unshare and setpriv of util-linux and, unless the starter is root, user namespaces.',
  plain: '',
} satisfies Record<IsolationLevel, string>;

const isolations = {
  bubblewrap: async (): Promise<Isolation> => {
    const version = await firstLine(['bwrap', '--version']);
    const [, major = '0', minor = '0'] = /(\d+)\.(\d+)/.exec(version) ?? [];
    const release = Number(major) * 1_000 + Number(minor);
    return {
      level: 'bubblewrap',
      ownProcesses: true,
      ownFiles: true,
      countsProcesses: countsProcesses(),
      home: () => '/tmp',
      wrap: (plan) => wrapInBubblewrap(plan, release),
      sentence: `bubblewrap: own files, processes and ${userWords()}; this machine's network and kernel are shared`,
      warnings: [
        networkWarning,
        ...(release < 7
          ? ['This bubblewrap is older than 0.7, so the size of /tmp is not limited. Install a newer one.']
          : []),
      ],
    };
  },
  unshare: async (): Promise<Isolation> => ({
    level: 'unshare',
    ownProcesses: true,
    ownFiles: true,
    countsProcesses: countsProcesses(),
    home: () => '/tmp',
    wrap: wrapInUnshare,
    sentence: `Linux namespaces by unshare: own files, processes and ${userWords()}; this machine's network and kernel are shared`,
    warnings: [networkWarning],
  }),
  plain: async (): Promise<Isolation> => {
    const setpriv = platform() === 'linux' && (await firstLine(['setpriv', '--version'])) !== '';
    return {
      level: 'plain',
      ownProcesses: false,
      ownFiles: false,
      countsProcesses: scriptUser()?.dedicated ?? false,
      home: ({ home }) => home,
      wrap: (plan) => wrapPlainly(plan, setpriv),
      sentence: isRoot()
        ? 'WEAK: plain processes under users of their own; scripts read every file that all users may read and see every process'
        : "NONE: plain processes under the starter's own user; scripts can read and change everything the starter can, its secrets included",
      warnings: [
        'SCRIPTS ARE NOT ISOLATED FROM THIS MACHINE: run only scripts that you trust. Install bubblewrap (for example: apt-get install bubblewrap) or Docker.',
        ...(isRoot()
          ? []
          : ['A script that leaves its process group and clears its environment may outlive its end.']),
        ...(setpriv
          ? []
          : [
              'Should the starter be killed, scripts run on, on Linux until it starts again. Install setpriv of util-linux there; elsewhere end them by hand.',
            ]),
        networkWarning,
      ],
    };
  },
} satisfies Record<IsolationLevel, () => Promise<Isolation>>;

const userWords = () => (isRoot() ? 'user' : 'user namespace');

/** Root gives every attempt a uid of its own. Others share theirs, but since Linux 5.14 each user namespace counts apart. */
function countsProcesses(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return scriptUser()?.dedicated ?? (!isRoot() && (major > 5 || (major === 5 && minor >= 14)));
}

function wrapInBubblewrap(plan: Plan, release: number): Command {
  const { user, limits, scriptsDir } = plan;
  const sized = (bytes: number) => (release >= 7 ? ['--size', String(bytes)] : []);
  const tmpfs = (path: string) => ['--perms', '1777', ...sized(limits.tmpBytes), '--tmpfs', path];
  const argv = [
    'bwrap',
    ...[
      '--die-with-parent',
      '--new-session',
      '--unshare-ipc',
      '--unshare-pid',
      '--unshare-uts',
      '--unshare-cgroup-try',
    ],
    ...['--hostname', 'sandbox', '--clearenv', '--setenv', 'PATH', systemPath],
    // Root keeps real uids, so that the attempt's own counts for the kernel; it needs these until setpriv has changed it.
    ...(user
      ? [
          '--cap-drop',
          'ALL',
          '--cap-add',
          'CAP_SETUID',
          '--cap-add',
          'CAP_SETGID',
          '--cap-add',
          'CAP_SETPCAP',
        ]
      : ['--unshare-user', '--cap-drop', 'ALL', ...(release >= 8 ? ['--disable-userns'] : [])]),
    ...makeFoldersAbove(etcPaths),
    ...systemFolders.flatMap((path) => ['--ro-bind-try', path, path]),
    ...etcPaths.flatMap((path) => ['--ro-bind-try', path, path]),
    ...[
      '--perms',
      '0444',
      '--ro-bind-data',
      '4',
      '/etc/passwd',
      '--perms',
      '0444',
      '--ro-bind-data',
      '5',
      '/etc/group',
    ],
    ...['--proc', '/proc', '--dev', '/dev', ...tmpfs('/dev/shm'), ...tmpfs('/tmp')],
    // After /tmp, since an interpreter may be installed below it.
    ...makeFoldersAbove(plan.readOnlyPaths),
    ...plan.readOnlyPaths.flatMap((path) => ['--ro-bind', path, path]),
    ...['--bind', scriptsDir, '/scripts'],
    // Fixed in place by a mount, because as another user than root the starter owns them and so would the script.
    ...[plan.scriptFile, 'input'].flatMap((name) => [
      '--ro-bind',
      join(scriptsDir, name),
      `/scripts/${name}`,
    ]),
    // As another user than root the script would own these two, which have no bound.
    ...['--remount-ro', '/dev', '--remount-ro', '/', '--chdir', '/scripts', '--'],
    ...(user ? becomeUser(user) : []),
    ...plan.command,
  ];
  const uid = user?.uid ?? ownUid();
  return { argv, cwd: '/', files: [passwd(uid), group(user?.gid ?? uid)] };
}

/** Outermost first, and open to all: the folders that bubblewrap itself makes on the way to a mount may be for root only. */
function makeFoldersAbove(paths: string[]): string[] {
  const above = paths.flatMap((path) => {
    const names = path.split('/').slice(1, -1);
    return names.map((_, index) => `/${names.slice(0, index + 1).join('/')}`);
  });
  const folders = [...new Set(above)].filter((path) => !isSystemPath(path)).sort();
  return folders.flatMap((path) => ['--perms', '0755', '--dir', path]);
}

/** Below these everything is bound into every sandbox with files of its own. */
export function isSystemPath(path: string): boolean {
  return systemFolders.some((folder) => path === folder || path.startsWith(`${folder}/`));
}

const systemFolders = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/nix/store'];

function wrapInUnshare(plan: Plan): Command {
  const { user } = plan;
  const uid = user?.uid ?? 1_000;
  const inside = user
    ? becomeUser(user)
    : ['unshare', '--user', '--map-user=1000', '--map-group=1000', 'setpriv', '--no-new-privs', '--'];
  return {
    argv: [
      ...['setpriv', '--pdeathsig', 'KILL', '--', 'unshare', ...(user ? [] : ['--user', '--map-root-user'])],
      ...[
        '--mount',
        '--pid',
        '--fork',
        '--ipc',
        '--uts',
        '--kill-child',
        '--',
        'sh',
        '-c',
        unshareRoot,
        'sandbox',
      ],
      ...[
        plan.scriptsDir,
        String(plan.limits.tmpBytes),
        String(uid),
        systemFolders.join(' '),
        etcPaths.join(' '),
      ],
      ...[String(plan.readOnlyPaths.length), ...plan.readOnlyPaths],
      ...inside,
      ...plan.command,
    ],
    cwd: '/',
    files: [],
  };
}

function wrapPlainly(plan: Plan, setpriv: boolean): Command {
  return {
    argv: [...(setpriv ? ['setpriv', '--no-new-privs', '--pdeathsig', 'KILL', '--'] : []), ...plan.command],
    cwd: plan.scriptsDir,
    ...(plan.user ? { user: plan.user } : {}),
    files: [],
  };
}

function becomeUser({ uid, gid }: ScriptUser): string[] {
  return [
    ...[
      'setpriv',
      `--reuid=${uid}`,
      `--regid=${gid}`,
      '--clear-groups',
      '--inh-caps=-all',
      '--bounding-set=-all',
    ],
    ...['--no-new-privs', '--'],
  ];
}

/** Undefined when a shell in it sees what it should; else what went wrong, for the operator. */
async function probe(isolation: Isolation, probeDir: string): Promise<string | undefined> {
  const scriptsDir = await mkdtemp(join(probeDir, 'probe-'));
  return runProbe(isolation, scriptsDir).finally(() => rm(scriptsDir, { recursive: true, force: true }));
}

async function runProbe(isolation: Isolation, scriptsDir: string): Promise<string | undefined> {
  await chmod(scriptsDir, 0o1777);
  for (const name of ['index.py', 'input']) await writeFile(join(scriptsDir, name), '', { mode: 0o444 });
  const { stdout, stderr } = await runCommand(
    isolation.wrap({
      command: [
        '/bin/sh',
        '-c',
        'id -u; pwd; touch made && test -r index.py && echo folder; test -d /usr && echo done',
      ],
      scriptsDir,
      scriptFile: 'index.py',
      readOnlyPaths: [],
      user: scriptUser(),
      limits: { memoryBytes: 0, cpus: 1, pids: 16, openFiles: 64, fileBytes: 0, tmpBytes: 1_048_576 },
      home: scriptsDir,
    }),
  );
  const [uid, folder, ...rest] = stdout.trim().split('\n');
  const right =
    rest.join() === 'folder,done' &&
    (!isRoot() || uid !== '0') &&
    folder === (isolation.ownFiles ? '/scripts' : scriptsDir);
  if (!right)
    return `${stderr.trim().split('\n').at(-1) || `a probe answered "${stdout.trim().replaceAll('\n', ' ')}"`}.`;
  return (await isThere(join(scriptsDir, 'made'))) ? undefined : 'a file made inside was not seen outside.';
}

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

async function firstLine(argv: string[]): Promise<string> {
  const { stdout } = await runCommand({ argv, cwd: '/', files: [] });
  return stdout.split('\n')[0] ?? '';
}

/** Starts a wrapped command: descriptor 0 is `stdin`, 3 is a socket to its launcher, the rest is `files`. */
export function spawnCommand(command: Command, stdin: number | 'ignore') {
  const [program = '', ...args] = command.argv;
  const child = spawn(program, args, {
    cwd: command.cwd,
    // The tools themselves need no more; the script's environment comes with its launch.
    env: { PATH: systemPath, LANG: 'C.UTF-8' },
    stdio: [stdin, 'pipe', 'pipe', 'pipe', ...command.files.map(() => 'pipe' as const)],
    // A session of its own: a Ctrl-C at the starter's terminal is not for the scripts.
    detached: true,
    ...(command.user ? { uid: command.user.uid, gid: command.user.gid } : {}),
  });
  command.files.forEach((content, index) => {
    const pipe = child.stdio[4 + index] as NodeJS.WritableStream | null | undefined;
    pipe?.on('error', () => {}); // the child died first, which its end tells
    pipe?.end(content);
  });
  return child;
}

function runCommand(command: Command): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawnCommand(command, 'ignore');
    const text = { stdout: '', stderr: '' };
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    const finish = (more = '') => {
      clearTimeout(timer);
      resolve({ ...text, stderr: text.stderr + more });
    };
    child.stdout?.on('data', (chunk: Buffer) => (text.stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (text.stderr += chunk.toString()));
    (child.stdio[3] as NodeJS.ReadableStream | null | undefined)?.resume();
    child.once('error', (error) => finish(`${command.argv[0]} could not be started (${error.message})`));
    child.once('close', () => finish());
  });
}
