/** An HTTP server on a free port, of the loopback interface as a rule, for fakes: real sockets, and it can hang up on anyone. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface LoopbackServer {
  /** `http://<address>:<port>` */
  url: string;
  port: number;
  /** Connections that were ever made. */
  connections(): number;
  /** Ends every connection that is open now. */
  hangUp(): void;
  close(): Promise<void>;
}

export async function startLoopbackServer(
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void> | void,
  port = 0,
  address = '127.0.0.1',
): Promise<LoopbackServer> {
  let connections = 0;
  const server: Server = createServer((request, response) => {
    Promise.resolve(handle(request, response)).catch(() => response.destroy());
  });
  server.on('connection', () => (connections += 1));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, resolve);
  });
  const taken = (server.address() as AddressInfo).port;
  return {
    url: `http://${address}:${taken}`,
    port: taken,
    connections: () => connections,
    hangUp: () => server.closeAllConnections(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
) {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
}
