import { namedPeer } from './named-peer.js';

const from = (remoteAddress: string, headers: Record<string, string> = {}) =>
  ({ headers, socket: { remoteAddress } }) as unknown as Parameters<
    ReturnType<typeof namedPeer>['isSender']
  >[0];
const resolvesTo =
  (...addresses: string[]) =>
  () =>
    Promise.resolve(addresses);

test('a connection from any address that the name resolves to is the named host', async () => {
  const peer = namedPeer('http://starter:8080', resolvesTo('10.0.0.7', 'fd00::7'));
  expect(await peer.isSender(from('10.0.0.7'))).toBe(true);
  expect(await peer.isSender(from('::ffff:10.0.0.7'))).toBe(true);
  expect(await peer.isSender(from('fd00:0::7'))).toBe(true);
  expect(await peer.isSender(from('fd00::7%eth0'))).toBe(true);
});

test('any other connection is not, whatever its headers say', async () => {
  const peer = namedPeer('http://10.0.0.7:8080');
  expect(await peer.isSender(from('10.0.0.70'))).toBe(false);
  expect(await peer.isSender(from('127.0.0.1'))).toBe(false);
  expect(await peer.isSender(from('10.0.0.8', { 'x-forwarded-for': '10.0.0.7' }))).toBe(false);
});

test('what a proxy on the same address forwards is not its own word', async () => {
  const peer = namedPeer('http://10.0.0.7:8080');
  for (const header of ['x-forwarded-for', 'forwarded', 'x-real-ip', 'via']) {
    expect(await peer.isSender(from('10.0.0.7', { [header]: '10.0.0.7' }))).toBe(false);
  }
  expect(await peer.isSender(from('10.0.0.7'))).toBe(true);
});

test('a name that cannot be resolved is nobody', async () => {
  const peer = namedPeer('http://nowhere', () => Promise.reject(new Error('ENOTFOUND')));
  expect(await peer.isSender(from('127.0.0.1'))).toBe(false);
});

test('requests that come together ask the name service once', async () => {
  let asked = 0;
  const peer = namedPeer('http://starter', async () => {
    asked += 1;
    return await Promise.resolve(['10.0.0.7']);
  });
  expect(await Promise.all([1, 2, 3].map(() => peer.isSender(from('10.0.0.7'))))).toEqual([true, true, true]);
  expect(asked).toBe(1);
});
