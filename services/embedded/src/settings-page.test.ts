import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { settingsPage } from './settings-page.js';

it('docs/settings.md is what the tables say (write it with `npm run docs:settings`)', () => {
  const written = readFileSync(join(process.cwd(), 'docs/settings.md'), 'utf8');
  expect(written).toBe(settingsPage());
});
