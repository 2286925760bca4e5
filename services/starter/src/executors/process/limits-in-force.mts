/** For runners that are Node, which can't set limits of its own process: reads which ones were set for it. */
import { existsSync, readFileSync } from 'node:fs';
import type { Launch } from './launcher.js';

/** Those of the launch's limits that whoever started this process has set. */
export function limitsInForce(limits: Launch['limits']): string[] {
  const titles: Record<string, string> = {
    DATA: 'Max data size',
    NOFILE: 'Max open files',
    FSIZE: 'Max file size',
    NPROC: 'Max processes',
    CPU: 'Max cpu time',
  };
  const text = existsSync('/proc/self/limits') ? readFileSync('/proc/self/limits', 'utf8') : '';
  return limits.flatMap(([name]) => {
    const line = text.split('\n').find((one) => titles[name] !== undefined && one.startsWith(titles[name]));
    return line && !line.slice(26).trim().startsWith('unlimited') ? [name] : [];
  });
}
