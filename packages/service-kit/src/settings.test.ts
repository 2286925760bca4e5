import { describeSettings, parseBytes, readSettings, SettingsError, type SettingsTable } from './settings.js';

const table = {
  port: {
    name: 'STADION_PORT',
    aliases: ['PORT'],
    kind: 'integer',
    min: 0,
    max: 65_535,
    default: 5055,
    meaning: 'Port.',
  },
  token: {
    name: 'STADION_AUTH_TOKEN',
    aliases: ['PYTHON_SCHEDULER_AUTH_TOKEN'],
    kind: 'secret',
    required: true,
    meaning: 'The shared secret.',
    refuse: (value) => (value.length < 8 ? 'is too short' : undefined),
  },
  urls: { name: 'STADION_URLS', kind: 'urls', default: [], meaning: 'Addresses.' },
  memory: { name: 'STADION_MEMORY', kind: 'bytes', min: 1024, default: 1024 ** 3, meaning: 'Memory.' },
  executor: {
    name: 'STADION_EXECUTOR',
    kind: 'choice',
    choices: ['docker', 'process'],
    default: 'docker',
    meaning: 'Executor.',
  },
  loud: { name: 'STADION_LOUD', kind: 'flag', default: false, meaning: 'Loud.' },
} as const satisfies SettingsTable;

const good = { STADION_AUTH_TOKEN: 'long-enough' };

function problemsOf(environment: Record<string, string>): readonly string[] {
  try {
    readSettings(table, environment);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe('settings', () => {
  it('take their default when nothing is set, and treat an empty value as nothing', () => {
    expect(readSettings(table, { ...good, STADION_PORT: '  ' })).toEqual({
      port: 5055,
      token: 'long-enough',
      urls: [],
      memory: 1024 ** 3,
      executor: 'docker',
      loud: false,
    });
  });

  it("accept the original pipeline's names", () => {
    const settings = readSettings(table, { PYTHON_SCHEDULER_AUTH_TOKEN: 'long-enough', PORT: '0' });
    expect(settings).toMatchObject({ token: 'long-enough', port: 0 });
  });

  it('refuse two names for the same thing with different values, and accept them with the same', () => {
    expect(problemsOf({ ...good, STADION_PORT: '1', PORT: '2' })).toEqual([
      'STADION_PORT and PORT mean the same and are set to different values; keep one',
    ]);
    expect(problemsOf({ ...good, STADION_PORT: '1', PORT: '1' })).toEqual([]);
  });

  it('list every problem at once, each with its name and never with a secret', () => {
    const problems = problemsOf({
      STADION_AUTH_TOKEN: 'hush',
      STADION_PORT: '70000',
      STADION_URLS: 'http://ok, ftp://no',
      STADION_MEMORY: '5 apples',
      STADION_EXECUTOR: 'rocket',
      STADION_LOUD: 'maybe',
    });
    expect(problems).toHaveLength(6);
    for (const name of ['AUTH_TOKEN', 'PORT', 'URLS', 'MEMORY', 'EXECUTOR', 'LOUD']) {
      expect(problems.filter((problem) => problem.startsWith(`STADION_${name} `))).toHaveLength(1);
    }
    expect(problems.join()).not.toContain('hush');
  });

  it('name a required setting that is missing', () => {
    expect(problemsOf({})).toEqual(['STADION_AUTH_TOKEN is required: The shared secret.']);
  });

  it('are checked against each other once each is fine alone', () => {
    const check = () => ['two of them disagree'];
    expect(() => readSettings(table, good, check)).toThrow('two of them disagree');
    expect(() => readSettings(table, {}, check)).not.toThrow('two of them disagree');
  });

  it.each([
    ['1g', 1024 ** 3],
    ['512m', 512 * 1024 ** 2],
    ['1.5k', 1536],
    ['100', 100],
    ['1GiB', 1024 ** 3],
    ['', undefined],
    ['-1', undefined],
    ['1t', undefined],
  ])('read the size %j as %j bytes', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  it('are described with names, default, unit and meaning', () => {
    const page = describeSettings(table);
    expect(page).toContain('| `STADION_PORT` | `PORT` | `5055` | integer | Port. |');
    expect(page).toContain('| `STADION_MEMORY` |  | 1 GiB | bytes | Memory. |');
    expect(page).toContain('**required**');
  });
});
