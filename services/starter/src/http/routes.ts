/**
 * The starter's routes: the original pipeline's, and its status for the scheduler. A dispatch comes from our scheduler
 * with a token, or from the one original scheduler that the settings name, which has none.
 */
import {
  type DispatchRequest,
  dispatchRequest,
  type OriginalDispatchRequest,
  originalDispatchRequest,
  originalReceived,
  type StarterStatus,
} from '@stadion/contracts';
import {
  credentialOf,
  type Gate,
  type NamedPeer,
  parseWith,
  Refusal,
  type Route,
  type RouteContext,
  type SigningKey,
  verifyToken,
} from '@stadion/service-kit';

export interface StarterActions {
  accept(request: DispatchRequest): Promise<unknown>;
  /** A run that the original scheduler wants. */
  acceptOriginal(request: OriginalDispatchRequest): Promise<unknown>;
  status(): StarterStatus;
  /** What is wrong with this starter; undefined when nothing is. */
  problem(): string | undefined;
}

/** A context of 5 MiB of which an original scheduler escapes every character, and an environment. */
const largestDispatchBytes = 32 * 1024 * 1024;

export function starterRoutes(actions: StarterActions): Route[] {
  return [
    {
      method: 'post',
      path: '/function/run-python',
      permission: 'dispatch',
      bodyLimit: largestDispatchBytes,
      refusals: 'text',
      bodyOptional: true,
      handler: async ({ subject, body, response }) => {
        if (body === undefined) throw new Refusal('bad_request', 'Bad Request. The body is not valid JSON.');
        if (subject === originalSchedulerSubject) {
          await actions.acceptOriginal(parseWith(originalDispatchRequest, body, 'Bad Request.'));
          response.type('text/html').send(originalReceived);
          return;
        }
        const request = parseWith(dispatchRequest, body, 'Bad Request.');
        if (subject !== `attempt:${request.attempt_id}`) {
          throw new Refusal('forbidden', 'The token is for another attempt.', { field: 'attempt_id' });
        }
        await actions.accept(request);
        response.type('text/html').send(originalReceived);
      },
    },
    {
      method: 'get',
      path: '/v1/starter',
      permission: 'scheduler',
      handler: ({ subject, response }) => {
        if (subject !== 'scheduler') throw new Refusal('forbidden', 'The token is for an attempt only.');
        response.json(actions.status());
      },
    },
    ...forGetAndPost('/ping/', ({ response }) => void response.type('text/html').send('Pong')),
    ...forGetAndPost('/_/health', ({ response }) => {
      const problem = actions.problem();
      response
        .status(problem === undefined ? 200 : 503)
        .type('text/plain')
        .send(problem ?? 'Everything is ok.');
    }),
  ];
}

function forGetAndPost(path: string, handler: (context: RouteContext) => void): Route[] {
  return (['get', 'post'] as const).map((method) => ({
    method,
    path,
    permission: 'public',
    bodyOptional: true,
    handler,
  }));
}

/** A token of the scheduler's; its subject says what for. Without a key there is no scheduler of ours. */
export function schedulerGate(key: SigningKey | undefined): Gate {
  return (request) => {
    const token = credentialOf(request.headers.authorization);
    if (token === undefined || !key) {
      throw new Refusal(
        'unauthenticated',
        'A token of the scheduler is needed: Authorization: Bearer <token>.',
      );
    }
    return verifyToken(key, token, 'starter');
  };
}

/** What `dispatchGate` answers for the original scheduler; no token of ours names this subject. */
const originalSchedulerSubject = 'original-scheduler';

/** A token; or none at all, when the connection comes from the original scheduler. */
export function dispatchGate(key: SigningKey | undefined, originalScheduler: NamedPeer | undefined): Gate {
  const withToken = schedulerGate(key);
  return async (request) => {
    const hasNone = request.headers.authorization === undefined;
    if (hasNone && (await originalScheduler?.isSender(request))) return originalSchedulerSubject;
    return await withToken(request);
  };
}
