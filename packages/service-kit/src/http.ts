/**
 * What every HTTP service here has in common. A route is a row of a table: method, path, who may call it, and a
 * handler; a route without a declared permission does not type-check, and one whose permission has no gate does not
 * mount. Bodies are JSON whatever their content type says (host applications send text/plain too).
 */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type ErrorRequestHandler, type Express, type Request, type Response } from 'express';
import type { z } from 'zod';
import { messageOf, Refusal } from './errors.js';
import { parseJson } from './json-body.js';
import type { Logger } from './logger.js';
import type { Registry } from './metrics.js';
import { histogram } from './metrics.js';

/** Checks a credential; throws `Refusal`, or answers whom the caller speaks for. */
export type Gate = (request: Request) => string | Promise<string>;

/** `public` needs no credential; every other permission has a gate of its own. */
export type Permission = 'public' | 'host' | 'starter' | 'run' | 'result' | 'scheduler' | 'dispatch';

export interface RouteContext {
  request: Request;
  response: Response;
  /** What the route's gate answered; empty for public routes. */
  subject: string;
  /** The parsed body; undefined when there is none. */
  body: unknown;
}

export interface Route {
  method: 'get' | 'post';
  /** With and without a trailing slash. */
  path: string;
  permission: Permission;
  /** Largest body in bytes. */
  bodyLimit?: number;
  /** How refusals are written: `text` as the original pipeline did, `json` otherwise. */
  refusals?: 'text' | 'json';
  /** A body that cannot be parsed is the handler's to judge (it then sees undefined). */
  bodyOptional?: boolean;
  handler: (context: RouteContext) => Promise<void> | void;
}

export interface HttpAppOptions {
  routes: readonly Route[];
  gates: Partial<Record<Permission, Gate>>;
  logger: Logger;
  registry: Registry;
  /** Translates errors that this service's parts throw into refusals; others are faults, answered 500. */
  refusalOf?: (error: unknown) => Refusal | undefined;
  /** Why no request can be served yet; undefined once they can. Public routes are served all the same. */
  notReadyBecause?: () => string | undefined;
}

export function createHttpApp(options: HttpAppOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', 'simple');
  const durations = histogram(
    options.registry,
    'stadion_http_request_seconds',
    'Time to answer a request.',
    ['method', 'route', 'status'],
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
  );
  const methodsByPath = new Map<string, string[]>();
  for (const route of options.routes) {
    mount(app, route, options, durations);
    methodsByPath.set(route.path, [...(methodsByPath.get(route.path) ?? []), route.method.toUpperCase()]);
  }
  for (const [path, methods] of methodsByPath) {
    app.all(path, (_request, response) => {
      response.set('Allow', methods.join(', '));
      sendRefusal(
        response,
        new Refusal('method_not_allowed', `This address answers ${methods.join(', ')} only.`),
      );
    });
  }
  app.use((_request, response) => sendRefusal(response, new Refusal('not_found', 'Not found')));
  app.use(((error: unknown, _request, response, _next) => {
    // Reached only by what Express itself refuses before a route is chosen, e.g. a malformed percent-encoding.
    sendRefusal(response, expressRefusal(error) ?? new Refusal('bad_request', 'Bad request'));
  }) satisfies ErrorRequestHandler);
  return app;
}

type Durations = ReturnType<typeof histogram<'method' | 'route' | 'status'>>;

function mount(app: Express, route: Route, options: HttpAppOptions, durations: Durations): void {
  const gate = route.permission === 'public' ? undefined : options.gates[route.permission];
  if (route.permission !== 'public' && !gate) {
    throw new Error(
      `${route.method} ${route.path} needs the permission "${route.permission}", which has no gate here`,
    );
  }
  const readBody = express.raw({ type: () => true, limit: route.bodyLimit ?? 64 * 1024 });

  app[route.method](route.path, (request, response) => {
    const startedAt = process.hrtime.bigint();
    response.once('finish', () => {
      const seconds = Number(process.hrtime.bigint() - startedAt) / 1e9;
      durations.observe({ method: route.method, route: route.path, status: response.statusCode }, seconds);
    });
    answer(request, response).catch((error: unknown) => fail(request, response, error));
  });

  async function answer(request: Request, response: Response): Promise<void> {
    const subject = gate ? await gate(request) : '';
    const notReady = gate && options.notReadyBecause?.();
    if (notReady) throw new Refusal('unavailable', notReady, { retryAfterS: 2 });
    const raw = route.method === 'post' ? await readWith(readBody, request, response) : undefined;
    await route.handler({ request, response, subject, body: parseBody(raw) });
  }

  function parseBody(raw: Buffer | undefined): unknown {
    if (raw === undefined) return undefined;
    try {
      return parseJson(raw);
    } catch (error) {
      if (route.bodyOptional) return undefined;
      throw error;
    }
  }

  function fail(request: Request, response: Response, error: unknown): void {
    const refusal = error instanceof Refusal ? error : (options.refusalOf?.(error) ?? expressRefusal(error));
    if (!refusal) {
      options.logger.error({ err: error, method: request.method, route: route.path }, 'request failed');
    } else if (refusal.status >= 500) {
      options.logger.warn(
        { route: route.path, error: messageOf(refusal.cause ?? refusal) },
        'request put off',
      );
    }
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (refusal) sendRefusal(response, refusal, route.refusals);
    else response.status(500).type('text/html').send('Internal server error');
  }
}

function readWith(reader: express.RequestHandler, request: Request, response: Response): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    void reader(request, response, (error?: unknown) => {
      if (error) reject(error instanceof Error ? error : new Error(messageOf(error)));
      else resolve(Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0));
    });
  });
}

/** What body reading and routing throw: http-errors with a status. */
function expressRefusal(error: unknown): Refusal | undefined {
  if (typeof error !== 'object' || error === null || !('status' in error)) return undefined;
  if (error.status === 413) {
    const limit =
      'limit' in error && typeof error.limit === 'number' ? ` The limit is ${error.limit} bytes.` : '';
    return new Refusal('too_large', `The request body is too large.${limit}`, { cause: error });
  }
  if (typeof error.status === 'number' && error.status >= 400 && error.status < 500) {
    return new Refusal('bad_request', 'Bad request', { cause: error });
  }
  return undefined;
}

function sendRefusal(response: Response, refusal: Refusal, format: 'text' | 'json' = 'json'): void {
  response.status(refusal.status);
  response.set('X-Content-Type-Options', 'nosniff');
  if (refusal.retryAfterS !== undefined) response.set('Retry-After', String(refusal.retryAfterS));
  // A body that is too large is not read to its end; the connection cannot be used again.
  if (refusal.code === 'too_large') response.set('Connection', 'close');
  if (format === 'text' && refusal.code !== 'too_large') {
    response.type('text/html').send(refusal.message);
  } else {
    const field = refusal.field === undefined ? {} : { field: refusal.field };
    response.json({ code: refusal.code, error_msg: refusal.message, ...field });
  }
}

/**
 * Parses input by a contract, or throws `Refusal('invalid_field')` that names the first field that is wrong.
 * `prefix` opens the message.
 */
export function parseWith<T extends z.ZodType>(
  schema: T,
  value: unknown,
  prefix = 'Parameters invalid',
): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue?.path.map(String).join('.') ?? '';
  const missing = field !== '' && issue?.code === 'invalid_type' && fieldIsAbsent(value, issue.path);
  const problem = missing ? 'is required' : (issue?.message ?? 'is not valid');
  const message = field ? `${prefix}: ${field} ${problem}` : `${prefix}: the body ${problem}`;
  throw new Refusal('invalid_field', message, field ? { field } : {});
}

function fieldIsAbsent(value: unknown, path: PropertyKey[]): boolean {
  let at: unknown = value;
  for (const key of path) {
    if (typeof at !== 'object' || at === null) return true;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return at === undefined;
}

export interface Listening {
  port: number;
  /** Stops accepting, lets requests in flight end for `graceMs`, then cuts what is left. */
  close(graceMs?: number): Promise<void>;
}

/** Port 0 takes a free one. Rejects with a sentence when the address is taken. */
export async function listen(app: Express, address: { host: string; port: number }): Promise<Listening> {
  const server = await new Promise<Server>((resolve, reject) => {
    const starting = app.listen(address.port, address.host);
    starting.once('listening', () => resolve(starting));
    starting.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      const advice = taken ? 'another program listens there; choose another port' : error.message;
      reject(new Error(`Cannot listen on ${address.host}:${address.port}: ${advice}.`, { cause: error }));
    });
  });
  server.requestTimeout = 60_000;
  server.keepAliveTimeout = 65_000;
  return {
    port: (server.address() as AddressInfo).port,
    close: (graceMs = 5_000) => closeServer(server, graceMs),
  };
}

async function closeServer(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const cut = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearTimeout(cut);
}
