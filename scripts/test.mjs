// `npm test`: on a fresh clone with nothing but Node, installs, builds, lints, brings up MariaDB and Docker, and
// runs every test; leaves nothing behind. Exits with 0 only when tests ran and none failed.
import { addUp, projects, runJestProject } from './lib/jest-projects.mjs';
import { PlainError } from './lib/plain-error.mjs';
import { thisMachine } from './lib/place.mjs';
import { makeRunFolder } from './lib/run-folder.mjs';
import { runSession } from './lib/session.mjs';
import { bringUpEnvironment } from './lib/test-environment.mjs';
import { ensureBuilt, ensureInstalled } from './lib/workspace.mjs';

const USAGE = `npm test -- [--unit | --only PROJECT] [--no-lint] [jest's own arguments, such as a file pattern]

  --unit          the tests that need neither Docker nor MariaDB, without lint
  --only PROJECT  one of: ${projects.map((project) => project.name).join(', ')}; may be given again; without lint
  --no-lint       everything but lint
`;

await runSession(async (session) => {
  const wanted = readArguments(process.argv.slice(2));
  if (wanted.help) {
    session.log(USAGE);
    return 0;
  }
  await ensureInstalled(session);
  await ensureBuilt(session);
  if (wanted.lint) await lint(session);

  const folder = await makeRunFolder(session);
  const selected = projects.filter((project) => wanted.projects.includes(project.name));
  const environment = selected.some((project) => project.needsEnvironment)
    ? await bringUpEnvironment(session, folder, {
        compose: selected.some((project) => project.name === 'e2e'),
      })
    : { place: thisMachine, env: {} };

  const outcomes = [];
  for (const project of selected) {
    const where = project.needsEnvironment ? environment : { place: thisMachine, env: {} };
    outcomes.push(await runJestProject(session, project, { ...where, folder, args: wanted.jestArgs }));
  }
  const total = addUp(outcomes);
  // Last, so that the closing line really is the last one.
  await session.releaseAll();
  report(total, wanted.jestArgs);
  return total.failed === 0 && total.passed > 0 && total.problems.length === 0 ? 0 : 1;
});

/** @param {import('./lib/session.mjs').Session} session */
async function lint(session) {
  session.log('Linting …');
  const { code } = await session.run('npm', ['run', '--silent', 'lint'], { show: true });
  if (code !== 0)
    throw new PlainError('Lint found the faults above (`npm run format` mends the formatting ones).');
}

/** @param {import('./lib/jest-projects.mjs').Outcome} total @param {string[]} jestArgs */
function report({ passed, failed, skipped, problems }, jestArgs) {
  const filtered = jestArgs.some((arg) => /^(-t|--testNamePattern)/.test(arg));
  console.log('');
  if (filtered) console.log('Skipped tests are not listed: -t skips all that do not match.');
  else for (const { name, reason } of skipped) console.log(`skipped: ${name}\n         ${reason}`);
  for (const problem of problems) console.log(`FAILED: ${problem}`);
  if (passed + failed === 0) console.log('FAILED: no test ran.');
  console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
}

/** @param {string[]} args */
function readArguments(args) {
  const names = projects.map((project) => project.name);
  /** @type {string[]} */
  const only = [];
  const wanted = {
    help: false,
    lint: true,
    projects: /** @type {string[]} */ (names),
    jestArgs: /** @type {string[]} */ ([]),
  };
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? '';
    if (arg === '--help') wanted.help = true;
    else if (arg === '--no-lint') wanted.lint = false;
    else if (arg === '--unit') only.push('unit');
    else if (arg === '--only') only.push(knownProject(args[++i] ?? ''));
    else wanted.jestArgs.push(arg);
  }
  if (only.length > 0) Object.assign(wanted, { projects: only, lint: false });
  return wanted;
}

/** @param {string} name */
function knownProject(name) {
  if (projects.some((project) => project.name === name)) return name;
  throw new PlainError(`There is no test project "${name}".\n\n${USAGE}`);
}
