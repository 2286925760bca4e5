/**
 * Settings come from the environment and from nowhere else. A table declares each one once: its native name, the
 * names the original pipeline used for it, kind, unit, default and meaning. Reading collects every problem before it
 * gives up, so that an operator mends a file once; `docs/settings.md` is written from the same tables.
 */

type Kind =
  | { kind: 'text'; default?: string }
  | { kind: 'secret'; default?: undefined }
  | { kind: 'integer'; min: number; max: number; default?: number }
  | { kind: 'number'; min: number; max: number; default?: number }
  | { kind: 'bytes'; min: number; default?: number }
  | { kind: 'url'; default?: string }
  | { kind: 'urls'; default?: readonly string[] }
  | { kind: 'list'; default?: readonly string[] }
  | { kind: 'choice'; choices: readonly string[]; default?: string }
  | { kind: 'flag'; default: boolean };

export type Setting = Kind & {
  /** Native name, `STADION_…`. */
  name: string;
  /** Names that mean the same, the original pipeline's among them. */
  aliases?: readonly string[];
  unit?: string;
  /** One or two sentences for an operator. */
  meaning: string;
  /** Refuses to start without it. */
  required?: boolean;
  /** Refuses to start without it and without the other one, which is named here. */
  requiredUnless?: string;
  /** What the default is called in the documentation when it is not a plain value. */
  defaultText?: string;
  /** Refuses a value that parses but must not be used; answers what is wrong with it, one sentence for each thing. */
  refuse?: (value: string) => string | readonly string[] | undefined;
  /** Other words for some of its choices, in small letters. */
  synonyms?: Readonly<Record<string, string>>;
};

export type SettingsTable = Readonly<Record<string, Setting>>;

type Parsed<S extends Setting> = S['kind'] extends 'integer' | 'number' | 'bytes'
  ? number
  : S['kind'] extends 'flag'
    ? boolean
    : S['kind'] extends 'list' | 'urls'
      ? readonly string[]
      : S extends { choices: readonly (infer Choice)[] }
        ? Choice
        : string;

type IsGiven<S extends Setting> = S extends { required: true }
  ? true
  : S extends { default: string | number | boolean | readonly string[] }
    ? true
    : false;

export type Settings<T extends SettingsTable> = {
  [Name in keyof T]: IsGiven<T[Name]> extends true ? Parsed<T[Name]> : Parsed<T[Name]> | undefined;
};

export type Environment = Readonly<Record<string, string | undefined>>;

/** Every problem of an environment in one error, one line each. */
export class SettingsError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(
      `These settings must be mended before Stadion can start:\n${problems.map((p) => `  - ${p}`).join('\n')}`,
    );
    this.name = 'SettingsError';
  }
}

/**
 * Reads a table from an environment. `check` sees the parsed settings and answers the contradictions among them.
 * Throws `SettingsError` with all problems.
 */
export function readSettings<const T extends SettingsTable>(
  table: T,
  environment: Environment,
  check: (settings: Settings<T>) => string[] = () => [],
): Settings<T> {
  const problems: string[] = [];
  const settings: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries<Setting>(table)) {
    const given = findValue(setting, environment, problems);
    if (given === undefined) {
      const replaced = setting.requiredUnless && environment[setting.requiredUnless]?.trim();
      if (setting.required || (setting.requiredUnless && !replaced))
        problems.push(`${setting.name} is required: ${setting.meaning}`);
      settings[key] = setting.default;
      continue;
    }
    const refusals = [setting.refuse?.(given.value) ?? []].flat();
    if (refusals.length > 0) problems.push(...refusals.map((refusal) => `${given.name} ${refusal}`));
    else settings[key] = parse(setting, given, problems);
  }
  if (problems.length === 0) problems.push(...check(settings as Settings<T>));
  if (problems.length > 0) throw new SettingsError(problems);
  return settings as Settings<T>;
}

interface Given {
  name: string;
  value: string;
}

function findValue(setting: Setting, environment: Environment, problems: string[]): Given | undefined {
  const given: Given[] = [];
  for (const name of [setting.name, ...(setting.aliases ?? [])]) {
    const value = environment[name]?.trim();
    if (value) given.push({ name, value });
  }
  const [first, ...others] = given;
  const other = others.find(({ value }) => value !== first?.value);
  if (first && other) {
    problems.push(`${first.name} and ${other.name} mean the same and are set to different values; keep one`);
  }
  return first;
}

function parse(setting: Setting, { name, value }: Given, problems: string[]): unknown {
  const refuse = (expected: string) => {
    const shown = setting.kind === 'secret' ? '' : `, not ${JSON.stringify(value)}`;
    problems.push(`${name} must be ${expected}${shown}`);
    return undefined;
  };
  switch (setting.kind) {
    case 'text':
    case 'secret':
      return value;
    case 'integer':
    case 'number': {
      const number = /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : NaN;
      const fits = number >= setting.min && number <= setting.max;
      if (fits && (setting.kind === 'number' || Number.isInteger(number))) return number;
      const noun = setting.kind === 'integer' ? 'a whole number' : 'a number';
      return refuse(`${noun} of ${setting.unit ?? 'units'} from ${setting.min} to ${setting.max}`);
    }
    case 'bytes': {
      const bytes = parseBytes(value);
      return bytes !== undefined && bytes >= setting.min
        ? bytes
        : refuse(`a size of at least ${formatBytes(setting.min)} like 512m, 1g or 1073741824`);
    }
    case 'url':
      return isHttpUrl(value) ? value.replace(/\/+$/, '') : refuse('an http:// or https:// address');
    case 'urls': {
      const urls = splitList(value).map((url) => url.replace(/\/+$/, ''));
      return urls.every(isHttpUrl) ? urls : refuse('a list of http:// or https:// addresses');
    }
    case 'list':
      return splitList(value);
    case 'choice':
      return choiceOf(setting, value) ?? refuse(`one of ${setting.choices.join(', ')}`);
    case 'flag': {
      const word = value.toLowerCase();
      if (['1', 'true', 'yes', 'on'].includes(word)) return true;
      if (['0', 'false', 'no', 'off'].includes(word)) return false;
      return refuse('true or false');
    }
  }
}

/** Upper or lower case does not matter. */
function choiceOf(
  { choices, synonyms = {} }: { choices: readonly string[]; synonyms?: Readonly<Record<string, string>> },
  value: string,
): string | undefined {
  const word = value.toLowerCase();
  const choice = Object.hasOwn(synonyms, word) ? synonyms[word] : word;
  return choices.find((one) => one.toLowerCase() === choice);
}

function splitList(value: string): string[] {
  return value
    .split(/[\s,]+/)
    .map((item) => item.trim())
    .filter(Boolean);
}

function isHttpUrl(value: string): boolean {
  return URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
}

/** Docker's way of writing sizes: a number of bytes, or with k, m or g behind it (powers of 1024). */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)i?b?$/i.exec(text.trim());
  if (!match) return undefined;
  const factor = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[match[2]!.toLowerCase()]!;
  return Math.floor(Number(match[1]) * factor);
}

/** 1073741824 → "1 GiB". */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toFixed(2))} ${units[unit]}`;
}

/** One Markdown table row per setting. */
export function describeSettings(table: SettingsTable): string {
  const rows = Object.values(table).map((setting) => {
    const aliases = setting.aliases?.map((alias) => `\`${alias}\``).join(', ') ?? '';
    return `| \`${setting.name}\` | ${aliases} | ${defaultOf(setting)} | ${setting.unit ?? kindText(setting)} | ${setting.meaning.replaceAll('|', '\\|')} |`;
  });
  return [
    '| setting | also accepted | default | unit | meaning |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}

function defaultOf(setting: Setting): string {
  if (setting.defaultText) return setting.defaultText;
  if (setting.required) return '**required**';
  if (setting.requiredUnless) return `**required** unless \`${setting.requiredUnless}\` is set`;
  if (setting.default === undefined) return 'none';
  if (setting.kind === 'bytes') return formatBytes(setting.default as number);
  const value = Array.isArray(setting.default) ? setting.default.join(',') : String(setting.default);
  return value === '' ? 'none' : `\`${value}\``;
}

function kindText(setting: Setting): string {
  if (setting.kind === 'choice') return setting.choices.join(' / ');
  return { flag: 'true / false', urls: 'list of URLs', url: 'URL' }[setting.kind as string] ?? setting.kind;
}
