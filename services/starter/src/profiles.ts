/**
 * Runner profiles: each a name for an image, a language and limits. Two are there without being asked for, `python` and
 * `node`, made of the settings; a file of JSON (`STADION_PROFILES`) changes those and adds others. A run names its profile
 * or gets the one called like its language. What a sandbox then makes of it is the executor's work.
 */
import { readFile } from 'node:fs/promises';
import { messageOf, parseBytes, SettingsError } from '@stadion/service-kit';
import { z } from 'zod';
import type { StarterSettings } from './config.js';
import type { SandboxLimits, SandboxProfile } from './executors/executor.js';
import {
  defaultScriptFile,
  languageOf,
  languages,
  type Language,
  type ScriptFile,
  scriptFileOf,
} from './script-file.js';

export interface RunnerProfile extends SandboxProfile {
  limits: SandboxLimits;
  /** Seconds; a run may ask for less. */
  timeLimitS: number;
}

const mebibyte = 1024 ** 2;

const size = (min: number) =>
  z.union([z.number(), z.string()]).transform((given, context) => {
    const bytes = typeof given === 'number' ? given : parseBytes(given);
    if (bytes !== undefined && Number.isSafeInteger(bytes) && bytes >= min) return bytes;
    context.addIssue({
      code: 'custom',
      message: `must be a size of at least ${min} bytes, like "512m" or "1g"`,
    });
    return z.NEVER;
  });

const whole = (min: number, max: number) => z.int().min(min).max(max);

/** What one profile may say; everything is optional in a profile that changes a built-in one. */
const profileInFile = z.strictObject({
  language: z.enum(languages),
  image: z
    .string()
    .min(1)
    .max(512)
    .regex(/^[a-z0-9][\w.:/@-]*$/i, 'must be the name of an image'),
  protocol: z.enum(['stadion', 'original']),
  memory: size(16 * mebibyte),
  cpus: z.number().min(0.01).max(1024),
  pids: whole(8, 100_000),
  open_files: whole(32, 1_048_576),
  file_size: size(mebibyte),
  tmp_size: size(mebibyte),
  time_limit: whole(1, 86_400),
  network: z
    .string()
    .regex(/^(?!(host|default)$)[A-Za-z0-9][\w.-]{0,127}$/, 'must be a bridge network, or "none"'),
  runtime: z
    .string()
    .regex(/^[\w.-]{1,128}$/, 'must be the name of a container runtime')
    .nullable(),
});

const profileName = z
  .string()
  .regex(
    /^[a-z][a-z0-9_-]{0,63}$/,
    'a profile has a name of small letters, digits, - and _, and begins with a letter',
  );

const profilesFile = z.record(profileName, profileInFile.partial());
type ProfilesFile = z.output<typeof profilesFile>;

/** Reads the file that the settings name, if any. Throws `SettingsError` with every problem, each with its place. */
export async function readProfiles(settings: StarterSettings): Promise<Profiles> {
  if (!settings.profilesFile) return new Profiles(builtInProfiles(settings));
  let content: unknown;
  try {
    content = JSON.parse(await readFile(settings.profilesFile, 'utf8'), refuseProto);
  } catch (error) {
    throw new SettingsError([
      `STADION_PROFILES: ${settings.profilesFile} cannot be read: ${messageOf(error)}`,
    ]);
  }
  return profilesFrom(settings, content);
}

/** The schema would pass over it, and what a file says must not be passed over. */
function refuseProto(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new Error('"__proto__" is the name of nothing');
  return value;
}

/** Like `readProfiles`, from what the file says. */
export function profilesFrom(settings: StarterSettings, content: unknown): Profiles {
  const parsed = profilesFile.safeParse(content);
  if (!parsed.success) throw new SettingsError(parsed.error.issues.flatMap(describeIssue));
  const builtIn = builtInProfiles(settings);
  const problems: string[] = [];
  const given = Object.entries(parsed.data).map(([name, said]) => {
    const base = builtIn.find((one) => one.name === name);
    for (const field of base ? [] : (['language', 'image'] as const)) {
      if (said[field] === undefined) problems.push(`STADION_PROFILES: ${name}.${field} is required`);
    }
    const profile = merged(base ?? { ...builtIn[0], name }, said);
    problems.push(...contradictionsOf(profile, base, settings).map((words) => `STADION_PROFILES: ${words}`));
    return profile;
  });
  if (problems.length > 0) throw new SettingsError(problems);
  const changed = builtIn.map((one) => given.find(({ name }) => name === one.name) ?? one);
  return new Profiles([...changed, ...given.filter((one) => !changed.includes(one))]);
}

type BuiltIn = [python: RunnerProfile, node: RunnerProfile];

export function builtInProfiles(settings: StarterSettings): BuiltIn {
  const { memoryBytes, cpus, pids, openFiles, fileBytes, tmpBytes, timeLimitS } = settings;
  const common = {
    limits: { memoryBytes, cpus, pids, openFiles, fileBytes, tmpBytes },
    timeLimitS,
    network: settings.network,
    runtime: settings.runtime ?? null,
  };
  return [
    {
      ...common,
      name: 'python',
      language: 'python',
      image: settings.runnerImage,
      protocol: settings.runnerProtocol,
    },
    { ...common, name: 'node', language: 'node', image: settings.nodeRunnerImage, protocol: 'stadion' },
  ];
}

function merged(base: RunnerProfile, said: ProfilesFile[string]): RunnerProfile {
  const { limits } = base;
  return {
    name: base.name,
    language: said.language ?? base.language,
    image: said.image ?? base.image,
    // Not inherited by another image: whether one speaks our protocol is a fact of that image.
    protocol: said.protocol ?? (said.image === undefined ? base.protocol : 'stadion'),
    limits: {
      memoryBytes: said.memory ?? limits.memoryBytes,
      cpus: said.cpus ?? limits.cpus,
      pids: said.pids ?? limits.pids,
      openFiles: said.open_files ?? limits.openFiles,
      fileBytes: said.file_size ?? limits.fileBytes,
      tmpBytes: said.tmp_size ?? limits.tmpBytes,
    },
    timeLimitS: said.time_limit ?? base.timeLimitS,
    network: said.network ?? base.network,
    runtime: said.runtime === undefined ? base.runtime : said.runtime,
  };
}

function contradictionsOf(
  profile: RunnerProfile,
  builtIn: RunnerProfile | undefined,
  settings: StarterSettings,
): string[] {
  const { name, limits } = profile;
  const problems: string[] = [];
  if (limits.tmpBytes > limits.memoryBytes) {
    problems.push(`${name}.tmp_size must not exceed its memory: /tmp lies in memory`);
  }
  // The scheduler gives a run up after its own limit, so a longer one here would be a promise that nobody keeps.
  if (profile.timeLimitS > settings.timeLimitS) {
    problems.push(`${name}.time_limit must not exceed STADION_TIME_LIMIT (${settings.timeLimitS} seconds)`);
  }
  if (builtIn && profile.language !== builtIn.language) {
    problems.push(
      `${name}.language must be "${builtIn.language}": the profile of that name is that language's`,
    );
  }
  if (profile.protocol === 'original' && profile.language !== 'python') {
    problems.push(
      `${name}.protocol can be "original" for python only: the original pipeline had no other language`,
    );
  }
  return problems;
}

function describeIssue(issue: z.core.$ZodIssue): string[] {
  const path = issue.path.map(String).join('.');
  const at = `STADION_PROFILES${path === '' ? '' : `: ${path}`}`;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${path === '' ? at : `${at}.${key}`} is no field of a profile`);
  }
  if (issue.code === 'invalid_key') return issue.issues.map((one) => `${at}: ${one.message}`);
  return [`${at}: ${issue.message}`];
}

/** What decides the profile of a run. */
export interface ProfileWish {
  profile?: string | undefined;
  scriptName?: string | undefined;
  scriptUrl?: string | undefined;
}

export type ProfileChoice =
  | { kind: 'chosen'; profile: RunnerProfile; scriptFile: ScriptFile }
  /** A sentence for the script's owner. */
  | { kind: 'unknown'; sentence: string };

export class Profiles {
  constructor(readonly all: readonly RunnerProfile[]) {}

  /** By name, else by language; a script whose name tells no language is Python. */
  choose(wish: ProfileWish): ProfileChoice {
    const told = scriptFileOf(wish.scriptName, wish.scriptUrl);
    const name = wish.profile ?? (told === undefined ? 'python' : languageOf(told));
    const profile = this.all.find((one) => one.name === name);
    if (!profile) {
      const known = this.all.map((one) => one.name).sort();
      return {
        kind: 'unknown',
        sentence: `There is no runner profile ${JSON.stringify(name)}; known are ${known.join(', ')}.`,
      };
    }
    return { kind: 'chosen', profile, scriptFile: scriptFileIn(profile.language, told) };
  }
}

/** A profile that was named wins over the script's name. */
function scriptFileIn(language: Language, told: ScriptFile | undefined): ScriptFile {
  return told !== undefined && languageOf(told) === language ? told : defaultScriptFile(language);
}
