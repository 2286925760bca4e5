/**
 * What happens to an attempt from the moment it is accepted: a slot, the script, a sandbox, the time limit, the
 * verdict, the spool. Delivering the result is the outbox's work; what was under way when an earlier process died
 * is `recover.ts`'s. An attempt is "held" from acceptance until its result is in the outbox and its sandbox gone.
 */
import type { DispatchRequest, ResultReport } from '@stadion/contracts';
import { type Logger, messageOf, Refusal } from '@stadion/service-kit';
import type { Exchange } from './exchange/exchange.js';
import { fetchScript, ScriptFetchError } from './exchange/fetch-script.js';
import type { AllowedHosts } from './exchange/script-address.js';
import {
  type Executor,
  type Sandbox,
  type SandboxExit,
  type SandboxSpec,
  SandboxStartError,
} from './executors/executor.js';
import type { StarterMetrics } from './metrics.js';
import { type Outbox, pause, reportRunning } from './outbox/outbox.js';
import { backoffMs } from './outbox/delivery.js';
import type { SchedulerClient } from './outbox/scheduler-client.js';
import { OutputCollector } from './output-collector.js';
import type { Profiles } from './profiles.js';
import {
  verdictOfFault,
  verdictOfFetch,
  verdictOfProfile,
  verdictOfRestart,
  verdictOfRun,
  verdictOfStart,
} from './verdict.js';

export interface SupervisorOptions {
  exchange: Exchange;
  executor: Executor;
  outbox: Outbox;
  client: SchedulerClient;
  metrics: StarterMetrics;
  logger: Logger;
  allowedHosts: AllowedHosts;
  slots: number;
  queueLimit: number;
  outputLimit: number;
  profiles: Profiles;
  /** Variables every script gets; a request's own come before them. */
  baseEnv: Readonly<Record<string, string>>;
  /** Why no attempt can be taken just now, if so. */
  unreadyBecause: () => string | undefined;
  /** A start found the engine away, so `unreadyBecause` may be out of date. */
  onEngineUnavailable: () => void;
}

interface Attempt {
  request: DispatchRequest;
  logger: Logger;
}

type StopReason = 'time_limit' | 'shutdown';

/** Of attempts that wait here because their sender cannot: a bound for memory, far beyond what is ever useful. */
const mostHeld = 10_000;
/** A start that takes longer, image pull included, will not come to anything. */
const longestStartMs = 10 * 60_000;
/** A sandbox that was told to stop and has not ended by then is left to the sweep; its slot is free again. */
const longestStopMs = 15_000;

export class Supervisor {
  readonly #held = new Map<string, Attempt>();
  readonly #accepting = new Map<string, Promise<'accepted' | 'already'>>();
  readonly #queue: Attempt[] = [];
  readonly #running = new Set<Promise<void>>();
  /** Aborted when no further script may start. */
  readonly #draining = new AbortController();
  /** Aborted when scripts that still run are to be ended. */
  readonly #ending = new AbortController();

  constructor(private readonly options: SupervisorOptions) {}

  get busy(): number {
    return this.#running.size;
  }

  get queued(): number {
    return this.#queue.length;
  }

  get isDraining(): boolean {
    return this.#draining.signal.aborted;
  }

  holds(attemptId: string): boolean {
    return this.#held.has(attemptId);
  }

  ids(): string[] {
    return [...this.#held.keys()];
  }

  /**
   * Takes an attempt on: it is journalled when this resolves. An attempt that was ever seen before is not taken again.
   * Throws `Refusal` `busy` or `unavailable`; the attempt then certainly will not run here. `canWait`: its sender would
   * take `busy` for the end of the run, so it waits here instead, however many do.
   */
  async accept(
    request: DispatchRequest,
    { canWait }: { canWait: boolean } = { canWait: false },
  ): Promise<'accepted' | 'already'> {
    const id = request.attempt_id;
    const underWay = this.#accepting.get(id);
    if (underWay) {
      await underWay;
      return 'already';
    }
    if (this.#held.has(id) || this.options.outbox.has(id)) return 'already';
    const accepting = this.#admit(request, canWait);
    this.#accepting.set(id, accepting);
    try {
      return await accepting;
    } finally {
      this.#accepting.delete(id);
    }
  }

  async #admit(request: DispatchRequest, canWait: boolean): Promise<'accepted' | 'already'> {
    const { exchange, slots, queueLimit } = this.options;
    const id = request.attempt_id;
    // Not held, yet launched: what a failed recovery left, and the sweep's to report. It must not run again.
    const { buried, launching, hasResult } = await exchange.readAttempt(id);
    if (buried || launching || hasResult) return 'already';
    if (this.isDraining) throw new Refusal('unavailable', 'The starter is stopping.', { retryAfterS: 5 });
    const problem = this.options.unreadyBecause();
    if (problem !== undefined) {
      throw new Refusal('unavailable', 'The starter cannot run scripts at the moment.', {
        retryAfterS: 5,
        cause: new Error(problem),
      });
    }
    if (this.#held.size >= (canWait ? mostHeld : slots + queueLimit)) {
      throw new Refusal('busy', 'All slots of the starter are taken.', { retryAfterS: 1 });
    }
    const attempt = this.#hold(request);
    try {
      await exchange.journal(request);
    } catch (error) {
      // Whoever made it, it was never launched; left there, it could run after a restart although it is refused now.
      await exchange.removeFolder(id).catch(() => undefined);
      this.#held.delete(id);
      throw new Refusal('unavailable', 'The starter cannot write its journal.', {
        retryAfterS: 5,
        cause: error,
      });
    }
    this.#enqueue(attempt);
    return 'accepted';
  }

  /** Takes on what an earlier process journalled but never launched. */
  resume(request: DispatchRequest): void {
    this.#enqueue(this.#hold(request));
  }

  /**
   * Stops taking attempts on. Scripts get `graceMs` to end by themselves and are then ended and reported. What was
   * not launched stays in the journal for the next start.
   */
  async stop(graceMs: number): Promise<void> {
    this.#draining.abort(new Error('the starter is stopping'));
    this.#queue.length = 0;
    await Promise.allSettled(this.#accepting.values());
    const grace = setTimeout(() => this.#ending.abort(), graceMs);
    try {
      await Promise.all(this.#running);
    } finally {
      clearTimeout(grace);
    }
  }

  #hold(request: DispatchRequest): Attempt {
    const logger = this.options.logger.child({ taskId: request.script_id, attemptId: request.attempt_id });
    const attempt = { request, logger };
    this.#held.set(request.attempt_id, attempt);
    return attempt;
  }

  #enqueue(attempt: Attempt): void {
    this.#queue.push(attempt);
    this.#fillSlots();
  }

  #fillSlots(): void {
    while (!this.isDraining && this.#running.size < this.options.slots) {
      const attempt = this.#queue.shift();
      if (!attempt) return;
      const run = this.#run(attempt).then((end) => {
        this.#running.delete(run);
        if (end === 'reported') this.#held.delete(attempt.request.attempt_id);
        this.#fillSlots();
      });
      this.#running.add(run);
    }
  }

  /**
   * The whole of an attempt. Never rejects. `kept`: the starter is stopping and the attempt stays in the journal,
   * and so goes on being held: the scheduler must not take it for gone.
   */
  async #run(attempt: Attempt): Promise<'reported' | 'kept'> {
    const { logger, request } = attempt;
    const scope: RunScope = { sandbox: undefined, reported: new AbortController() };
    let report: ResultReport;
    try {
      const outcome = await this.#execute(attempt, scope);
      if (outcome === 'not_launched') return 'kept';
      report = outcome;
    } catch (error) {
      logger.error({ err: error }, 'an attempt failed by a fault of the starter');
      report = verdictOfFault(request.script_id);
    }
    if (report.cause) this.options.metrics.attemptEnded(report.cause);
    logger.info(
      { cause: report.cause, returnCode: report.return_code, seconds: report.spend_time },
      'attempt ended',
    );

    const spooled = await this.#spool(attempt, report, scope);
    await this.#cleanUp(attempt, scope);
    return spooled || (await this.#spoolAtLast(attempt, report, scope)) ? 'reported' : 'kept';
  }

  async #execute(attempt: Attempt, scope: RunScope): Promise<ResultReport | 'not_launched'> {
    const { exchange, metrics, profiles } = this.options;
    const { request, logger } = attempt;
    const id = request.attempt_id;
    const draining = this.#draining.signal;

    const choice = profiles.choose({
      profile: request.profile,
      scriptName: request.script_name ?? undefined,
      scriptUrl: request.script_url ?? undefined,
    });
    if (choice.kind === 'unknown') return verdictOfProfile(request.script_id, choice.sentence);
    const { profile, scriptFile } = choice;

    let script: Buffer;
    const fetched = metrics.fetchSeconds.startTimer();
    try {
      script = await fetchScript(request.script_url, {
        allowed: this.options.allowedHosts,
        signal: draining,
      });
    } catch (error) {
      if (draining.aborted) return 'not_launched';
      if (error instanceof ScriptFetchError) return verdictOfFetch(request.script_id, error);
      throw error;
    }
    fetched();
    const input = request.context_data == null ? '' : JSON.stringify(request.context_data);
    await exchange.prepareScripts(id, script, input, scriptFile);
    if (draining.aborted) return 'not_launched';
    await exchange.markLaunching(id);

    const launched = metrics.launchSeconds.startTimer();
    const collector = new OutputCollector(this.options.outputLimit);
    const timeLimitS = Math.min(request.time_limit_s ?? Infinity, profile.timeLimitS);
    const tooLate = AbortSignal.timeout(longestStartMs);
    try {
      scope.sandbox = await this.#startPatiently(
        {
          attemptId: id,
          taskId: request.script_id,
          profile: profile.name,
          scriptFile,
          scriptsDir: exchange.scriptsDir(id),
          env: { ...this.options.baseEnv, ...request.env },
          limits: profile.limits,
          timeLimitS,
          onOutput: (stream, chunk) => collector.add(stream, chunk),
        },
        AbortSignal.any([draining, tooLate]),
        logger,
      );
    } catch (error) {
      if (draining.aborted) return verdictOfRestart(request.script_id);
      if (error instanceof SandboxStartError) {
        logger.error({ err: error.cause ?? error, reason: error.reason }, 'no sandbox could be had');
        return verdictOfStart(request.script_id, error);
      }
      if (tooLate.aborted) {
        const sentence = `The script could not be started within ${longestStartMs / 60_000} minutes.`;
        return verdictOfStart(request.script_id, new SandboxStartError('engine_error', sentence));
      }
      throw error;
    }
    launched();

    const { sandbox } = scope;
    logger.info('script started');
    void reportRunning(
      this.options.client,
      { runToken: request.run_token, taskId: request.script_id, startedAt: sandbox.startedAt },
      scope.reported.signal,
      logger,
    );
    const { exit, stoppedFor } = await this.#watch(sandbox, timeLimitS, logger);
    const report = verdictOfRun({
      taskId: request.script_id,
      exit,
      output: collector.end(),
      stoppedFor,
      timeLimitS,
      limits: profile.limits,
      outputLimit: this.options.outputLimit,
    });
    metrics.runSeconds.observe(report.spend_time ?? 0);
    return report;
  }

  /** An engine that is away (its restart, an update) is waited for until `signal` is aborted: nothing ran yet. */
  async #startPatiently(spec: SandboxSpec, signal: AbortSignal, logger: Logger): Promise<Sandbox> {
    const { executor, onEngineUnavailable } = this.options;
    for (let failures = 0; ; failures += 1) {
      signal.throwIfAborted();
      try {
        if (failures > 0) await this.#removeLeftover(spec.attemptId);
        return await executor.start(spec, signal);
      } catch (error) {
        const isAway = error instanceof SandboxStartError && error.reason === 'engine_unavailable';
        if (!isAway || signal.aborted) throw error;
        if (failures === 0) logger.warn({ err: error.cause ?? error }, 'the engine is away; waiting for it');
        onEngineUnavailable();
        await pause(Math.min(5_000, 500 * 2 ** Math.min(failures, 4)), signal);
      }
    }
  }

  /** What a failed start could not take away with the engine gone; it has the name that the next try needs. */
  async #removeLeftover(attemptId: string): Promise<void> {
    try {
      const leftovers = await this.options.executor.leftovers();
      for (const leftover of leftovers) if (leftover.attemptId === attemptId) await leftover.remove();
    } catch (error) {
      const sentence = 'The engine that runs scripts does not answer, so the script could not be started.';
      throw new SandboxStartError('engine_unavailable', sentence, { cause: error });
    }
  }

  /** Waits for the script's end, and brings it about at the time limit or when the starter must go. */
  async #watch(
    sandbox: Sandbox,
    timeLimitS: number,
    logger: Logger,
  ): Promise<{ exit: SandboxExit; stoppedFor: StopReason | undefined }> {
    let stoppedFor: StopReason | undefined;
    let giveUp: (exit: SandboxExit) => void = () => undefined;
    const gaveUp = new Promise<SandboxExit>((resolve) => (giveUp = resolve));
    const ended = new AbortController();

    const stop = (reason: StopReason) => {
      if (stoppedFor) return;
      stoppedFor = reason;
      logger.info({ reason }, 'ending the script');
      void stopUntilEnded(sandbox, ended.signal, logger).then(() => {
        if (ended.signal.aborted) return;
        logger.error('the sandbox does not end; left to the sweep');
        giveUp({ cause: 'stopped', exitCode: null, startedAt: sandbox.startedAt, finishedAt: new Date() });
      });
    };
    const leftMs = sandbox.startedAt.getTime() + timeLimitS * 1000 - Date.now();
    const timer = setTimeout(() => stop('time_limit'), Math.max(0, leftMs));
    const onEnding = () => stop('shutdown');
    this.#ending.signal.addEventListener('abort', onEnding, { once: true });
    if (this.#ending.signal.aborted) onEnding();
    try {
      const exit = await Promise.race([sandbox.exited, gaveUp]);
      return { exit, stoppedFor };
    } finally {
      ended.abort();
      clearTimeout(timer);
      this.#ending.signal.removeEventListener('abort', onEnding);
    }
  }

  async #spool(attempt: Attempt, report: ResultReport, scope: RunScope): Promise<boolean> {
    const { request, logger } = attempt;
    try {
      await this.options.exchange.spool(request.attempt_id, { runToken: request.run_token, report });
    } catch (error) {
      logger.error({ err: error }, 'a result could not be spooled');
      return false;
    }
    scope.reported.abort();
    this.options.outbox.add(request.attempt_id);
    return true;
  }

  /** The disk is full, or worse: the result waits in memory, and its slot with it. */
  async #spoolAtLast(attempt: Attempt, report: ResultReport, scope: RunScope): Promise<boolean> {
    for (let failures = 3; ; failures += 1) {
      // At once too: the script's folder is gone now, and it may be what filled the disk.
      if (await this.#spool(attempt, report, scope)) return true;
      if (this.#ending.signal.aborted) return false;
      await pause(backoffMs(failures), this.#ending.signal);
    }
  }

  /** Sandbox and scripts go at once; what cannot be removed now, the sweep removes. */
  async #cleanUp(attempt: Attempt, scope: RunScope): Promise<void> {
    const { logger, request } = attempt;
    try {
      await scope.sandbox?.remove();
    } catch (error) {
      logger.error({ err: error }, 'a sandbox could not be removed; left to the sweep');
    }
    try {
      await this.options.exchange.removeScripts(request.attempt_id);
    } catch (error) {
      logger.error({ err: error }, "an attempt's folder could not be removed; left to the sweep");
    }
  }
}

interface RunScope {
  sandbox: Sandbox | undefined;
  /** Aborted once the result is on its way: then nobody needs to hear that the script runs. */
  reported: AbortController;
}

/** Asks again while the sandbox has not ended: an engine may be away for a moment. */
async function stopUntilEnded(sandbox: Sandbox, ended: AbortSignal, logger: Logger): Promise<void> {
  const giveUpAt = Date.now() + longestStopMs;
  while (!ended.aborted && Date.now() < giveUpAt) {
    try {
      await Promise.race([sandbox.stop(), pause(longestStopMs / 3, ended)]);
    } catch (error) {
      logger.warn({ error: messageOf(error) }, 'a sandbox could not be stopped; trying again');
    }
    await pause(1_000, ended);
  }
}
