/**
 * The original's "other options": flags of `docker run` that it put before the image. Those that only choose limits,
 * network or names are translated into settings of ours; any that would give a script power over its machine is
 * refused, and so is what nobody here knows. Pure.
 */
import { isIP } from 'node:net';
import { parseBytes } from '@stadion/service-kit';

export interface RunnerOptions {
  memoryBytes?: number;
  cpus?: number;
  pids?: number;
  openFiles?: number;
  fileBytes?: number;
  network?: string;
  runtime?: string;
  runnerUid?: number;
  runnerGid?: number;
  dns: string[];
  /** `name:address` */
  extraHosts: string[];
}

export interface ParsedRunnerOptions {
  options: RunnerOptions;
  /** One sentence for each flag that cannot be had; each follows on the setting's name. */
  problems: string[];
}

/** A list of JSON strings, or words separated by spaces, as one would type them after `docker run`. */
export function parseRunnerOptions(text: string): ParsedRunnerOptions {
  const options: RunnerOptions = { dns: [], extraHosts: [] };
  const problems: string[] = [];
  const words = wordsOf(text);
  if (!words) return { options, problems: ['must be a JSON list of strings, or words separated by spaces'] };
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at]!;
    if (!word.startsWith('-')) {
      problems.push(`has ${JSON.stringify(word)}, which belongs to no option`);
      continue;
    }
    const [flag, inline] = splitFlag(word);
    let value = inline;
    const next = words[at + 1];
    if (value === undefined && !withoutValue.has(flag) && next !== undefined && !next.startsWith('-')) {
      value = next;
      at += 1;
    }
    const problem = take(flag, value, options);
    if (problem) problems.push(problem);
  }
  return { options, problems };
}

function wordsOf(text: string): string[] | undefined {
  const trimmed = text.trim();
  if (!trimmed.startsWith('[')) return trimmed.split(/\s+/).filter(Boolean);
  try {
    const list: unknown = JSON.parse(trimmed);
    if (!Array.isArray(list) || !list.every((item) => typeof item === 'string')) return undefined;
    // The original's own examples write a flag and its value as one item, or as two.
    return list.flatMap((item) => item.trim().split(/\s+/)).filter(Boolean);
  } catch {
    return undefined;
  }
}

function splitFlag(word: string): [flag: string, value: string | undefined] {
  const equals = word.indexOf('=');
  const flag = equals < 0 ? word : word.slice(0, equals);
  const shorthand: Record<string, string> = { '-m': '--memory', '-u': '--user', '--net': '--network' };
  return [
    Object.hasOwn(shorthand, flag) ? shorthand[flag]! : flag,
    equals < 0 ? undefined : word.slice(equals + 1),
  ];
}

const withoutValue = new Set(['--privileged', '--rm', '--read-only', '--init', '-d', '--detach', '-i', '-t']);

/** Already so, for every sandbox. */
const alwaysSo = new Set(['--rm', '--read-only', '--cap-drop', '--init']);

const powers: Readonly<Record<string, string>> = {
  '--privileged': 'it would make the script master of its machine',
  '--cap-add': 'it would give the script capabilities of root',
  '--device': 'it would give the script a device of its machine',
  '--device-cgroup-rule': 'it would give the script devices of its machine',
  '--gpus': 'it would give the script devices of its machine',
  '--volume': 'a script sees no folder but its own',
  '-v': 'a script sees no folder but its own',
  '--mount': 'a script sees no folder but its own',
  '--volumes-from': 'a script sees no folder but its own',
  '--pid': 'it would show the script the processes of others',
  '--ipc': 'it would let the script talk to processes of others',
  '--uts': "it would give the script its machine's name",
  '--userns': "it would end the script's separation from its machine's users",
  '--cgroupns': "it would show the script its machine's control groups",
  '--cgroup-parent': 'it would take the script out of its limits',
  '--sysctl': 'it would let the script change its kernel settings',
  '--group-add': 'a script belongs to its own group only',
  '--publish': 'nobody connects to a script',
  '-p': 'nobody connects to a script',
  '--publish-all': 'nobody connects to a script',
  '-P': 'nobody connects to a script',
  '--link': 'it would connect the script with another container',
  '--oom-kill-disable': 'it would let the script use all memory of its machine',
  '--oom-score-adj': 'it would let others be killed before the script',
  '--restart': 'a script runs once',
  '--entrypoint': 'the runner image has its own',
  '--name': 'a container is named by its attempt',
};

/** What is wrong with it; undefined when it was understood. */
function take(flag: string, value: string | undefined, options: RunnerOptions): string | undefined {
  const shown = value === undefined ? flag : `${flag}=${value}`;
  const wrong = (expected: string) => `has ${shown}: ${flag} must be ${expected}`;
  const refused = (reason: string) => `has ${shown}, which is refused: ${reason}`;
  if (Object.hasOwn(powers, flag)) return refused(powers[flag]!);
  if (alwaysSo.has(flag)) return undefined;
  switch (flag) {
    case '--memory': {
      const bytes = parseBytes(value ?? '');
      if (!bytes || bytes < 16 * 1024 ** 2) return wrong('a size of at least 16m, like 512m or 1g');
      options.memoryBytes = bytes;
      return undefined;
    }
    case '--memory-swap': {
      if (value !== undefined && parseBytes(value) === options.memoryBytes) return undefined;
      return refused(
        'memory and swap together are what --memory says; give it after --memory, as the same size',
      );
    }
    case '--cpus': {
      const cpus = numberOf(value);
      if (!(cpus >= 0.01 && cpus <= 1024)) return wrong('a number from 0.01 to 1024');
      options.cpus = cpus;
      return undefined;
    }
    case '--pids-limit': {
      const pids = numberOf(value);
      if (pids === -1 || pids === 0)
        return refused('without a limit one script could stop its whole machine');
      if (!(Number.isInteger(pids) && pids >= 8 && pids <= 100_000))
        return wrong('a whole number from 8 to 100000');
      options.pids = pids;
      return undefined;
    }
    case '--ulimit':
      return takeUlimit(value, options, wrong, refused);
    case '--network': {
      if (value === 'host' || value?.startsWith('container:')) {
        return refused('it would give the script the network of its machine, or of another container');
      }
      if (!value || value === 'default' || !/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(value)) {
        return wrong('the name of a bridge network, or none');
      }
      options.network = value;
      return undefined;
    }
    case '--runtime':
      if (!value || !/^[\w.-]{1,128}$/.test(value)) return wrong('the name of a container runtime');
      options.runtime = value;
      return undefined;
    case '--dns':
      if (!value || !isIP(value)) return wrong('an IP address');
      options.dns.push(value);
      return undefined;
    case '--add-host': {
      const [, name, address = ''] =
        /^([A-Za-z0-9][A-Za-z0-9.-]{0,252})[:=]\[?([^\]]*)\]?$/.exec(value ?? '') ?? [];
      if (!name || !isIP(address)) return wrong('like name:192.0.2.1, with an IP address');
      options.extraHosts.push(`${name}:${address}`);
      return undefined;
    }
    case '--user': {
      const [, uid, gid] = /^(\d+)(?::(\d+))?$/.exec(value ?? '') ?? [];
      if (uid === undefined)
        return wrong('numbers, like 1000:1000: a name means something else in each image');
      if (Number(uid) === 0 || Number(gid) === 0) return refused('scripts never run as root');
      options.runnerUid = Number(uid);
      if (gid !== undefined) options.runnerGid = Number(gid);
      return undefined;
    }
    case '--security-opt':
      if (/^no-new-privileges([:=]true)?$/.test(value ?? '')) return undefined;
      return refused("the engine's own protection around a script stays as it is");
    default:
      return `has ${shown}, which is not among the options that are known here`;
  }
}

function takeUlimit(
  value: string | undefined,
  options: RunnerOptions,
  wrong: (expected: string) => string,
  refused: (reason: string) => string,
): string | undefined {
  const [, name, soft, hard] = /^(\w+)=(\d+)(?::(\d+))?$/.exec(value ?? '') ?? [];
  if (!name) return wrong('like nofile=1024');
  if (hard !== undefined && hard !== soft)
    return refused('soft and hard limit are the same here; give one number');
  const limit = Number(soft);
  switch (name) {
    case 'nofile':
      if (!(limit >= 32 && limit <= 1_048_576)) return wrong('from 32 to 1048576 for nofile');
      options.openFiles = limit;
      return undefined;
    case 'fsize':
      if (limit < 1024 ** 2) return wrong('at least 1048576 for fsize');
      options.fileBytes = limit;
      return undefined;
    case 'core':
      return limit === 0 ? undefined : refused('a script leaves no core dump');
    default:
      return refused('only nofile and fsize can be chosen; processes are limited by --pids-limit');
  }
}

function numberOf(value: string | undefined): number {
  return value !== undefined && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : NaN;
}
