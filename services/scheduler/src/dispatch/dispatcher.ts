/**
 * The dispatcher hands queued tasks to starters with free slots. It is a periodic task that is also nudged whenever
 * something could have changed: a submit, a result, a heartbeat. Claiming is the store's, fairly and in one
 * transaction; pushing runs outside of it, so that one slow starter or host application delays nobody else.
 * A full or missing starter delays a task; it never fails it.
 */
import { fixedOutput, type DispatchRequest } from '@stadion/contracts';
import { messageOf, pause, type Logger, type PeriodicTask, type SigningKey } from '@stadion/service-kit';
import { HostRefusal, type HostClient, type ScriptLocation } from '../host-client.js';
import type { PushOutcome, StarterClient } from '../starter-client.js';
import type { OriginalStarter } from '../starters/original-starter.js';
import type { Claim, Store } from '../store/store.js';
import { signRunToken } from '../tokens.js';

export interface DispatcherOptions {
  store: Pick<
    Store,
    'claimForStarters' | 'releaseAttempt' | 'beginAttempt' | 'refuseTask' | 'refuseStarterUntil'
  >;
  starters: StarterClient;
  originalStarter?: OriginalStarter | undefined;
  host: HostClient;
  runKey: SigningKey;
  hostUrl: string;
  timeLimitS: number;
  /** A starter that was not heard of for longer gets nothing, in milliseconds. */
  starterSilentMs: number;
  logger: Logger;
  /** How soon a host application that is away is asked again, in milliseconds. */
  hostRetryMs?: number;
  /** For how long a run waits for a host application that is away, in milliseconds. */
  hostPatienceMs?: number;
}

/** Tasks claimed in one transaction. */
const batchSize = 64;
/** For so long after a claim no heartbeat makes another replica push the same attempt (see `watch-starters.ts`). */
const aloneMs = 8_000;

export class Dispatcher implements PeriodicTask {
  readonly name = 'dispatch';
  readonly cron = '* * * * * *';
  readonly behindAfterMs = 15_000;
  readonly #pushes = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();

  constructor(private readonly options: DispatcherOptions) {}

  async runOnce(signal: AbortSignal): Promise<Record<string, number>> {
    let claimed = 0;
    while (!signal.aborted) {
      const claims = await this.options.store.claimForStarters({
        limit: batchSize,
        liveWithinMs: this.options.starterSilentMs,
      });
      for (const claim of claims) this.push(claim);
      claimed += claims.length;
      if (claims.length < batchSize) break;
    }
    return { claimed };
  }

  /** Pushes a fresh claim to its starter. */
  push(claim: Claim): void {
    // An original starter lists nothing, so nobody else ever pushes to it.
    const aloneUntil = this.#isForOriginal(claim) ? Infinity : performance.now() + aloneMs;
    this.#track(claim, () => performance.now() < aloneUntil);
  }

  /** Pushes an attempt again that its starter does not list. Another replica may be doing the same. */
  pushAgain(claim: Claim): void {
    this.#track(claim, () => false);
  }

  /** `isAlone`: certainly nobody else pushes this attempt just now. */
  #track(claim: Claim, isAlone: () => boolean): void {
    if (this.#pushes.has(claim.attemptId)) return;
    const pushing = this.#push(claim, isAlone)
      .catch((error: unknown) => {
        // The store is away: the attempt stays `starting` and the next heartbeats bring it up again.
        this.options.logger.error({ err: error, ...ids(claim) }, 'dispatch failed midway');
      })
      .finally(() => this.#pushes.delete(claim.attemptId));
    this.#pushes.set(claim.attemptId, pushing);
  }

  /** Waits for pushes under way; those that wait for the host application are given up and repeated later. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#pushes.values());
  }

  async #push(claim: Claim, isAlone: () => boolean): Promise<void> {
    const { store, logger } = this.options;
    const toOriginal = this.#isForOriginal(claim);
    const location = await this.#locateScript(claim, isAlone);
    if (!location) return;
    const outcome = await this.#send(claim, location);
    switch (outcome.kind) {
      case 'accepted':
        logger.info({ ...ids(claim), starterId: claim.starterId }, 'attempt accepted by its starter');
        // An original starter never says that a script runs; it got no more than it has threads, so it does.
        if (toOriginal) await store.beginAttempt(claim.task.id, claim.attemptId, null);
        return;
      case 'refused':
        logger.warn(
          { ...ids(claim), starterId: claim.starterId, reason: outcome.reason },
          'attempt refused; the task waits',
        );
        await store.refuseStarterUntil(claim.starterId, outcome.retryAfterMs);
        // Otherwise the starter may have taken another push of it meanwhile; the next heartbeat tells.
        if (isAlone()) await store.releaseAttempt(claim.task.id, claim.attemptId);
        return;
      case 'invalid':
        logger.error(
          { ...ids(claim), starterId: claim.starterId, reason: outcome.reason },
          'run cannot be taken',
        );
        await store.refuseTask({
          taskId: claim.task.id,
          attemptId: claim.attemptId,
          output: `${fixedOutput.scriptInvalid}\nThe run could not be handed over: ${outcome.reason}.`,
          returnCode: -1,
          cause: 'script_invalid',
        });
        return;
      case 'unknown':
        logger.warn(
          { ...ids(claim), starterId: claim.starterId, reason: outcome.reason },
          toOriginal
            ? 'push to the original starter ended without an answer; only a result can tell'
            : 'push ended without an answer; its heartbeat will tell',
        );
    }
  }

  #isForOriginal(claim: Claim): boolean {
    return claim.starterId === this.options.originalStarter?.id;
  }

  async #send(claim: Claim, location: ScriptLocation): Promise<PushOutcome> {
    const request = this.#requestFor(claim, location);
    const { originalStarter } = this.options;
    if (!originalStarter || !this.#isForOriginal(claim)) {
      return await this.options.starters.push(claim.starterUrl, request);
    }
    return await originalStarter.push({
      script_url: location.scriptUrl,
      env: { dtable_web_url: this.options.hostUrl, api_token: location.apiToken ?? '' },
      context_data: claim.task.context,
      script_id: claim.task.id,
    });
  }

  #requestFor(claim: Claim, location: ScriptLocation): DispatchRequest {
    return {
      script_id: claim.task.id,
      script_url: location.scriptUrl,
      script_name: claim.task.scriptName,
      env: { dtable_web_url: this.options.hostUrl, api_token: location.apiToken ?? '' },
      context_data: claim.task.context,
      attempt_id: claim.attemptId,
      run_token: signRunToken(this.options.runKey, ids(claim)),
      time_limit_s: this.options.timeLimitS,
    };
  }

  /**
   * Undefined when there is nothing to push: the host application refused for good, or is away. While it is away the
   * attempt stays `starting` and is pushed again by the heartbeats, until patience ends.
   */
  async #locateScript(claim: Claim, isAlone: () => boolean): Promise<ScriptLocation | undefined> {
    const { task } = claim;
    if (task.scriptUrl) return { scriptUrl: task.scriptUrl, apiToken: task.apiToken };
    const { store, host, logger, hostRetryMs = 500, hostPatienceMs = 600_000 } = this.options;
    const patienceEndsAt = (task.assignedAt?.getTime() ?? Date.now()) + hostPatienceMs;
    for (;;) {
      try {
        return await host.locateScript(task.baseUuid, task.scriptName, this.#stop.signal);
      } catch (error) {
        if (this.#stop.signal.aborted) {
          // Nobody will push it again, as a heartbeat of ours would make us do; it was certainly not pushed yet.
          if (this.#isForOriginal(claim)) await store.releaseAttempt(task.id, claim.attemptId);
          return undefined;
        }
        const refusal = error instanceof HostRefusal ? error : undefined;
        if (refusal?.passing && Date.now() < patienceEndsAt) {
          if (!isAlone()) return undefined;
          await pause(hostRetryMs, this.#stop.signal);
          continue;
        }
        logger.warn(
          { ...ids(claim), error: messageOf(refusal?.cause ?? error) },
          'script not handed out by the host application',
        );
        await store.refuseTask({
          taskId: task.id,
          attemptId: claim.attemptId,
          output: `${fixedOutput.hostRefused}\n${refusal?.message ?? 'The script could not be found.'}`,
          returnCode: -1,
          cause: 'script_unavailable',
        });
        return undefined;
      }
    }
  }
}

function ids(claim: Claim): { taskId: number; attemptId: string } {
  return { taskId: claim.task.id, attemptId: claim.attemptId };
}
