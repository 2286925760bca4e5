/**
 * As which user a script runs when the starter is root: one of its own per attempt, so that the limit on processes
 * counts only this attempt's, no other script may signal it, and whatever it leaves is found by that user alone.
 */
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface ScriptUser {
  uid: number;
  gid: number;
  /** No other process on this machine has this uid, so all of its processes may be ended. */
  dedicated: boolean;
}

/** Above every range that systemd, login.defs and container engines hand out, below what 32-bit signed tools misread. */
const firstUid = 0x7000_0000;
const uidCount = 0x0f00_0000;
const nobody = 65_534;

/** Not `os.userInfo()`, which fails for a uid without an entry in /etc/passwd, as containers often have. */
export const ownUid = (): number => process.getuid?.() ?? -1;
export const isRoot = (): boolean => ownUid() === 0;

/** A fresh user when this process is root; undefined when it may not choose one, and scripts run as its own. */
export function scriptUser(): ScriptUser | undefined {
  if (!isRoot()) return undefined;
  if (!isMapped(firstUid + uidCount)) return { uid: nobody, gid: nobody, dedicated: false };
  const uid = firstUid + randomInt(uidCount);
  return { uid, gid: uid, dedicated: true };
}

/** For trying what a script's user may do. */
export function anyUnprivilegedUser(): { uid?: number; gid?: number } {
  return isRoot() ? { uid: nobody, gid: nobody } : {};
}

/** Inside a container with its own user namespace often only 0..65535 exist. */
function isMapped(uid: number): boolean {
  try {
    return readFileSync('/proc/self/uid_map', 'utf8')
      .split('\n')
      .some((line) => {
        const [first, , count] = line.trim().split(/\s+/).map(Number);
        return first !== undefined && count !== undefined && uid >= first && uid < first + count;
      });
  } catch {
    return true; // no user namespaces on this system
  }
}
