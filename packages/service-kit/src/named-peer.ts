/**
 * The one address without a token. In the two modes with an original half of the pipeline, that half has no token to
 * show; what is known of it is the address it was configured with. A request is its when the connection itself comes
 * from an address that the host's name resolves to. Headers prove nothing: one that says that the request was
 * forwarded only makes it refused, for then the connection is a proxy's.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Request } from 'express';

export interface NamedPeer {
  /** Whether this request's connection comes from the named host, with nothing in between that says so. */
  isSender(request: Pick<Request, 'headers' | 'socket'>): Promise<boolean>;
}

/** How long a resolved name is believed. */
const believedMs = 5_000;
const forwardingHeaders = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'];

export type Resolve = (host: string) => Promise<string[]>;

export function namedPeer(url: string, resolve: Resolve = resolveHost): NamedPeer {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  let resolving: Promise<ReadonlySet<string>> | undefined;
  let resolvedAt = -Infinity;
  let known: ReadonlySet<string> = new Set();

  async function resolveAgain(): Promise<ReadonlySet<string>> {
    try {
      known = new Set((await resolve(host)).map(plainAddress));
    } catch {
      // The name service is away for a moment: what was known last still holds, and nothing was at first.
    }
    resolvedAt = performance.now();
    return known;
  }

  return {
    async isSender({ headers, socket }) {
      if (!socket.remoteAddress || forwardingHeaders.some((name) => headers[name] !== undefined))
        return false;
      if (performance.now() - resolvedAt < believedMs) return known.has(plainAddress(socket.remoteAddress));
      resolving ??= resolveAgain().finally(() => (resolving = undefined));
      return (await resolving).has(plainAddress(socket.remoteAddress));
    },
  };
}

async function resolveHost(host: string): Promise<string[]> {
  if (isIP(host)) return [host];
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

/** One spelling for each address: an IPv4 address over an IPv6 socket is that IPv4 address. */
function plainAddress(address: string): string {
  const bare = address.replace(/%.*$/, '').toLowerCase();
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(bare)?.[1];
  if (mapped) return mapped;
  return isIP(bare) === 6 ? new URL(`http://[${bare}]`).hostname.slice(1, -1) : bare;
}
