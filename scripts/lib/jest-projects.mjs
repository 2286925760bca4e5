// Runs jest's projects one after the other and adds up what they report. A project that ends without a report,
// or finds no test, is a failure: silence is not success.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repoRoot } from './workspace.mjs';

/** @typedef {{ passed: number, failed: number, skipped: { name: string, reason: string }[], problems: string[] }} Outcome */

/** Which projects there are, in the order they run, and whether they need the environment. */
export const projects = /** @type {const} */ ([
  // More workers than cores: many of these tests wait for sockets and child processes.
  { name: 'unit', needsEnvironment: false, jestArgs: ['--maxWorkers=150%'] },
  { name: 'integration', needsEnvironment: true, jestArgs: [] },
  // One scenario at a time: they start services, and look at the whole machine.
  { name: 'e2e', needsEnvironment: true, jestArgs: ['--runInBand'] },
  // What a newcomer types, on the machine as it is: installing needs the npm registry.
  { name: 'fresh-clone', needsEnvironment: false, jestArgs: ['--runInBand'] },
]);

const EXIT_GRACE_MS = 20_000;

/**
 * @param {import('./session.mjs').Session} session
 * @param {(typeof projects)[number]} project
 * @param {{ place: import('./place.mjs').Place, env: Record<string, string>, folder: { path: string, tmp: string }, args: string[] }} options
 * @returns {Promise<Outcome>}
 */
export async function runJestProject(session, project, { place, env, folder, args }) {
  session.log(`\n── ${project.name} tests`);
  const reportFile = join(folder.path, `jest-${project.name}.json`);
  const jest = join(repoRoot, 'node_modules/jest/bin/jest.js');
  const report = ['--json', `--outputFile=${reportFile}`];
  // With a pattern, a project may have nothing to do; that some test ran is then for the caller to see to.
  const mayBeEmpty = args.length > 0;
  if (mayBeEmpty) args = [...args, '--passWithNoTests'];
  const all = [jest, '--selectProjects', project.name, ...report, ...project.jestArgs, ...args];

  const hanging = new AbortController();
  const watch = setInterval(() => {
    if (!existsSync(reportFile)) return;
    clearInterval(watch);
    setTimeout(() => hanging.abort(), EXIT_GRACE_MS).unref();
  }, 1000);
  let code;
  try {
    const [command, commandArgs] = place.inside(process.execPath, all);
    const run = session.run(command, commandArgs, {
      show: true,
      stop: hanging.signal,
      env: { ...env, TMPDIR: folder.tmp, NODE_ENV: 'test' },
    });
    code = (await run).code;
  } finally {
    clearInterval(watch);
  }

  const outcome = existsSync(reportFile)
    ? readReport(JSON.parse(readFileSync(reportFile, 'utf8')))
    : { passed: 0, failed: 0, skipped: [], problems: [] };
  const ran = outcome.passed + outcome.failed;
  if (hanging.signal.aborted)
    outcome.problems.push('jest did not end after its last test: a test left something open');
  else if (ran === 0 && !mayBeEmpty) outcome.problems.push(`no test ran; jest ended with code ${code}`);
  else if (code !== 0 && outcome.failed === 0) outcome.problems.push(`jest ended with code ${code}`);
  outcome.problems = outcome.problems.map((problem) => `${project.name}: ${problem}`);
  return outcome;
}

/** @param {Outcome[]} outcomes @returns {Outcome} */
export function addUp(outcomes) {
  return {
    passed: outcomes.reduce((sum, outcome) => sum + outcome.passed, 0),
    failed: outcomes.reduce((sum, outcome) => sum + outcome.failed, 0),
    skipped: outcomes.flatMap((outcome) => outcome.skipped),
    problems: outcomes.flatMap((outcome) => outcome.problems),
  };
}

/** @param {any} report what jest writes with --json @returns {Outcome} */
export function readReport(report) {
  const suites = /** @type {any[]} */ (report.testResults);
  const tests = suites.flatMap((suite) => suite.assertionResults);
  const skipped = tests.filter((test) => ['pending', 'todo', 'skipped', 'disabled'].includes(test.status));
  return {
    passed: report.numPassedTests,
    // A file that does not even load has no failed test to show for it.
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
    skipped: skipped.map((test) => describeSkipped(test.fullName, test.status)),
    problems: [],
  };
}

/** A skipped test, or a describe around it, says why in its name: "(skipped: no bubblewrap here)". @param {string} fullName @param {string} status */
function describeSkipped(fullName, status) {
  const reason = /\(skipped: ([^)]*)\)/.exec(fullName);
  const name = fullName.replace(/\s*\(skipped: [^)]*\)/g, '');
  return { name, reason: reason?.[1] ?? (status === 'todo' ? 'not written yet' : 'no reason given') };
}
