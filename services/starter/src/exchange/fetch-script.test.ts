import type { ServerResponse } from 'node:http';
import net from 'node:net';
import { eventually, type FakeHostApp, fakeHostApp } from '@stadion/testkit';
import { type FetchOptions, fetchScript, maxScriptBytes, ScriptFetchError } from './fetch-script.js';
import { allowHosts, checkAddress } from './script-address.js';

let host: FakeHostApp;
let other: FakeHostApp;
beforeAll(async () => {
  host = await fakeHostApp();
  other = await fakeHostApp();
});
afterAll(async () => {
  await Promise.all([host.close(), other.close()]);
});

const hostOf = (url: string) => new URL(url).host;

type Options = Partial<Pick<FetchOptions, 'signal' | 'timeoutMs' | 'retryWaitsMs'>>;

function fetchFrom(url: string | null, options: Options = {}) {
  return fetchScript(url, {
    allowed: allowHosts([hostOf(host.url)]),
    signal: new AbortController().signal,
    retryWaitsMs: [10, 20],
    ...options,
  });
}

async function failureOf(promise: Promise<unknown>): Promise<ScriptFetchError> {
  const error: unknown = await promise.then(
    () => new Error('it succeeded'),
    (failure: unknown) => failure,
  );
  if (!(error instanceof ScriptFetchError)) throw error;
  return error;
}

test('answers the bytes as served, and says who asks', async () => {
  const bytes = Buffer.from([0x70, 0xff, 0x00, 0x0a]);
  expect(await fetchFrom(host.script('/a.py', bytes))).toEqual(bytes);
  expect(host.requests.at(-1)?.headers['user-agent']).toMatch(/^python-starter\/\d/);
});

test('follows redirects on the same host, relative ones too, up to five', async () => {
  host.script('/end.py', 'print(1)');
  for (let hop = 1; hop <= 6; hop += 1) host.redirect(`/hop${hop}`, hop === 1 ? '/end.py' : `/hop${hop - 1}`);
  expect((await fetchFrom(`${host.url}/hop5`)).toString()).toBe('print(1)');
  expect((await failureOf(fetchFrom(`${host.url}/hop6`))).output).toMatch(/redirected more than 5 times/);
});

test('an address that is missing has a text of its own', async () => {
  for (const address of [null, '']) {
    expect((await failureOf(fetchFrom(address))).output).toBe('Script URL is missing');
  }
});

test('a refusal of the host is passed on without path, query or token', async () => {
  const { output, attemptCause } = await failureOf(
    fetchFrom(`${host.url}/files/secret-token/x.py?token=s3cret`),
  );
  expect(attemptCause).toBe('script_unavailable');
  expect(output).toBe(`Fail to get script\nThe host ${hostOf(host.url)} answered 404.`);
});

test.each([{ announced: true }, { announced: false }])(
  'a script that is too large is given up while it is read (%j)',
  async (how) => {
    const { output, attemptCause } = await failureOf(fetchFrom(host.huge('/huge.py', 100 * 1024 ** 2, how)));
    expect(attemptCause).toBe('script_invalid');
    expect(output).toBe('Script invalid!\nThe script is larger than 10 MiB.');
  },
);

test('a script of exactly the largest size is taken', async () => {
  expect(await fetchFrom(host.huge('/largest.py', maxScriptBytes, { announced: false }))).toHaveLength(
    maxScriptBytes,
  );
});

test('a host that drips is given up after the timeout', async () => {
  const { output } = await failureOf(fetchFrom(host.drip('/drip.py'), { timeoutMs: 200 }));
  expect(output).toBe('Fail to get script\nThe download took longer than 0.2 seconds.');
});

test('a script that ends in the middle is no script', async () => {
  const url = host.at('/half.py', (_request, response) => {
    response.writeHead(200, { 'Content-Length': 1000 });
    response.write('print(', () => response.destroy());
  });
  expect((await failureOf(fetchFrom(url))).output).toMatch(/^Fail to get script\n/);
});

test('a compressed script is refused, so that nothing inflates in memory', async () => {
  const url = host.at('/gzip.py', (_request, response) => {
    response.writeHead(200, { 'Content-Encoding': 'gzip' }).end('x');
  });
  expect((await failureOf(fetchFrom(url))).output).toMatch(/compressed/);
});

test('an aborted download rejects with the reason of the signal', async () => {
  const abort = new AbortController();
  const download = fetchFrom(host.drip('/forever.py'), { signal: abort.signal });
  const reason = new Error('stopping');
  setImmediate(() => abort.abort(reason));
  await expect(download).rejects.toBe(reason);
});

describe('a host that could answer better in a moment', () => {
  /** Fails as often as it is told, then serves the script; answers its URL and how often it was asked. */
  function failing(times: number, fail: (response: ServerResponse) => void) {
    let asked = 0;
    const url = host.at('/flaky.py', (_request, response) => {
      asked += 1;
      if (asked <= times) fail(response);
      else response.end('print(1)');
    });
    return { url, asked: () => asked };
  }
  const answering =
    (status: number) =>
    (response: ServerResponse): void => {
      response.writeHead(status).end();
    };
  const half = (response: ServerResponse): void => {
    response.writeHead(200, { 'Content-Length': 1000 });
    response.write('print(', () => void response.destroy());
  };

  test.each([
    ...[429, 500, 502, 503, 504].map((status) => [`answers ${status}`, answering(status)] as const),
    ['hangs up', (response: ServerResponse): void => void response.destroy()] as const,
    ['hangs up in the middle', half] as const,
  ])('is asked again when it %s, up to three times', async (_what, fail) => {
    const twice = failing(2, fail);
    expect((await fetchFrom(twice.url)).toString()).toBe('print(1)');
    const always = failing(Infinity, fail);
    expect((await failureOf(fetchFrom(always.url))).output).toMatch(/answered \d|cannot be reached/);
    expect(always.asked()).toBe(3);
  });

  test.each([400, 401, 403, 404, 410, 304])('is not asked again when it answers %i', async (status) => {
    const refusing = failing(1, answering(status));
    expect((await failureOf(fetchFrom(refusing.url))).output).toContain(`answered ${status}.`);
    expect(refusing.asked()).toBe(1);
  });

  test('is not waited for beyond the timeout of the whole, nor once nobody wants the script', async () => {
    const away = failing(Infinity, answering(503));
    const given = { timeoutMs: 500, retryWaitsMs: [60_000] };
    expect((await failureOf(fetchFrom(away.url, given))).output).toContain('answered 503.');
    const abort = new AbortController();
    const download = fetchFrom(away.url, { signal: abort.signal, retryWaitsMs: [60_000] });
    const rejected = expect(download).rejects.toThrow('stopping');
    await eventually(() => away.asked() === 2);
    abort.abort(new Error('stopping'));
    await rejected;
    expect(away.asked()).toBe(2);
  });
});

test('a host that is not there is told apart from a refusal', async () => {
  const gone = await fakeHostApp();
  await gone.close();
  const download = fetchScript(`${gone.url}/a.py`, {
    allowed: allowHosts([hostOf(gone.url)]),
    signal: new AbortController().signal,
  });
  expect((await failureOf(download)).output).toMatch(/cannot be reached \(ECONNREFUSED\)/);
});

test('a proxy named in the environment is not used', async () => {
  process.env['http_proxy'] = process.env['HTTP_PROXY'] = other.url;
  try {
    const before = other.connections();
    await fetchFrom(host.script('/direct.py', 'x'));
    expect(other.connections()).toBe(before);
  } finally {
    delete process.env['http_proxy'];
    delete process.env['HTTP_PROXY'];
  }
});

describe('addresses that lead elsewhere (SSRF)', () => {
  const elsewhere: [string, string][] = [
    ['another port of the same host', 'http://127.0.0.1:1/x.py'],
    ['the metadata address', 'http://169.254.169.254/latest/meta-data/'],
    ['the metadata address in decimal', 'http://2852039166/'],
    ['the metadata address in hex', 'http://0xa9fea9fe/'],
    ['the metadata address in octal', 'http://0251.0376.0251.0376/'],
    ['the metadata address as IPv6-mapped IPv4', 'http://[::ffff:169.254.169.254]/'],
    ['the metadata address as IPv6-mapped hex', 'http://[::ffff:a9fe:a9fe]/'],
    ['the metadata address by name', 'http://metadata.google.internal/'],
    ['an allowed host with a dot behind it', 'http://127.0.0.1.:80/'],
    ['an allowed host as a user name', 'http://127.0.0.1@169.254.169.254/'],
    ['credentials', 'http://user:pass@127.0.0.1/x.py'],
    ['a file', 'file:///etc/passwd'],
    ['data', 'data:text/plain,print(1)'],
    ['ftp', 'ftp://127.0.0.1/x.py'],
    ['no scheme', '//169.254.169.254/'],
    ['nonsense', 'http://['],
  ];

  /** Every connection of this process begins with `net.Socket#connect`. */
  function watchConnections() {
    return jest.spyOn(net.Socket.prototype, 'connect');
  }

  test.each(elsewhere)('%s is refused before any connection is attempted', async (_name, address) => {
    const connect = watchConnections();
    const { output } = await failureOf(fetchFrom(address));
    expect(output).toMatch(/^Fail to get script\nThe /);
    expect(output).not.toMatch(/pass@|meta-data/);
    expect(connect).not.toHaveBeenCalled();
  });

  test('the watcher does see a connection that is made', async () => {
    const connect = watchConnections();
    await fetchFrom(host.script('/seen.py', 'x'));
    expect(connect).toHaveBeenCalledTimes(1);
  });

  test.each([
    ...elsewhere.filter(([name]) => name !== 'no scheme' && name !== 'nonsense'),
    ['a bare host', '//169.254.169.254/x'],
  ])('a redirect to %s is refused, and only the redirecting host was called', async (_name, address) => {
    const url = host.redirect('/lure', address);
    const connect = watchConnections();
    const { output } = await failureOf(fetchFrom(url));
    expect(output).toMatch(/^Fail to get script\nThe /);
    expect(connect).toHaveBeenCalledTimes(1);
  });

  test('a redirect to another host that is there is refused, and that host hears nothing', async () => {
    const before = other.connections();
    const url = host.redirect('/away', other.script('/b.py', 'print(2)'));
    const { output } = await failureOf(fetchFrom(url));
    expect(output).toContain(`The host ${hostOf(other.url)} is not one that scripts may be downloaded from.`);
    expect(other.connections()).toBe(before);
  });
});

describe('the allow-list', () => {
  test('a host without a port stands for the default ports of both schemes', () => {
    const allowed = allowHosts(['files.example.com', 'other.example.com:8443', '[::1]:8080']);
    const isAllowed = (url: string) => {
      try {
        checkAddress(url, allowed);
        return true;
      } catch {
        return false;
      }
    };
    expect(
      [
        'http://files.example.com/a',
        'https://FILES.example.com:443/a',
        'https://other.example.com:8443/a',
        'http://[0:0:0:0:0:0:0:1]:8080/a',
      ].filter((url) => !isAllowed(url)),
    ).toEqual([]);
    expect(
      [
        'http://files.example.com:8080/',
        'https://other.example.com/',
        'http://evil.files.example.com/',
        'http://files.example.com.evil.net/',
        'http://[::1]/',
      ].filter(isAllowed),
    ).toEqual([]);
  });
});
