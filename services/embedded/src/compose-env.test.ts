import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SettingsTable } from '@stadion/service-kit';
import { schedulerTable } from '@stadion/scheduler';
import { starterSettings } from '@stadion/starter';
import { aliasesOf, composeEnvExample, readByCompose, setByCompose } from './compose-env.js';

const read = (name: string) => readFileSync(join(process.cwd(), name), 'utf8');
const composeFile = read('docker-compose.yml');

it('.env.example is what the tables say (write it with `npm run docs:settings`)', () => {
  expect(read('.env.example')).toBe(composeEnvExample());
});

it.each<[string, SettingsTable]>([
  ['scheduler', schedulerTable],
  ['starter', starterSettings],
])('docker-compose.yml gives every setting of the %s to its container', (service, table) => {
  const given = namesGivenTo(service);
  const missing = Object.values(table)
    .map(({ name }) => name)
    .filter((name) => !given.has(name));
  expect(missing).toEqual([]);
});

/** Both services', those of the same name twice: each may have names of its own. */
const allSettings: SettingsTable[string][] = [schedulerTable, starterSettings].flatMap((table) =>
  Object.values<SettingsTable[string]>(table),
);

it('the compose file of a starter on a machine of its own gives it every setting but the shared secret', () => {
  const given = namesGivenTo('starter', read('deploy/two-machines/starter.compose.yml'));
  const missing = Object.values(starterSettings)
    .map(({ name }) => name)
    .filter((name) => !given.has(name));
  expect(missing.sort()).toEqual(['STADION_AUTH_TOKEN', 'STADION_ORIGINAL_SCHEDULER_URL']);
});

it('docker-compose.yml gives nothing to a service that it does not read', () => {
  for (const [service, table] of Object.entries<SettingsTable>({
    scheduler: schedulerTable,
    starter: starterSettings,
  })) {
    const known = new Set(Object.values(table).flatMap(({ name, aliases = [] }) => [name, ...aliases]));
    expect([...namesGivenTo(service)].filter((name) => !known.has(name))).toEqual([]);
  }
});

it("passes on the original pipeline's names of what it does not set itself", () => {
  const given = new Set([...namesGivenTo('scheduler'), ...namesGivenTo('starter')]);
  const missing = allSettings
    .filter(({ name }) => !setByCompose.has(name) && !readByCompose(name))
    .flatMap(({ name }) => aliasesOf(name))
    .filter((alias) => !given.has(alias));
  expect(missing).toEqual([]);
});

it('every variable of docker-compose.yml is in .env.example, with the same default', () => {
  const example = composeEnvExample();
  const used = [...composeFile.matchAll(/\$\{([A-Z_]+)(?::(-|\?)([^}]*))?\}/g)];
  expect(used.length).toBeGreaterThan(20);
  for (const [, name, kind, value] of used) {
    expect(example).toMatch(
      kind === '?' ? new RegExp(`^${name}=$`, 'm') : new RegExp(`^# ${name}=${value}$`, 'm'),
    );
  }
  const settings = [schedulerTable, starterSettings].flatMap((table: SettingsTable) => Object.values(table));
  const aliases = new Set(settings.flatMap(({ aliases = [] }) => aliases));
  const passed = [...composeFile.matchAll(/^ +([A-Z_]+):$/gm)].map(([, name]) => name!);
  for (const name of passed.filter((one) => !aliases.has(one)))
    expect(example).toMatch(new RegExp(`^# ${name}=`, 'm'));
});

/** Names in a service's `environment`, the shared ones among them. */
function namesGivenTo(service: string, file = composeFile): Set<string> {
  const block = new RegExp(
    `^  ${service}:\\n(?:(?: {4}.*)?\\n)*?    environment:\\n((?: {6}.*\\n)+)`,
    'm',
  ).exec(file);
  if (!block) throw new Error(`the compose file has no environment of ${service}`);
  const shared = /^x-shared-settings:.*\n((?: {2}.*\n)+)/m.exec(file)?.[1] ?? '';
  const names = `${shared}${block[1]}`.matchAll(/^ +([A-Z_]+):/gm);
  return new Set([...names].map(([, name]) => name!));
}
