/**
 * Finds and ends the processes that a script left at the plain level, where no namespace ends them together. A process
 * belongs to an attempt when it runs as the attempt's own user, is in its session, or carries its home folder (a random
 * name) in its environment. Where there is no /proc only the process group is known.
 */
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import type { ScriptUser } from './script-user.js';

export interface Belongings {
  /** Leader of the session, and when it started in ticks since boot: a number alone may be someone else's by now. */
  pid: number | undefined;
  startTicks: string | undefined;
  user: ScriptUser | undefined;
  home: string;
}

export interface ProcessFacts {
  /** Ticks since boot; field 22 of /proc/PID/stat. */
  startTicks: string;
  session: number;
  zombie: boolean;
}

/** Undefined when there is no such process, or no /proc. */
export async function factsOf(pid: number): Promise<ProcessFacts | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // The name in parentheses may itself hold spaces and parentheses.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  if (!fields?.[19]) return undefined;
  return { startTicks: fields[19], session: Number(fields[3]), zombie: fields[0] === 'Z' };
}

/** Ends everything that belongs to the attempt; resolves when nothing is left, or after `boundMs`. */
export async function endStragglers(belongings: Belongings, boundMs = 2_000): Promise<void> {
  const end = Date.now() + boundMs;
  if (belongings.user?.dedicated) await signalUser(belongings.user);
  for (;;) {
    const left = await findStragglers(belongings);
    if (left.length === 0 || Date.now() > end) return;
    for (const pid of left) kill(pid);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export async function findStragglers(belongings: Belongings): Promise<number[]> {
  const entries = await readdir('/proc').catch(() => []);
  const pids = entries.filter((name) => /^\d+$/.test(name)).map(Number);
  const owned = await Promise.all(pids.map((pid) => belongsTo(pid, belongings)));
  return pids.filter((_, index) => owned[index]);
}

async function belongsTo(pid: number, { pid: leader, startTicks, user, home }: Belongings): Promise<boolean> {
  const facts = await factsOf(pid);
  if (!facts || facts.zombie) return false;
  if (user?.dedicated) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    return /^Uid:\t(\d+)/m.exec(status)?.[1] === String(user.uid);
  }
  if (leader !== undefined && facts.session === leader) {
    const leaderNow = pid === leader ? facts : await factsOf(leader);
    if (!leaderNow || leaderNow.startTicks === startTicks) return true;
  }
  const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
  return environment.split('\0').includes(`HOME=${home}`);
}

/** As that user, to everyone it may signal: at once, so no fork can slip through. */
function signalUser({ uid, gid }: ScriptUser): Promise<void> {
  return new Promise((resolve) => {
    const child = spawn('/bin/sh', ['-c', 'kill -9 -1'], { uid, gid, cwd: '/', env: {}, stdio: 'ignore' });
    child.once('error', () => resolve());
    child.once('close', () => resolve());
  });
}

/** The whole group of a leader that is known to live, or to have ended just now. */
export function killGroup(leader: number): void {
  kill(-leader);
}

export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // gone already
  }
}
