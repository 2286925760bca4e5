/**
 * A starter of the original pipeline (version 1) as far as the wire goes: no tokens, no attempts, `Received` as soon as
 * a run is in a queue in memory, ten threads, and a result that is posted once and never again. What a script does is
 * the test's to say.
 */
import { readBody, startLoopbackServer, type LoopbackServer } from './loopback-server.js';

export interface OriginalPush {
  headers: Record<string, string | string[] | undefined>;
  body: Record<string, unknown>;
}

export interface OriginalRun {
  source: string;
  /** What the script reads: the context's JSON, or nothing. */
  input: string;
  env: Record<string, unknown>;
}

export interface OriginalRunEnd {
  output: string;
  returnCode?: number;
  seconds?: number;
}

export interface FakeOriginalStarter extends LoopbackServer {
  pushes: OriginalPush[];
  /** Runs that were begun, oldest first. */
  runs: OriginalRun[];
  /** How each posted result was answered. */
  answers: { status: number; body: string; sent: Record<string, unknown> }[];
  /** What a script does; at first, prints its own source and ends well. */
  script: (run: OriginalRun) => OriginalRunEnd | Promise<OriginalRunEnd>;
  /** Takes the run, and then closes the connection instead of answering. */
  hangUpAfterTaking: boolean;
  pings: number;
}

const threads = 10;
const timeLimitSentence = "The script's running time exceeded the limit and the execution was aborted.";

/** `schedulerUrl`: where results go; told later when the scheduler is made after it. */
export async function fakeOriginalStarter(
  options: { schedulerUrl: string } = { schedulerUrl: '' },
): Promise<FakeOriginalStarter & { options: { schedulerUrl: string } }> {
  const waiting: Record<string, unknown>[] = [];
  let busy = 0;

  const server = await startLoopbackServer(async (request, response) => {
    const html = (status: number, text: string) =>
      response.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8' }).end(text);
    const body = await readBody(request);
    if (request.url === '/ping/') {
      fake.pings += 1;
      return void html(200, 'Pong');
    }
    if (request.url === '/_/health') return void html(200, 'Everything is ok.');
    if (request.url === '/') return void html(request.method === 'POST' ? 500 : 404, 'Not Found');
    if (request.url !== '/function/run-python') return void html(404, 'Not Found');
    let parsed: Record<string, unknown>;
    try {
      parsed = JSON.parse(body.toString('utf8')) as Record<string, unknown>;
    } catch {
      return void html(400, 'Bad Request.');
    }
    fake.pushes.push({ headers: request.headers, body: parsed });
    waiting.push(parsed);
    takeNext();
    if (fake.hangUpAfterTaking) return void response.destroy();
    html(200, 'Received');
  });

  function takeNext(): void {
    while (busy < threads) {
      const push = waiting.shift();
      if (!push) return;
      busy += 1;
      void runOne(push).finally(() => {
        busy -= 1;
        takeNext();
      });
    }
  }

  async function runOne(push: Record<string, unknown>): Promise<void> {
    const end = await execute(push);
    const sent = {
      success: end.returnCode === 0,
      return_code: end.returnCode,
      output: end.output,
      spend_time: end.seconds,
      script_id: push['script_id'],
      task_log_id: null,
    };
    // Once, whatever becomes of it.
    const answer = await fetch(`${fake.options.schedulerUrl}/script-result/`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'User-Agent': 'python-starter/6.1.0' },
      body: JSON.stringify(sent),
    }).catch(() => undefined);
    if (answer) fake.answers.push({ status: answer.status, body: await answer.text(), sent });
  }

  async function execute(
    push: Record<string, unknown>,
  ): Promise<{ output: string; returnCode: number | null; seconds: number | null }> {
    const early = (output: string) => ({ output, returnCode: null, seconds: null });
    const url = push['script_url'];
    if (typeof url !== 'string' || url === '') return early('Script URL is missing');
    const file = await fetch(url, { headers: { 'User-Agent': 'python-starter/6.1.0' } }).catch(
      () => undefined,
    );
    if (!file?.ok) return early('Fail to get script');
    const context = push['context_data'];
    const isObject = typeof context === 'object' && context !== null && !Array.isArray(context);
    const run: OriginalRun = {
      source: await file.text(),
      input: isObject ? JSON.stringify(context) : '',
      env: (push['env'] ?? {}) as Record<string, unknown>,
    };
    fake.runs.push(run);
    const end = await fake.script(run);
    const returnCode = end.output === timeLimitSentence ? -1 : (end.returnCode ?? 0);
    return { output: end.output, returnCode, seconds: end.seconds ?? 0.5 };
  }

  const fake: FakeOriginalStarter & { options: { schedulerUrl: string } } = {
    ...server,
    options,
    pushes: [],
    runs: [],
    answers: [],
    script: (run) => ({ output: run.source }),
    hangUpAfterTaking: false,
    pings: 0,
  };
  return fake;
}
