// Installs what the tests need from Debian's or Ubuntu's packages, where that can be done without asking: as root.
import { accessSync, chmodSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { PlainError } from './plain-error.mjs';

/**
 * @typedef {object} Need
 * @property {string} command what must be on the PATH
 * @property {string} debianPackage which package brings it
 * @property {string} otherwise what to do instead of installing it, as the end of a sentence
 */

/** Installs all that is missing in one go. @param {import('./session.mjs').Session} session @param {Need[]} needs */
export async function ensureCommands(session, needs) {
  const missing = needs.filter((need) => !findCommand(need.command));
  if (missing.length === 0) return;

  const packages = [...new Set(missing.map((need) => need.debianPackage))];
  if (process.getuid?.() !== 0 || !findCommand('apt-get')) throw cannotInstall(missing, packages);
  session.log(`Installing Debian packages: ${packages.join(' ')} …`);
  const allowStarts = forbidServiceStarts();
  try {
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    const patience = ['-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=2'];
    const attempt = `Installing ${packages.join(', ')} from Debian's packages`;
    await session.mustRun(attempt, 'apt-get', [...patience, '-qq', 'update'], { env });
    const install = ['install', '-y', '-qq', '--no-install-recommends', ...packages];
    await session.mustRun(attempt, 'apt-get', [...patience, ...install], { env });
  } finally {
    allowStarts();
  }
}

/** @param {string} command @returns {string | undefined} its path */
export function findCommand(command) {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, command)).find(isExecutable);
}

/** @param {Need[]} missing @param {string[]} packages */
function cannotInstall(missing, packages) {
  const names = missing.map((need) => need.command).join(', ');
  const others = [...new Set(missing.map((need) => need.otherwise))].join(', or ');
  const install = `sudo apt-get install ${packages.join(' ')}`;
  return new PlainError(
    `Not on this machine: ${names}. Run \`${install}\` (or your system's like of it), or ${others}.`,
  );
}

/** A package that brings a service would start it; the tests start their own, and leave nothing running. */
function forbidServiceStarts() {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return () => {};
  writeFileSync(policy, '#!/bin/sh\nexit 101\n');
  chmodSync(policy, 0o755);
  return () => rmSync(policy, { force: true });
}

/** @param {string} file */
function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
