import { versionWarnings } from './engine-versions.js';

const named = (docker: string | undefined, runc: string | undefined) =>
  versionWarnings({ docker, runc }).map((warning) => /CVE-[\d-]+/.exec(warning)?.[0]);

test.each([
  ['1.1.5+ds1', ['CVE-2024-21626', 'CVE-2025-31133']],
  ['1.1.11', ['CVE-2024-21626', 'CVE-2025-31133']],
  ['1.1.12', ['CVE-2025-31133']],
  ['1.2.7', ['CVE-2025-31133']],
  ['1.2.8', []],
  ['1.3.0', ['CVE-2025-31133']],
  ['1.3.2', ['CVE-2025-31133']],
  ['1.3.3', []],
  ['1.4.0-rc.1', ['CVE-2025-31133']],
  ['1.4.0-rc.3', []],
  ['1.4.0', []],
  ['v1.5.1', []],
  ['2.0.0', []],
  ['a development build', []],
])('runc %s is warned of %p', (version, ids) => {
  expect(named(undefined, version)).toEqual(ids);
});

test.each([
  ['20.10.24+dfsg1', true],
  ['25.0.5', true],
  ['25.0.6', false],
  ['26.0.2', true],
  ['26.1.4', true],
  ['26.1.5', false],
  ['27.1.0', true],
  ['27.1.1', false],
  ['28.2.2', false],
])('Docker %s: CVE-2024-41110 is warned of: %p', (version, warned) => {
  expect(named(version, undefined)).toEqual(warned ? ['CVE-2024-41110'] : []);
});

test('a warning says what to do', () => {
  expect(versionWarnings({ docker: undefined, runc: '1.1.5' })[0]).toMatch(/update it to 1\.1\.12 or newer/);
});
