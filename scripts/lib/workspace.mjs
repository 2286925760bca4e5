// Brings the workspace itself up to date: dependencies installed, TypeScript built. Both are done only when
// something changed since the last time; a stamp in node_modules remembers what it was done for.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PlainError } from './plain-error.mjs';

/**
 * The one place that says which pnpm installs the workspace. Not package.json's `packageManager`: pnpm 12
 * reads that field and tries to fetch a build of itself which the registry does not have.
 */
export const PNPM = 'pnpm@12.21.0';

export const repoRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Where things that cost time to make are kept between runs. */
export const cacheDir = join(repoRoot, 'node_modules/.cache/stadion');

/**
 * @typedef {object} WorkOptions
 * @property {(line: string) => void} log is told each line of progress; is not called when there is nothing to do
 * @property {AbortSignal} [signal] gives up, and ends what was started
 */

/** Installs the dependencies if the lock file is not the one they were installed from. @param {WorkOptions} options */
export async function ensureInstalled({ log, signal }) {
  const wanted = hashOf([PNPM, process.version, readText('pnpm-lock.yaml'), readText('pnpm-workspace.yaml')]);
  if (readStamp('installed') === wanted) return;

  log(`Installing dependencies (${PNPM}, from the npm registry) …`);
  const args = ['--yes', PNPM, 'install', '--frozen-lockfile', '--reporter=append-only'];
  const { code, output } = await runShowing('npx', args, {
    signal,
    show: (line) => /^Progress:|^Done in/.test(line) && log(`  ${line}`),
    // CI: never ask. The rest: give up on a registry that is not there within seconds, not minutes.
    env: { CI: 'true', npm_config_fetch_retries: '2', npm_config_fetch_retry_mintimeout: '1000' },
  });
  if (code !== 0) throw installError(output);
  writeStamp('installed', wanted);
}

/** Builds, and so type-checks, every package if a source or a tsconfig changed. @param {WorkOptions} options */
export async function ensureBuilt({ log, signal }) {
  const projects = projectFolders();
  const wanted = hashOf(projects.flatMap(describeSources).concat(readText('tsconfig.base.json')));
  const outputsThere = projects.every((folder) => existsSync(join(folder, 'dist/.tsbuildinfo')));
  if (outputsThere && readStamp('built') === wanted) return;

  log('Building (tsc -b) …');
  const tsc = join(repoRoot, 'node_modules/@typescript/native/bin/tsc');
  const { code, output } = await runShowing(process.execPath, [tsc, '-b'], { signal });
  if (code !== 0) throw new PlainError('The build failed: mend the type errors above.', output.join('\n'));
  writeStamp('built', wanted);
}

/** @param {string[]} output */
function installError(output) {
  const text = output.join('\n');
  const lastLines = output.slice(-12).join('\n');
  const again = 'then run the same command again';
  if (/ERR_PNPM_OUTDATED_LOCKFILE/.test(text)) {
    const fix = `run \`npx ${PNPM} install\` and commit pnpm-lock.yaml`;
    return new PlainError(`pnpm-lock.yaml does not match the package.json files: ${fix}.`, lastLines);
  }
  if (/ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|ECONNRESET|FETCH_FAIL|ERR_SOCKET/i.test(text)) {
    const fix = `check the network and \`npm config get registry\`, ${again}`;
    return new PlainError(
      `The dependencies could not be installed, the npm registry does not answer: ${fix}.`,
    );
  }
  return new PlainError(
    `The dependencies could not be installed: mend what pnpm says above, ${again}.`,
    lastLines,
  );
}

function projectFolders() {
  const { references } = JSON.parse(readText('tsconfig.json'));
  return references.map((/** @type {{path: string}} */ reference) => join(repoRoot, reference.path));
}

/** One line per file that the compiler reads from a project. @param {string} folder */
function describeSources(folder) {
  const files = readdirSync(join(folder, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  return [...files, join(folder, 'tsconfig.json'), join(folder, 'package.json')].sort().map((file) => {
    const { mtimeMs, size } = statSync(file);
    return `${relative(repoRoot, file)} ${mtimeMs} ${size}`;
  });
}

/** @param {string} name */
function readText(name) {
  return readFileSync(join(repoRoot, name), 'utf8');
}

/** @param {string[]} parts */
function hashOf(parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

/** @param {string} name */
function readStamp(name) {
  try {
    return readFileSync(join(cacheDir, `${name}.stamp`), 'utf8');
  } catch {
    return undefined; // never done, or node_modules was removed
  }
}

/** @param {string} name @param {string} value */
function writeStamp(name, value) {
  mkdirSync(cacheDir, { recursive: true });
  writeFileSync(join(cacheDir, `${name}.stamp`), value);
}

/**
 * Under `npx -p node@24 npm start`, npx tells its children which package it was asked for; an npx of ours would take
 * that for its own wish.
 * @param {NodeJS.ProcessEnv} env
 */
function withoutNpxWishes(env) {
  const wishes = ['npm_config_package', 'npm_config_call'];
  return Object.fromEntries(Object.entries(env).filter(([name]) => !wishes.includes(name)));
}

/**
 * Runs a command in the repository's root and keeps its output by lines.
 * @param {string} command
 * @param {string[]} args
 * @param {{ signal?: AbortSignal, env?: Record<string, string>, show?: (line: string) => unknown }} options
 * @returns {Promise<{ code: number, output: string[] }>}
 */
function runShowing(command, args, { signal, env = {}, show = () => {} }) {
  return new Promise((done, fail) => {
    const child = spawn(command, args, {
      cwd: repoRoot,
      env: { ...withoutNpxWishes(process.env), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true, // a process group, so that giving up ends npx's children too
    });
    const giveUp = () => child.pid && process.kill(-child.pid, 'SIGTERM');
    signal?.addEventListener('abort', giveUp, { once: true });

    /** @type {string[]} */
    const output = [];
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream.setEncoding('utf8').on('data', (/** @type {string} */ chunk) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          output.push(line);
          show(line);
        }
      });
      stream.on('end', () => rest && output.push(rest));
    }
    child.on('error', (error) => fail(new PlainError(`${command} could not be started: ${error.message}.`)));
    child.on('close', (code) => {
      signal?.removeEventListener('abort', giveUp);
      if (signal?.aborted) fail(signal.reason);
      else done({ code: code ?? 1, output });
    });
  });
}
