import jwt from 'jsonwebtoken';
import { Refusal } from './errors.js';
import { credentialOf, deriveKey, secretsEqual, signToken, verifyToken, weaknessOf } from './tokens.js';

const key = deriveKey('a shared secret of some length', 'run');
const sign = (overrides: { audience?: 'starter' | 'scheduler'; expiresInS?: number } = {}) =>
  signToken(key, { audience: 'scheduler', subject: 'run:1:x', expiresInS: 60, ...overrides });

describe('tokens', () => {
  it('carry their subject to whom they are for', () => {
    expect(verifyToken(key, sign(), 'scheduler')).toBe('run:1:x');
  });

  it.each([
    ['for another audience', () => sign({ audience: 'starter' })],
    ['expired', () => sign({ expiresInS: -120 })],
    [
      'signed for another purpose',
      () =>
        signToken(deriveKey('a shared secret of some length', 'starter'), {
          audience: 'scheduler',
          subject: 's',
          expiresInS: 60,
        }),
    ],
    [
      'signed with another secret',
      () =>
        signToken(deriveKey('another secret', 'run'), {
          audience: 'scheduler',
          subject: 's',
          expiresInS: 60,
        }),
    ],
    [
      'unsigned',
      () => jwt.sign({ sub: 's' }, '', { algorithm: 'none', issuer: 'stadion', audience: 'scheduler' }),
    ],
    ['without a subject', () => jwt.sign({}, key.secret, { issuer: 'stadion', audience: 'scheduler' })],
    [
      'from another issuer',
      () => jwt.sign({ sub: 's' }, key.secret, { issuer: 'else', audience: 'scheduler' }),
    ],
    ['no token at all', () => 'hello'],
  ])('are refused when %s', (_case, make) => {
    expect(() => verifyToken(key, make(), 'scheduler')).toThrow(Refusal);
  });

  it('survive a clock that is off by less than a minute', () => {
    expect(verifyToken(key, sign({ expiresInS: -30 }), 'scheduler')).toBe('run:1:x');
  });
});

describe('secrets', () => {
  it('are equal to themselves only (R8)', () => {
    expect(secretsEqual('abc', 'abc')).toBe(true);
    expect(secretsEqual('abd', 'abc')).toBe(false);
    expect(secretsEqual('', 'abc')).toBe(false);
    expect(secretsEqual('abcabc', 'abc')).toBe(false);
  });

  it.each(['short', 'a'.repeat(40), 'change-me-change-me-change-me', 'your_secret_0123456789abcdef'])(
    'like %j are refused as weak',
    (secret) => expect(weaknessOf(secret)).toBeDefined(),
  );

  it('of random characters are accepted', () => {
    expect(weaknessOf('nB3kq8Zr0TzVYx5mWc1LhUjD')).toBeUndefined();
  });

  it('are read from both authorization schemes and from no other', () => {
    expect(credentialOf('Token abc')).toBe('abc');
    expect(credentialOf('Bearer abc')).toBe('abc');
    expect(credentialOf('Basic abc')).toBeUndefined();
    expect(credentialOf('abc')).toBeUndefined();
    expect(credentialOf(undefined)).toBeUndefined();
  });
});
