/**
 * Secrets and tokens. One shared secret is enough to run Stadion: the keys that its parts use among themselves are
 * derived from it (HKDF, RFC 5869), one per purpose, so that a token for one purpose is worthless for another.
 * Tokens are JWTs (RFC 7519), HS256, with audience, subject, expiry and key id.
 */
import { createHash, hkdfSync, timingSafeEqual } from 'node:crypto';
import jwt from 'jsonwebtoken';
import { messageOf, Refusal } from './errors.js';

/**
 * `starter`: between scheduler and starters, both ways. `run`: signed and checked by the scheduler alone; a starter
 * only carries it. Neither is the other's, nor the host application's secret.
 */
export type KeyPurpose = 'starter' | 'run';

export interface SigningKey {
  id: string;
  secret: Buffer;
}

export function deriveKey(sharedSecret: string, purpose: KeyPurpose): SigningKey {
  const secret = Buffer.from(hkdfSync('sha256', sharedSecret, 'stadion', `stadion ${purpose} key v1`, 32));
  return { id: createHash('sha256').update(secret).digest('hex').slice(0, 12), secret };
}

export interface TokenClaims {
  /** Who must accept it: `starter` or `scheduler`. */
  audience: 'starter' | 'scheduler';
  /** Whom or what it speaks for: `attempt:<uuid>`, `starter:<uuid>` or `scheduler`. */
  subject: string;
}

export function signToken(key: SigningKey, claims: TokenClaims & { expiresInS: number }): string {
  return jwt.sign({}, key.secret, {
    algorithm: 'HS256',
    keyid: key.id,
    issuer: 'stadion',
    audience: claims.audience,
    subject: claims.subject,
    expiresIn: claims.expiresInS,
  });
}

/** The subject of a valid token. Throws `Refusal('unauthenticated')` for any other text. */
export function verifyToken(key: SigningKey, token: string, audience: TokenClaims['audience']): string {
  try {
    const claims = jwt.verify(token, key.secret, {
      algorithms: ['HS256'],
      issuer: 'stadion',
      audience,
      clockTolerance: 60,
    });
    if (typeof claims === 'object' && claims.sub) return claims.sub;
  } catch (error) {
    throw new Refusal('unauthenticated', `The token is not valid: ${messageOf(error)}.`, { cause: error });
  }
  throw new Refusal('unauthenticated', 'The token names no subject.');
}

/** Compares in time that depends on neither secret nor guess. */
export function secretsEqual(guess: string, secret: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text, 'utf8').digest();
  return timingSafeEqual(digest(guess), digest(secret));
}

/** The credential of an `Authorization` header with scheme `Token` or `Bearer`. */
export function credentialOf(header: string | undefined): string | undefined {
  return /^(?:Token|Bearer) (\S.*)$/.exec(header ?? '')?.[1];
}

export const minSecretLength = 24;

/** Why a secret must not be used, or undefined when it may be. */
export function weaknessOf(secret: string): string | undefined {
  if (secret.length < minSecretLength) {
    return `is ${secret.length} characters long; at least ${minSecretLength} are needed`;
  }
  if (new Set(secret).size < 8) return 'repeats too few different characters';
  if (/change.?me|your.?(secret|token)|topsecret|password|example/i.test(secret)) {
    return 'looks like a placeholder of an example file';
  }
  return undefined;
}
