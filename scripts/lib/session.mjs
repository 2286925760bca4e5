// One run of a script that borrows things from the machine. Each acquisition registers its release; however the
// run ends (return, error, Ctrl-C, SIGTERM), the releases are carried out in reverse. What a SIGKILL leaves behind
// is swept by the next run (run-folder.mjs).
import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { PlainError } from './plain-error.mjs';
import { repoRoot } from './workspace.mjs';

/** @typedef {{ what: string, release: () => unknown }} Release */
/** @typedef {{ code: number, stdout: string, stderr: string }} Ended */

/** Runs `story` and ends the process with the exit code it returns. @param {(session: Session) => Promise<number>} story */
export async function runSession(story) {
  const session = new Session();
  const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
  for (const [name, code] of Object.entries(exitCodes)) process.on(name, () => session.interrupt(name, code));
  process.on('uncaughtException', (error) => session.fail(error));
  endWithNpm(session);

  let exitCode = 1;
  try {
    exitCode = await story(session);
  } catch (error) {
    session.fail(error);
  }
  await session.releaseAll();
  process.exit(session.forcedExitCode ?? exitCode);
}

/** npm passes a SIGTERM on to its shell, not to us: what we notice is that the shell is gone. @param {Session} session */
function endWithNpm(session) {
  if (!process.env['npm_lifecycle_event']) return;
  const parent = process.ppid;
  const look = () => process.ppid !== parent && session.interrupt('The end of npm', 143);
  setInterval(look, 500).unref();
}

export class Session {
  /** @type {Release[]} */
  #releases = [];
  #abort = new AbortController();
  /** @type {number | undefined} */
  forcedExitCode;

  /** Aborted when the run is to end early. */
  get signal() {
    return this.#abort.signal;
  }

  /** @param {string} line */
  log = (line) => console.log(line);

  /** Carries out `release` when the run ends, before everything that was registered earlier. @param {string} what @param {() => unknown} release */
  defer(what, release) {
    this.#releases.push({ what, release });
  }

  async releaseAll() {
    for (let next = this.#releases.pop(); next; next = this.#releases.pop()) {
      try {
        await next.release();
      } catch (error) {
        console.error(`Could not clean up ${next.what}: ${error instanceof Error ? error.message : error}`);
        this.forcedExitCode ??= 1;
      }
    }
  }

  /** @param {string} signalName @param {number} exitCode */
  interrupt(signalName, exitCode) {
    if (this.signal.aborted) return; // a second Ctrl-C must not cut the clean-up short
    console.error(`\n${signalName}: cleaning up …`);
    this.forcedExitCode = exitCode;
    this.#abort.abort(new PlainError(`Interrupted by ${signalName}.`));
  }

  /** @param {unknown} error */
  fail(error) {
    if (!this.signal.aborted) {
      if (error instanceof PlainError) {
        if (error.evidence) console.error(error.evidence);
        console.error(`\nSTOPPED: ${error.message}`);
      } else {
        console.error('\nSTOPPED by an unexpected error:', error);
      }
    }
    this.forcedExitCode ??= 1;
    this.#abort.abort(error);
  }

  /**
   * Runs a command to its end; rejects only when the session is interrupted, the command is not there, or
   * `timeoutMs` is over. The command gets a process group of its own, so that ending it ends its children.
   * @param {string} command
   * @param {string[]} args
   * @param {{ env?: Record<string, string | undefined>, cwd?: string, show?: boolean, input?: string, timeoutMs?: number, stop?: AbortSignal }} [options]
   *   `show` passes output through instead of keeping it; `stop` ends the command, which then has a code like any other
   * @returns {Promise<Ended>}
   */
  run(command, args, { env = {}, cwd = repoRoot, show = false, input, timeoutMs, stop } = {}) {
    this.signal.throwIfAborted();
    return new Promise((done, fail) => {
      const output = show ? 'inherit' : 'pipe';
      const child = spawn(command, args, {
        cwd,
        env: { ...process.env, ...env },
        stdio: [input === undefined ? 'ignore' : 'pipe', output, output],
        detached: true,
      });
      const end = () => void endProcessGroup(child);
      const timer = timeoutMs && setTimeout(end, timeoutMs);
      this.signal.addEventListener('abort', end, { once: true });
      stop?.addEventListener('abort', end, { once: true });

      let stdout = '';
      let stderr = '';
      child.stdout?.setEncoding('utf8').on('data', (chunk) => (stdout += chunk));
      child.stderr?.setEncoding('utf8').on('data', (chunk) => (stderr += chunk));
      child.stdin?.on('error', () => {}); // the command ended before it read its input; its code tells
      child.stdin?.end(input);
      child.on('error', (error) =>
        fail(new PlainError(`${command} could not be started: ${error.message}.`)),
      );
      child.on('close', (code) => {
        clearTimeout(timer);
        this.signal.removeEventListener('abort', end);
        stop?.removeEventListener('abort', end);
        if (this.signal.aborted) fail(this.signal.reason);
        else done({ code: code ?? 1, stdout, stderr });
      });
    });
  }

  /** Like `run`, and a failure is an error that says what was attempted. @param {string} attempt @param {string} command @param {string[]} args @param {Parameters<Session['run']>[2]} [options] */
  async mustRun(attempt, command, args, options) {
    const ended = await this.run(command, args, options);
    if (ended.code !== 0) {
      const evidence = `${ended.stdout}\n${ended.stderr}`.trim().split('\n').slice(-25).join('\n');
      throw new PlainError(
        `${attempt} failed: \`${command} ${args.join(' ')}\` ended with code ${ended.code}.`,
        evidence,
      );
    }
    return ended.stdout;
  }

  /**
   * Waits for a condition; answers false when it did not come true in time.
   * @param {() => Promise<boolean> | boolean} condition @param {number} timeoutMs
   */
  async waitUntil(condition, timeoutMs) {
    const deadline = Date.now() + timeoutMs;
    while (!(await condition())) {
      if (Date.now() > deadline) return false;
      await delay(50, undefined, { signal: this.signal });
    }
    return true;
  }
}

/** Ends a process that was started with `detached`, and the processes of its group; resolves when it is gone. @param {import('node:child_process').ChildProcess} child @param {number} [graceMs] */
export async function endProcessGroup(child, graceMs = 5000) {
  if (!child.pid || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  signalGroup(child.pid, 'SIGTERM');
  await Promise.race([gone, delay(graceMs, undefined, { ref: false })]);
  if (child.exitCode === null && child.signalCode === null) signalGroup(child.pid, 'SIGKILL');
  await gone;
}

/** @param {number} pid @param {NodeJS.Signals} name */
function signalGroup(pid, name) {
  try {
    process.kill(-pid, name);
  } catch {
    // the group ended by itself in between
  }
}
