// What `npm run lint` asks of the code beyond what the compiler does. Rules that need types are switched on one by
// one, where they find real faults; which part may import which is in scripts/lint/import-borders.mjs.
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { importBorders } from './scripts/lint/import-borders.mjs';

const typescript = ['**/*.ts'];
const tests = [
  '**/*.test.ts',
  '**/*-{conformance,contract}.ts',
  '**/src/testing/**/*.ts',
  'packages/testkit/**/*.ts',
  'e2e/**/*.ts',
];

const environmentMessage =
  'Only main.ts (of a command: <name>-main.ts) reads the environment: declare a setting in config.ts and pass its value to whoever needs it.';

export default defineConfig(
  { ignores: ['**/dist/', '**/node_modules/', '.stadion/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.{js,mjs,cjs,ts}'],
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-var': 'error',
      'prefer-const': 'error',
      'no-constant-binary-expression': 'error',
      'no-self-compare': 'error',
      'no-unsafe-finally': 'error',
    },
  },
  { files: ['**/*.{js,mjs,cjs}'], rules: { 'no-unused-vars': 'error', 'no-unreachable': 'error' } },
  ...tseslint.configs.recommended.map((config) => ({ ...config, files: typescript })),
  {
    files: typescript,
    plugins: { stadion: { rules: { 'import-borders': importBorders } } },
    rules: {
      'stadion/import-borders': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      // The compiler says it already (noUnusedLocals, noUnusedParameters).
      '@typescript-eslint/no-unused-vars': 'off',
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Export by name: then it has one name everywhere.' },
      ],
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: environmentMessage },
      ],
      'no-restricted-imports': [
        'error',
        {
          paths: ['node:process', 'process'].map((name) => ({
            name,
            importNames: ['env'],
            message: environmentMessage,
          })),
        },
      ],
    },
  },
  {
    // Declarations describe other people's modules, default exports included.
    files: ['**/*.d.ts'],
    rules: { 'no-restricted-syntax': 'off' },
  },
  {
    files: ['{packages,services}/*/src/**/*.ts', 'e2e/src/**/*.ts'],
    ignores: ['**/*.d.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { arguments: false } }],
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/only-throw-error': ['error', { allowRethrowing: true }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  {
    files: ['**/src/{main,*-main}.ts', ...tests],
    rules: { 'no-restricted-properties': 'off', 'no-restricted-imports': 'off' },
  },
);
