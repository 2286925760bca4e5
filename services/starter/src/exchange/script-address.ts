/**
 * Where a script may be downloaded from: an allow-list of hosts, checked for the first address and again for every
 * redirect. Pure; hosts are compared as the URL standard normalises them, so no spelling of an address slips past.
 */

/** What is wrong with an address, fit for the script's owner: names the host at most, never path or query. */
export class AddressRefused extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'AddressRefused';
  }
}

export type AllowedHosts = ReadonlySet<string>;

/** `entries`: `host:port`, or `host`, which stands for port 80 over http and 443 over https. */
export function allowHosts(entries: readonly string[]): AllowedHosts {
  const allowed = new Set<string>();
  for (const entry of entries) {
    const url = new URL(`http://${entry}/`);
    if (/:\d+$/.test(entry)) {
      allowed.add(`${url.hostname}:${portOf(url)}`);
    } else {
      allowed.add(`${url.hostname}:80`);
      allowed.add(`${url.hostname}:443`);
    }
  }
  return allowed;
}

/** The parsed address, or throws `AddressRefused`. `base` is the address that redirected here. */
export function checkAddress(address: string, allowed: AllowedHosts, base?: URL): URL {
  if (!URL.canParse(address, base?.href))
    throw new AddressRefused("The script's address is not a valid URL.");
  const url = new URL(address, base);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new AddressRefused("The script's address must begin with http:// or https://.");
  }
  if (url.username || url.password) {
    throw new AddressRefused("The script's address must not contain a user name or password.");
  }
  if (!allowed.has(`${url.hostname}:${portOf(url)}`)) {
    const host = url.host.length > 100 ? `${url.host.slice(0, 100)}…` : url.host;
    throw new AddressRefused(`The host ${host} is not one that scripts may be downloaded from.`);
  }
  return url;
}

/**
 * The address with another scheme and host, for a starter that reaches the file server by another name. What is no
 * address stays as it is, to be refused for that.
 */
export function relocateAddress(address: string, root: string): string {
  if (!URL.canParse(address)) return address;
  const { protocol, pathname, search } = new URL(address);
  if (protocol !== 'http:' && protocol !== 'https:') return address;
  return root.replace(/\/+$/, '') + pathname + search;
}

function portOf(url: URL): string {
  return url.port || (url.protocol === 'https:' ? '443' : '80');
}
