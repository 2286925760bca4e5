/**
 * The scheduler's gates and the tokens of attempts. A run token names one attempt of one task; it lets its bearer
 * report that attempt and nothing else.
 */
import {
  credentialOf,
  Refusal,
  secretsEqual,
  signToken,
  verifyToken,
  type Gate,
  type NamedPeer,
  type SigningKey,
} from '@stadion/service-kit';

export interface RunSubject {
  taskId: number;
  attemptId: string;
}

/** Longer than any result may wait in a starter's spool. */
const runTokenLifeS = 30 * 24 * 3600;

export function signRunToken(key: SigningKey, subject: RunSubject): string {
  return signToken(key, {
    audience: 'scheduler',
    subject: `run:${subject.taskId}:${subject.attemptId}`,
    expiresInS: runTokenLifeS,
  });
}

export function parseRunSubject(subject: string): RunSubject {
  const [, taskId, attemptId] = /^run:(\d+):([0-9a-f-]{36})$/.exec(subject) ?? [];
  if (!taskId || !attemptId) throw new Refusal('forbidden', 'The token is not for reporting an attempt.');
  return { taskId: Number(taskId), attemptId };
}

/** The host application's shared secret, in either scheme; refused as the original refuses. */
export function hostGate(authToken: string): Gate {
  return (request) => {
    const credential = credentialOf(request.headers.authorization);
    if (credential === undefined || !secretsEqual(credential, authToken)) {
      // The original's words for the logs of a script differ from those for everything else.
      const aboutLogs = /^\/tasks\//i.test(request.path);
      throw new Refusal('forbidden', aboutLogs ? 'Forbidden' : 'Forbidden: the auth token is not correct.');
    }
    return 'host';
  };
}

/** A token signed with `key` for the scheduler. */
export function tokenGate(key: SigningKey): Gate {
  return (request) => {
    const credential = credentialOf(request.headers.authorization);
    if (credential === undefined) {
      throw new Refusal('unauthenticated', 'A token is needed: Authorization: Bearer <token>.');
    }
    return verifyToken(key, credential, 'scheduler');
  };
}

/** What `resultGate` answers for a report that the original starter made. */
export const originalStarterSubject = 'original-starter';

/**
 * A run token; or none at all, when the connection comes from the original starter. Which runs that starter may report
 * is still to be asked: those it was given.
 */
export function resultGate(runKey: SigningKey, originalStarter: NamedPeer | undefined): Gate {
  const withToken = tokenGate(runKey);
  return async (request) => {
    const hasNone = request.headers.authorization === undefined;
    if (hasNone && (await originalStarter?.isSender(request))) return originalStarterSubject;
    return await withToken(request);
  };
}
