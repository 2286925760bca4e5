// Lints pieces of code as if they stood in the files named: reads `[{ file, code }]` from standard input, writes
// `[{ rule, message }[]]`. For the test of our rules, in a process of its own because ESLint imports its
// configuration in a way that jest does not allow.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { ESLint } from 'eslint';
import tseslint from 'typescript-eslint';

const cwd = resolve(import.meta.dirname, '../..');
const withTypes = new ESLint({ cwd });
// A file that does not exist belongs to no TypeScript project, so it has no types to ask for.
const withoutTypes = new ESLint({
  cwd,
  overrideConfig: [{ ...tseslint.configs.disableTypeChecked, files: ['**/*.ts'] }],
});

/** @type {{ file: string, code: string }[]} */
const snippets = JSON.parse(await text(process.stdin));
const answers = [];
for (const { file, code } of snippets) {
  const filePath = join(cwd, file);
  const [result] = await (existsSync(filePath) ? withTypes : withoutTypes).lintText(code, { filePath });
  answers.push(result?.messages.map(({ ruleId, message }) => ({ rule: ruleId, message })));
}
console.log(JSON.stringify(answers));
