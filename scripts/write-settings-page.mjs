// `npm run docs:settings`: writes docs/settings.md and .env.example from the tables that declare the settings. Tests
// keep them equal.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBuilt, repoRoot } from './lib/workspace.mjs';

await ensureBuilt({ log: console.log });
const { composeEnvExample, settingsPage } = await import('../services/embedded/dist/index.js');
writeFileSync(join(repoRoot, 'docs/settings.md'), settingsPage());
writeFileSync(join(repoRoot, '.env.example'), composeEnvExample());
