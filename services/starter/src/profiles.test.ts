import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SettingsError } from '@stadion/service-kit';
import { readStarterSettings } from './config.js';
import { profilesFrom, readProfiles, type ProfileWish } from './profiles.js';

const mebibyte = 1024 ** 2;

const settingsWith = (env: Record<string, string> = {}) =>
  readStarterSettings({
    STADION_SCHEDULER_URL: 'http://scheduler:5055',
    STADION_AUTH_TOKEN: 'a-long-Secret-for-tests-0123456789',
    STADION_HOST_URL: 'http://host',
    STADION_RUNNER_IMAGE: 'example/python:1',
    STADION_NODE_RUNNER_IMAGE: 'example/node:1',
    STADION_MEMORY: '512m',
    STADION_NETWORK: 'scripts',
    ...env,
  });
const profilesOf = (content: unknown, env: Record<string, string> = {}) =>
  profilesFrom(settingsWith(env), content);
const problemsOf = (content: unknown, env: Record<string, string> = {}) => {
  try {
    profilesOf(content, env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
};
const chosen = (content: unknown, wish: ProfileWish) => {
  const choice = profilesOf(content).choose(wish);
  return choice.kind === 'chosen' ? [choice.profile.name, choice.scriptFile] : choice.sentence;
};

describe('the profiles of a starter', () => {
  it('are python and node, made of the settings, when there is no file', async () => {
    const { all } = await readProfiles(settingsWith({ STADION_RUNTIME: 'runsc', STADION_PIDS: '99' }));
    const common = { network: 'scripts', runtime: 'runsc', timeLimitS: 900 };
    expect(all).toEqual([
      {
        ...common,
        name: 'python',
        language: 'python',
        image: 'example/python:1',
        protocol: 'stadion',
        limits: expect.objectContaining({ memoryBytes: 512 * mebibyte, pids: 99 }),
      },
      {
        ...common,
        name: 'node',
        language: 'node',
        image: 'example/node:1',
        protocol: 'stadion',
        limits: expect.objectContaining({ memoryBytes: 512 * mebibyte, pids: 99 }),
      },
    ]);
  });

  it('come from the file, on top of the settings', () => {
    const { all } = profilesOf({
      python: { memory: '2g' },
      science: {
        language: 'python',
        image: 'example/science:3',
        cpus: 4,
        time_limit: 60,
        network: 'none',
        tmp_size: mebibyte,
        runtime: null,
      },
    });
    expect(all.map(({ name }) => name)).toEqual(['python', 'node', 'science']);
    const of = (name: string) => all.find((one) => one.name === name);
    expect(of('python')).toMatchObject({
      image: 'example/python:1',
      limits: { memoryBytes: 2048 * mebibyte, pids: 128 },
    });
    expect(of('science')).toEqual({
      name: 'science',
      language: 'python',
      image: 'example/science:3',
      protocol: 'stadion',
      network: 'none',
      runtime: null,
      timeLimitS: 60,
      limits: expect.objectContaining({ memoryBytes: 512 * mebibyte, cpus: 4, tmpBytes: mebibyte }),
    });
  });

  it('of another image do not inherit that the first one was made for the original pipeline', () => {
    const env = { STADION_RUNNER_PROTOCOL: 'original' };
    const { all } = profilesOf({ other: { language: 'python', image: 'example/other' } }, env);
    expect(all.map(({ name, protocol }) => [name, protocol])).toEqual([
      ['python', 'original'],
      ['node', 'stadion'],
      ['other', 'stadion'],
    ]);
  });

  it('are refused with every problem of the file, each with its place', () => {
    expect(
      problemsOf({
        Bad: {},
        python: { memory: '1 hen', cpus: 0, color: 'red' },
        node: { network: 'host' },
        science: { language: 'r', image: '--privileged', time_limit: 1.5 },
      }),
    ).toEqual([
      expect.stringMatching(/^STADION_PROFILES: Bad: a profile has a name of small letters/),
      expect.stringMatching(/^STADION_PROFILES: python\.memory: must be a size/),
      expect.stringMatching(/^STADION_PROFILES: python\.cpus: /),
      'STADION_PROFILES: python.color is no field of a profile',
      expect.stringMatching(/^STADION_PROFILES: node\.network: must be a bridge network, or "none"/),
      expect.stringMatching(/^STADION_PROFILES: science\.language: .*"python".*"node"/),
      expect.stringMatching(/^STADION_PROFILES: science\.image: must be the name of an image/),
      expect.stringMatching(/^STADION_PROFILES: science\.time_limit: /),
    ]);
  });

  it('are refused when they contradict the settings or themselves', () => {
    expect(
      problemsOf(
        {
          small: { memory: '64m' },
          slow: { language: 'python', image: 'x', time_limit: 901 },
          node: { language: 'python' },
          old: { language: 'node', image: 'x', protocol: 'original' },
        },
        { STADION_TIME_LIMIT: '900' },
      ),
    ).toEqual([
      'STADION_PROFILES: small.language is required',
      'STADION_PROFILES: small.image is required',
      'STADION_PROFILES: small.tmp_size must not exceed its memory: /tmp lies in memory',
      'STADION_PROFILES: slow.time_limit must not exceed STADION_TIME_LIMIT (900 seconds)',
      'STADION_PROFILES: node.language must be "node": the profile of that name is that language\'s',
      'STADION_PROFILES: old.protocol can be "original" for python only: the original pipeline had no other language',
    ]);
  });

  it.each([[[]], ['x'], [null], [{ python: [] }]])('are not %j', (content) => {
    expect(problemsOf(content)).not.toEqual([]);
  });

  it('cannot come from a file that is missing or is no JSON', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'stadion-profiles-'));
    const file = join(folder, 'profiles.json');
    try {
      const reading = () => readProfiles(settingsWith({ STADION_PROFILES: file }));
      await expect(reading()).rejects.toThrow(`STADION_PROFILES: ${file} cannot be read: `);
      await writeFile(file, '{');
      await expect(reading()).rejects.toThrow(SettingsError);
      await writeFile(file, '{"__proto__": {"image": "x"}}');
      await expect(reading()).rejects.toThrow('"__proto__" is the name of nothing');
      await writeFile(file, '{"python": {"pids": 64}}');
      expect((await reading()).all.map(({ limits }) => limits.pids).sort()).toEqual([128, 64]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('the profile of a run', () => {
  const science = { science: { language: 'python', image: 'x' }, web: { language: 'node', image: 'y' } };

  it.each<[string, ProfileWish, string[]]>([
    ["the script's name", { scriptName: 'a.py' }, ['python', 'index.py']],
    ["the script's name", { scriptName: 'a.mjs' }, ['node', 'index.mjs']],
    ["the script's name", { scriptName: 'A.JS' }, ['node', 'index.js']],
    ["the script's name", { scriptName: 'a.cjs' }, ['node', 'index.js']],
    [
      'the name before the address',
      { scriptName: 'a.py', scriptUrl: 'http://h/b.mjs' },
      ['python', 'index.py'],
    ],
    [
      'the address when the name tells nothing',
      { scriptName: 'report', scriptUrl: 'http://h/b.mjs?x=.py' },
      ['node', 'index.mjs'],
    ],
    ['Python when neither tells', { scriptName: 'report', scriptUrl: 'http://h/' }, ['python', 'index.py']],
    ['Python when there is nothing', {}, ['python', 'index.py']],
    ['Python for a suffix that nobody knows', { scriptName: 'a.constructor' }, ['python', 'index.py']],
    ['the name of the profile', { profile: 'science', scriptName: 'a.py' }, ['science', 'index.py']],
    ["the profile's language over the name's", { profile: 'web', scriptName: 'a.py' }, ['web', 'index.mjs']],
    ["the profile's language, the name's form", { profile: 'web', scriptName: 'a.js' }, ['web', 'index.js']],
  ])('follows from %s: %j', (_, wish, wanted) => {
    expect(chosen(science, wish)).toEqual(wanted);
  });

  it('that is unknown is told together with the known ones', () => {
    expect(chosen(science, { profile: 'ruby"\n' })).toBe(
      'There is no runner profile "ruby\\"\\n"; known are node, python, science, web.',
    );
  });
});
