/**
 * Loaded by Node before a script (`node --import=file:///…/node-preload.mjs index.mjs`): takes a `Launch` from descriptor 3 as
 * `launcher.ts` says, makes its environment the process's own, and gets out of the script's way. Limits were set by whoever
 * started Node. Nothing in here is a boundary: the process around it is.
 */
import { closeSync, readFileSync, writeSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import type { Launch, Launched } from './launcher.js';
import { limitsInForce } from './limits-in-force.mjs';

// A script's own threads load this again.
if (isMainThread) {
  const text = readFileSync(3, 'utf8');
  if (text === '') process.exit(125); // the starter is gone
  const launch = JSON.parse(text) as Launch;
  const environment = process.env;
  for (const name of Object.keys(environment)) delete environment[name];
  Object.assign(environment, launch.env);
  process.umask(0o022);
  // Else what the script forks would load this too.
  process.execArgv.length = 0;
  const launched: Launched = { limits: limitsInForce(launch.limits) };
  writeSync(3, JSON.stringify(launched) + '\n');
  closeSync(3);
}
