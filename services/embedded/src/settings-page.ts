/** The text of `docs/settings.md`, from the tables that the services read their settings by. */
import { describeSettings, type SettingsTable } from '@stadion/service-kit';
import { historyImportTable, schedulerTable } from '@stadion/scheduler';
import { starterSettings } from '@stadion/starter';
import { embeddedTable } from './config.js';

export function settingsPage(): string {
  return `# Settings

<!-- Written by \`npm run docs:settings\` from the tables in the code; do not edit. -->

Settings come from the environment. Each has a native name and may have others that mean the same, among them the
original pipeline's; the same setting under two names with different values stops the start. Every problem is
listed at once. Sizes may be written like \`512m\` or \`1g\`; lists are separated by commas or spaces.

## Scheduler

${describeSettings(schedulerTable)}

## Starter

${describeSettings(starterSettings)}

## Embedded mode

\`npm start\` reads the settings below, which mean what they mean above unless said otherwise here.

${describeSettings(onlyDifferent())}

As above: ${sameNames()}.

## History import

\`npm run import-history\` (see [migrating.md](migrating.md)) reads the scheduler's settings, and these:

${describeSettings(historyImportTable)}
`;
}

const production: SettingsTable = { ...schedulerTable, ...starterSettings };

/** Embedded settings that are new or have another default or meaning than in production. */
function onlyDifferent(): SettingsTable {
  return Object.fromEntries(
    Object.entries<SettingsTable[string]>(embeddedTable).filter(([, setting]) => !isSame(setting)),
  );
}

function sameNames(): string {
  return Object.values<SettingsTable[string]>(embeddedTable)
    .filter(isSame)
    .map((setting) => `\`${setting.name}\``)
    .sort()
    .join(', ');
}

function isSame(setting: SettingsTable[string]): boolean {
  return Object.values(production).some(
    (other) =>
      other.name === setting.name &&
      other.meaning === setting.meaning &&
      other.default === setting.default &&
      other.defaultText === setting.defaultText &&
      other.required === setting.required,
  );
}
