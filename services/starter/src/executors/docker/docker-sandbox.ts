/**
 * One running container: hands its output on, waits for its end, tells why it ended. Starting it is
 * `docker-executor.ts`'s work, deciding the cause `exit-cause.ts`'s.
 */
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { Sandbox, SandboxExit, SandboxProfile, SandboxSpec } from '../executor.js';
import { type EndReport, EndReportFilter } from './end-report.js';
import type { Engine } from './engine.js';
import { exitCause, type FinalState } from './exit-cause.js';
import { OutputDemuxer } from './output-demuxer.js';
import { handOverOutputFile } from './output-file.js';

export class DockerSandbox implements Sandbox {
  readonly attemptId: string;
  readonly startedAt: Date;
  readonly exited: Promise<SandboxExit>;
  readonly #engine: Engine;
  readonly #containerId: string;
  readonly #spec: SandboxSpec;
  readonly #protocol: SandboxProfile['protocol'];
  readonly #output: AttachedOutput;
  readonly #letGo: AbortSignal;
  readonly #stopAsked = new AbortController();
  #ended = false;
  #removed: Promise<void> | undefined;

  /** `letGo` aborts when the executor closes: the container goes on, nobody watches it any more. */
  constructor(
    engine: Engine,
    containerId: string,
    spec: SandboxSpec,
    protocol: SandboxProfile['protocol'],
    output: AttachedOutput,
    letGo: AbortSignal,
  ) {
    this.attemptId = spec.attemptId;
    this.startedAt = new Date();
    this.#engine = engine;
    this.#containerId = containerId;
    this.#spec = spec;
    this.#protocol = protocol;
    this.#output = output;
    this.#letGo = letGo;
    this.exited = this.#watch();
  }

  async stop(): Promise<void> {
    if (this.#ended) return;
    this.#stopAsked.abort();
    await this.#engine.kill(this.#containerId);
  }

  remove(): Promise<void> {
    this.#removed ??= this.#stopAndRemove().catch((error: unknown) => {
      this.#removed = undefined; // so that a later call tries again
      throw error;
    });
    return this.#removed;
  }

  async #stopAndRemove(): Promise<void> {
    // The removal kills too; stopping first lets `exited` see how it ended.
    await this.stop().catch(() => undefined);
    await Promise.race([this.exited, pause(this.#engine.timeLimits.unseenEndMs, undefined, { ref: false })]);
    await this.#engine.removeContainer(this.#containerId);
  }

  async #watch(): Promise<SandboxExit> {
    await this.#containerEnded();
    const finishedAt = new Date();
    if (!this.#letGo.aborted) await this.#output.drained(this.#engine.timeLimits.drainIdleMs);
    const report = this.#output.close();
    const isOriginal = this.#protocol === 'original';
    if (isOriginal && !this.#letGo.aborted) await handOverOutputFile(this.#spec);
    const end = exitCause({
      report,
      state: this.#letGo.aborted ? 'unknown' : await this.#finalState(),
      stopRequested: this.#stopAsked.signal.aborted,
      tellsNothing: isOriginal,
      limits: this.#spec.limits,
    });
    this.#ended = true;
    return { ...end, startedAt: this.startedAt, finishedAt };
  }

  /** Resolves when the container has ended, or when nobody can know any more. */
  async #containerEnded(): Promise<void> {
    const giveUp = new AbortController();
    const letGo = () => giveUp.abort();
    this.#letGo.addEventListener('abort', letGo, { once: true });
    let stopBound: NodeJS.Timeout | undefined;
    const stopAsked = () => {
      stopBound = setTimeout(letGo, this.#engine.timeLimits.unseenEndMs);
    };
    this.#stopAsked.signal.addEventListener('abort', stopAsked, { once: true });
    try {
      for (let awaySince: number | undefined; !this.#letGo.aborted && !giveUp.signal.aborted;) {
        try {
          // Without a condition: a wait for the "next exit" that comes after the exit would never return.
          await this.#engine.docker.getContainer(this.#containerId).wait({ abortSignal: giveUp.signal });
          return;
        } catch (error) {
          if ((error as { statusCode?: number }).statusCode === 404) return;
          awaySince ??= Date.now();
          if (Date.now() - awaySince > this.#engine.timeLimits.engineAwayMs) return;
          await pause(250, undefined, { signal: giveUp.signal }).catch(() => undefined);
        }
      }
    } finally {
      clearTimeout(stopBound);
      this.#letGo.removeEventListener('abort', letGo);
      this.#stopAsked.signal.removeEventListener('abort', stopAsked);
    }
  }

  async #finalState(): Promise<FinalState> {
    try {
      const found = await this.#engine.read<{ State: Exclude<FinalState, string> & { Running: boolean } }>(
        'describe the container',
        `/containers/${this.#containerId}/json`,
      );
      if (!found) return 'gone';
      return found.State.Running ? 'unknown' : found.State;
    } catch {
      return 'unknown'; // the engine is away: the cause says so
    }
  }
}

/** The attached stream of a container: takes the order in, hands output on as it comes. */
export class AttachedOutput {
  readonly #socket: Socket;
  readonly #filter: EndReportFilter;
  readonly #closed: Promise<void>;
  #lastPieceAt = Date.now();
  #finished = false;
  #endReport: EndReport | undefined;
  #ordered = false;

  constructor(socket: Socket, reportWord: string, onOutput: SandboxSpec['onOutput']) {
    this.#socket = socket;
    this.#filter = new EndReportFilter(reportWord, (piece) => onOutput('stderr', piece));
    const demuxer = new OutputDemuxer((stream, piece) => {
      if (stream === 'stdout') onOutput('stdout', piece);
      else this.#filter.write(piece);
    });
    this.#closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#finish();
        resolve();
      });
    });
    // A broken stream is no error of its own: the container's state tells what happened.
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      if (this.#finished) return;
      this.#lastPieceAt = Date.now();
      try {
        demuxer.write(chunk);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : undefined);
      }
    });
  }

  /** The order, or a part of it, may have reached the container. */
  get ordered(): boolean {
    return this.#ordered;
  }

  /** Hands the order over and ends the container's standard input; rejects if the stream is or gets broken. */
  order(line: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const broken = () => reject(new Error('the stream to the container is closed'));
      if (this.#finished || this.#socket.destroyed) return broken();
      this.#socket.once('close', broken);
      signal.addEventListener('abort', () => this.#socket.destroy(), { once: true });
      this.#ordered = true;
      // Called on a failure too.
      this.#socket.end(`${line}\n`, (error?: Error | null) => {
        this.#socket.off('close', broken);
        if (error) reject(error);
        else resolve();
      });
    });
  }

  /** Resolves when all output was handed on, or when none came for `idleMs`. */
  async drained(idleMs: number): Promise<void> {
    this.#lastPieceAt = Date.now();
    const given = new AbortController();
    const idle = async () => {
      for (let left = idleMs; left > 0; left = this.#lastPieceAt + idleMs - Date.now()) {
        await pause(left, undefined, { signal: given.signal });
      }
    };
    await Promise.race([this.#closed, idle().catch(() => undefined)]);
    given.abort();
  }

  /** Hands on nothing any more, and tells PID 1's last words if it had any. */
  close(): EndReport | undefined {
    this.#finish();
    this.#socket.destroy();
    return this.#endReport;
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#endReport = this.#filter.end();
  }
}
