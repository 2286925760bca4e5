/**
 * A scheduler of the original pipeline (version 1) as the starter calls it, and how its attempts are told from ours:
 * they carry `noRunToken` where ours carry a run token, in the journal and in the spool too, so that a result finds its
 * way after a restart. The original has no tokens, no running callback and no heartbeats.
 */
import type { OriginalResult, ResultReport } from '@stadion/contracts';
import { codeOf, messageOf } from '@stadion/service-kit';
import { connectTo } from './connect-to.js';
import type { Delivery } from './delivery.js';
import type { SchedulerClient } from './scheduler-client.js';

/** Stands where the run token of an attempt would: it came from the original scheduler. No token has this form. */
export const noRunToken = 'none: from the original scheduler';

/** What the proxy in front of an original scheduler lets through, unless somebody raised it, less some for headers. */
const usualBodyLimit = 1024 * 1024 - 16 * 1024;

/**
 * Sends what belongs to the original scheduler there, and everything else to ours. Either may be missing; a result for
 * one that is missing waits.
 */
export function routeByOrigin(
  ours: SchedulerClient | undefined,
  original: SchedulerClient | undefined,
): SchedulerClient {
  const clientFor = (runToken: string) => (runToken === noRunToken ? original : ours);
  const missing = (runToken: string) =>
    `${runToken === noRunToken ? 'STADION_ORIGINAL_SCHEDULER_URL' : 'STADION_SCHEDULER_URL'} is no longer set`;
  return {
    async postResult(result, signal) {
      const client = clientFor(result.runToken);
      if (!client) return { kind: 'retry', reason: missing(result.runToken) };
      return await client.postResult(result, signal);
    },
    async postRunning(runToken, report, signal) {
      await clientFor(runToken)?.postRunning(runToken, report, signal);
    },
    async postHeartbeat(status, signal) {
      await ours?.postHeartbeat(status, signal);
    },
    close() {
      ours?.close();
      original?.close();
    },
  };
}

export function createOriginalSchedulerClient(schedulerUrl: string): SchedulerClient {
  const { http, close } = connectTo(schedulerUrl);

  async function post(body: string, signal: AbortSignal): Promise<number> {
    return (await http.post<string>('/script-result/', body, { signal })).status;
  }

  return {
    async postResult({ report }, signal) {
      try {
        const result = originalResultOf(report);
        let status = await post(JSON.stringify(result), signal);
        // Its proxy takes a mebibyte; a million characters may be more (R16). Better cut than lost.
        if (status === 413) status = await post(cutToFit(result, usualBodyLimit), signal);
        return originalDeliveryOf(status);
      } catch (error) {
        return { kind: 'retry', reason: codeOf(error) ?? messageOf(error) };
      }
    },
    postRunning: () => Promise.resolve(),
    postHeartbeat: () => Promise.resolve(),
    close,
  };
}

/** 200 for every result, also one it has no use for; anything else may be different later. */
export function originalDeliveryOf(status: number): Delivery {
  if (status === 200) return { kind: 'delivered' };
  if (status === 400 || status === 413) return { kind: 'refused', status };
  return { kind: 'retry', reason: `the original scheduler answered ${status}` };
}

export function originalResultOf(report: ResultReport): OriginalResult {
  return {
    success: report.success,
    return_code: report.return_code,
    output: report.output,
    // Nothing, not zero, for a script that never started.
    spend_time: report.started_at == null ? report.spend_time || null : (report.spend_time ?? null),
    script_id: report.script_id,
    task_log_id: null,
  };
}

/** The result as JSON of at most `maxBytes`, its output cut and saying so. */
export function cutToFit(result: OriginalResult, maxBytes: number): string {
  const output = result.output ?? '';
  const sentence =
    '\n[The output was cut: the scheduler takes no more. Its proxy limits requests to about 1 MiB.]';
  const withFirst = (length: number) =>
    JSON.stringify({ ...result, output: output.slice(0, length).toWellFormed() + sentence });
  let fits = 0;
  let tooLong = output.length + 1;
  while (tooLong - fits > 1) {
    const middle = Math.floor((fits + tooLong) / 2);
    if (Buffer.byteLength(withFirst(middle)) <= maxBytes) fits = middle;
    else tooLong = middle;
  }
  return withFirst(fits);
}
