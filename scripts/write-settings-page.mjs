// `npm run docs:settings`: writes docs/settings.md from the tables that declare the settings. A test keeps them equal.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBuilt, repoRoot } from './lib/workspace.mjs';

await ensureBuilt({ log: console.log });
const { settingsPage } = await import('../services/embedded/dist/index.js');
writeFileSync(join(repoRoot, 'docs/settings.md'), settingsPage());
