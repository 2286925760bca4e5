// How jest finds and compiles the tests: four projects told apart by file name. `unit` needs nothing but
// Node; `integration` needs MariaDB or Docker, or takes long; `e2e` runs the built services; `fresh-clone` runs `npm start`. `npm test` (scripts/test.mjs)
// brings up what they need; docs are in CONTRIBUTING.md.

const swc = [
  '@swc/jest',
  {
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    module: { type: 'commonjs' },
    sourceMaps: 'inline',
  },
];

const packageNames = '(?:client|contracts|service-kit|testkit)';
const serviceNames = '(?:scheduler|starter|embedded)';

const shared = {
  rootDir: import.meta.dirname,
  testEnvironment: 'node',
  transform: { '\\.ts$': swc },
  // Sources, not dist: a test never sees a stale build, and a failure points at the line that was written.
  moduleNameMapper: {
    [`^@stadion/(${packageNames})$`]: '<rootDir>/packages/$1/src/index.ts',
    [`^@stadion/(${serviceNames})$`]: '<rootDir>/services/$1/src/index.ts',
  },
  // Turns './x.js' into './x.ts', in our files only: a mapping by pattern would reach into node_modules.
  resolver: '<rootDir>/scripts/lib/jest-resolver.cjs',
  modulePathIgnorePatterns: ['<rootDir>/(?:packages|services)/[^/]+/dist/', '<rootDir>/e2e/dist/'],
  restoreMocks: true,
};

const freshCloneTests = '\\.fresh-clone\\.test\\.ts$';
const integrationTests = '\\.integration\\.test\\.ts$';

export default {
  // A run that finds no test is a failure, here and in scripts/test.mjs.
  passWithNoTests: false,
  // For all projects: jest does not heed a project's own. Long, because machines get busy; nothing waits for it.
  testTimeout: 120_000,
  // In the workspace, so that a run leaves nothing in the system's temp folder.
  cacheDirectory: '<rootDir>/node_modules/.cache/jest',
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['<rootDir>/{packages,services}/*/src/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', integrationTests],
    },
    {
      ...shared,
      displayName: 'integration',
      testMatch: ['<rootDir>/{packages,services}/*/src/**/*.integration.test.ts'],
    },
    {
      ...shared,
      displayName: 'e2e',
      testMatch: ['<rootDir>/e2e/src/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', freshCloneTests],
    },
    {
      ...shared,
      displayName: 'fresh-clone',
      testMatch: ['<rootDir>/e2e/src/**/*.fresh-clone.test.ts'],
    },
  ],
};
