/**
 * A host application: serves scripts, well or badly, and answers what a scheduler asks it. Paths are given with
 * their leading slash.
 */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type LoopbackServer, readBody, sendJson, startLoopbackServer } from './loopback-server.js';

export type HostHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

export interface SeenRequest {
  method: string;
  /** With its query. */
  path: string;
  headers: IncomingMessage['headers'];
  body: string;
}

export interface FakeHostApp extends LoopbackServer {
  /** Every request, oldest first. */
  requests: SeenRequest[];
  /** Serves a script; answers its URL. */
  script(path: string, source: string | Buffer): string;
  /** Answers something else at a path; answers the URL. */
  at(path: string, handler: HostHandler): string;
  redirect(path: string, to: string, status?: number): string;
  /** Sends headers and then a byte every `everyMs` for ever. */
  drip(path: string, everyMs?: number): string;
  /** Sends `bytes` of comment lines, with or without saying so beforehand. */
  huge(path: string, bytes: number, options?: { announced: boolean }): string;
  /** What `GET …/run-script/<name>/task/file/` answers: the script's URL, or a status. */
  scriptFile(scriptName: string, answer: { script_url: string; temp_api_token?: string } | number): void;
  /** What `GET /api/v2.1/scripts-running-limit/` answers; -1 at first. */
  runningLimit: number;
}

/** `address`: where it listens, for a scenario whose services are in containers. */
export async function fakeHostApp({ address = '127.0.0.1' } = {}): Promise<FakeHostApp> {
  const handlers = new Map<string, HostHandler>();
  const scriptFiles = new Map<string, { script_url: string; temp_api_token?: string } | number>();
  const requests: SeenRequest[] = [];

  const answer: HostHandler = async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://host');
    const body = (await readBody(request)).toString('utf8');
    requests.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers, body });
    const handler = handlers.get(pathname);
    if (handler) return await handler(request, response);
    const fileOf = /^\/api\/v2\.1\/dtable\/[^/]+\/run-script\/([^/]+)\/task\/file\/$/.exec(pathname)?.[1];
    if (fileOf !== undefined) {
      const file = scriptFiles.get(decodeURIComponent(fileOf)) ?? 404;
      if (typeof file === 'number') return sendJson(response, file, { error_msg: 'not served' });
      return sendJson(response, 200, { temp_api_token: 'temporary-token', ...file });
    }
    if (pathname === '/api/v2.1/scripts-running-limit/') {
      return sendJson(response, 200, { scripts_running_limit: host.runningLimit });
    }
    if (pathname === '/api/v2.1/scripts-exceeded-notifications/')
      return sendJson(response, 200, { success: true });
    sendJson(response, 404, { error_msg: 'Not found' });
  };
  const server = await startLoopbackServer(answer, 0, address);

  const at = (path: string, handler: HostHandler) => {
    handlers.set(path, handler);
    return server.url + path;
  };
  const host: FakeHostApp = {
    ...server,
    requests,
    at,
    runningLimit: -1,
    script: (path, source) =>
      at(path, (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'application/octet-stream' }).end(source);
      }),
    redirect: (path, to, status = 302) =>
      at(path, (_request, response) => {
        response.writeHead(status, { Location: to }).end();
      }),
    drip: (path, everyMs = 20) =>
      at(path, (_request, response) => {
        response.writeHead(200);
        const timer = setInterval(() => response.write('#'), everyMs);
        response.once('close', () => clearInterval(timer));
      }),
    huge: (path, bytes, { announced } = { announced: true }) =>
      at(path, async (_request, response) => {
        response.writeHead(200, announced ? { 'Content-Length': bytes } : {});
        const block = Buffer.alloc(64 * 1024, '#\n');
        const closed = once(response, 'close');
        for (let sent = 0; sent < bytes && !response.destroyed; sent += block.length) {
          const chunk = block.subarray(0, Math.min(block.length, bytes - sent));
          if (!response.write(chunk)) await Promise.race([once(response, 'drain'), closed]);
        }
        response.end();
      }),
    scriptFile: (scriptName, answer) => void scriptFiles.set(scriptName, answer),
  };
  return host;
}
