/** Runs one script through the public API, as a host application would, and tells how it went. */
import type { StadionClient } from '@stadion/client';
import { type RunKey } from '@stadion/client';
import type { HostRun } from '@stadion/contracts';

export const exampleBase = '00000000-0000-4000-8000-000000000000';
export const exampleOwner = 'you@example.com';

export interface Demonstration {
  run: HostRun;
  /** Milliseconds from asking for the run to reading its result. */
  tookMs: number;
}

export async function demonstrate(
  client: StadionClient,
  script: { name: string; url: string },
  signal: AbortSignal,
): Promise<Demonstration> {
  const askedAt = performance.now();
  const key: RunKey = await client.submitRun({
    dtable_uuid: exampleBase,
    script_name: script.name,
    owner: exampleOwner,
    context_data: { name: 'world' },
    script_url: script.url,
    temp_api_token: 'example-token',
  });
  const run = await client.waitForRun(key, { everyMs: 20, signal });
  return { run, tookMs: performance.now() - askedAt };
}

/** The script's own exit code where it has one; otherwise 0 for success and 1 for anything else. */
export function exitCodeOf(run: HostRun): number {
  if (run.success) return 0;
  const code = run.return_code ?? 1;
  return code > 0 && code < 256 ? code : 1;
}

export function describeOutcome({ run, tookMs }: Demonstration): string {
  const lines = (run.output ?? '').replace(/\n$/, '').split('\n');
  const outcome = run.success ? 'succeeded' : 'failed';
  return [
    ...lines.map((line) => `  | ${line}`),
    '',
    `${run.script_name} ${outcome} with return code ${run.return_code ?? 'none'}, ${Math.round(tookMs)} ms after it was asked for.`,
  ].join('\n');
}

/** How to do the same by hand. */
export function describeCalls(
  url: string,
  secretFile: string | undefined,
  script: string,
  run: HostRun,
): string {
  const secret = secretFile ? `$(cat ${shellWord(secretFile)})` : '$STADION_AUTH_TOKEN';
  const body = JSON.stringify({
    dtable_uuid: exampleBase,
    script_name: script,
    owner: exampleOwner,
    context_data: { name: 'you' },
  });
  const query = `dtable_uuid=${exampleBase}&script_name=${encodeURIComponent(script)}`;
  return [
    'Ask for a run:',
    '',
    `  curl -s -H "Authorization: Token ${secret}" ${url}/run-script/ \\`,
    `    -d ${shellWord(body)}`,
    '',
    'Read it (put its script_id in the place of the number):',
    '',
    `  curl -s -H "Authorization: Token ${secret}" '${url}/run-script/${run.id}/?${query}'`,
  ].join('\n');
}

function shellWord(text: string): string {
  return /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
