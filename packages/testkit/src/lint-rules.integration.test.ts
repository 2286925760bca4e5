/** Shows that the lint rules which hold the house together fire, and say where the code belongs. */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';

interface Snippet {
  name: string;
  file: string;
  code: string;
  /** Part of the message; null when nothing may be said. */
  says: string | null;
}

const snippets: Snippet[] = [
  {
    name: 'contracts import zod only',
    file: 'packages/contracts/src/made-up.ts',
    code: `import axios from 'axios';\nexport const get = axios.get;\n`,
    says: 'put code that needs more into packages/service-kit',
  },
  {
    name: 'contracts may import zod and each other',
    file: 'packages/contracts/src/made-up.ts',
    code: `import { z } from 'zod';\nexport * from './json.js';\nexport const name = z.string();\n`,
    says: null,
  },
  {
    name: 'the service kit never touches the database',
    file: 'packages/service-kit/src/made-up.ts',
    code: `import { knex } from 'knex';\nexport const database = knex;\n`,
    says: 'Only services/scheduler/src/store/ talks to the database',
  },
  {
    name: 'a package never imports a service',
    file: 'packages/service-kit/src/made-up.ts',
    code: `export * from '@stadion/scheduler';\n`,
    says: 'A package never imports a service',
  },
  {
    name: 'a service never imports another',
    file: 'services/starter/src/made-up.ts',
    code: `import { createApp } from '@stadion/scheduler';\nexport const app = createApp;\n`,
    says: 'Services never import each other',
  },
  {
    name: 'a service never reaches into the folder of another',
    file: 'services/starter/src/made-up.ts',
    code: `export * from '../../scheduler/src/app.js';\n`,
    says: 'Services never import each other',
  },
  {
    name: 'the embedded service puts services together',
    file: 'services/embedded/src/made-up.ts',
    code: `export * from '@stadion/scheduler';\nexport * from '@stadion/starter';\n`,
    says: null,
  },
  {
    name: 'http/ knows not even the types of the store',
    file: 'services/scheduler/src/http/made-up.ts',
    code: `import type { Store } from '../store/store.js';\nexport type Used = Store;\n`,
    says: 'http/ gets actions passed in',
  },
  {
    name: 'http/ is not told about the store by import() types either',
    file: 'services/scheduler/src/http/made-up.ts',
    code: `export type Used = import('../store/store.js').Store;\n`,
    says: 'http/ gets actions passed in',
  },
  {
    name: 'SQL stays in the store',
    file: 'services/scheduler/src/tasks/made-up.ts',
    code: `import mysql from 'mysql2/promise';\nexport const pool = mysql.createPool;\n`,
    says: 'add a method to the store there',
  },
  {
    name: 'the store may use its drivers',
    file: 'services/scheduler/src/store/made-up.ts',
    code: `import mysql from 'mysql2/promise';\nexport const pool = mysql.createPool;\n`,
    says: null,
  },
  {
    name: 'dockerode stays in its executor',
    file: 'services/starter/src/supervisor-made-up.ts',
    code: `export const load = () => import('dockerode');\n`,
    says: 'extend the Executor interface',
  },
  {
    name: 'production code has no test tools',
    file: 'services/scheduler/src/made-up.ts',
    code: `export * from '@stadion/testkit';\n`,
    says: 'Test tools are for tests',
  },
  {
    name: 'production code imports nothing from a testing/ folder',
    file: 'services/starter/src/made-up.ts',
    code: `export * from './testing/starter-harness.js';\n`,
    says: 'Test tools are for tests',
  },
  {
    name: 'a testing/ folder has test tools',
    file: 'services/starter/src/testing/made-up.ts',
    code: `export * from '@stadion/testkit';\n`,
    says: null,
  },
  {
    name: 'tests have test tools',
    file: 'services/scheduler/src/made-up.test.ts',
    code: `export * from '@stadion/testkit';\n`,
    says: null,
  },
  {
    name: 'only main.ts reads the environment',
    file: 'services/scheduler/src/made-up.ts',
    code: `export const { env } = process;\n`,
    says: 'declare a setting in config.ts',
  },
  {
    name: 'main.ts reads the environment',
    file: 'services/made-up/src/main.ts',
    code: `export const environment = process.env;\n`,
    says: null,
  },
  {
    name: 'exports have names',
    file: 'services/scheduler/src/made-up.ts',
    code: `export default 1;\n`,
    says: 'Export by name',
  },
  {
    name: 'a promise is not left floating',
    file: 'packages/contracts/src/index.ts',
    code: `Promise.resolve(1);\n`,
    says: 'Promises must be awaited',
  },
];

let said: string[];
beforeAll(() => {
  const script = resolve(__dirname, '../../../scripts/lint/lint-snippets.mjs');
  const answers = execFileSync(process.execPath, [script], {
    input: JSON.stringify(snippets),
    encoding: 'utf8',
  });
  said = (JSON.parse(answers) as { message: string }[][]).map((messages) =>
    messages.map(({ message }) => message).join('\n'),
  );
}, 60_000);

test.each(snippets.map((snippet, index) => ({ ...snippet, index })))('$name', ({ index, says }) => {
  if (says === null) expect(said[index]).toBe('');
  else expect(said[index]).toContain(says);
});
