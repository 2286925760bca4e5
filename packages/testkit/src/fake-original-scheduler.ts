/**
 * A scheduler of the original pipeline (version 1) as a starter meets it: it pushes without a token and takes results
 * without one; it has no running callback. Its proxy can be told to refuse bodies over a mebibyte, as the original's
 * does.
 */
import { readBody, startLoopbackServer, type LoopbackServer } from './loopback-server.js';

export interface FakeOriginalScheduler extends LoopbackServer {
  /** Results as they came, word for word, oldest first; only those that were taken. */
  results: Record<string, unknown>[];
  /** Everything that was asked of it. */
  requests: { path: string; headers: Record<string, string | string[] | undefined>; bytes: number }[];
  /** Answers results with this status instead of taking them; undefined at first. */
  failsWith: number | undefined;
  /** Largest body that the proxy before it lets through. */
  bodyLimit: number;
  /** Sends a run to a starter, as the original does. */
  push(starterUrl: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
}

export async function fakeOriginalScheduler(): Promise<FakeOriginalScheduler> {
  const server = await startLoopbackServer(async (request, response) => {
    const body = await readBody(request);
    const html = (status: number, text: string) =>
      response.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8' }).end(text);
    fake.requests.push({ path: request.url ?? '', headers: request.headers, bytes: body.length });
    if (request.url === '/ping/') return void html(200, 'Pong');
    if (request.url !== '/script-result/') return void html(404, '<h1>Not Found</h1>');
    if (request.method !== 'POST') return void html(405, '<h1>Method Not Allowed</h1>');
    if (body.length > fake.bodyLimit) return void html(413, '<h1>413 Request Entity Too Large</h1>');
    if (fake.failsWith !== undefined) return void html(fake.failsWith, 'Internal server error');
    try {
      fake.results.push(JSON.parse(body.toString('utf8')) as Record<string, unknown>);
    } catch {
      return void html(400, 'Bad Request.');
    }
    html(200, 'success');
  });
  const fake: FakeOriginalScheduler = {
    ...server,
    results: [],
    requests: [],
    failsWith: undefined,
    bodyLimit: Infinity,
    push: (starterUrl, body, headers = {}) =>
      fetch(`${starterUrl}/function/run-python`, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json',
          'User-Agent': 'python-scheduler/6.1.0',
          ...headers,
        },
        body: JSON.stringify(body),
      }),
  };
  return fake;
}
