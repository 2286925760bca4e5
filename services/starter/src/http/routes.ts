/** The starter's routes: the original pipeline's, and its status for the scheduler. */
import { type DispatchRequest, dispatchRequest, type StarterStatus } from '@stadion/contracts';
import {
  credentialOf,
  type Gate,
  parseWith,
  Refusal,
  type Route,
  type RouteContext,
  type SigningKey,
  verifyToken,
} from '@stadion/service-kit';

export interface StarterActions {
  accept(request: DispatchRequest): Promise<unknown>;
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
      permission: 'scheduler',
      bodyLimit: largestDispatchBytes,
      refusals: 'text',
      bodyOptional: true,
      handler: async ({ subject, body, response }) => {
        if (body === undefined) throw new Refusal('bad_request', 'Bad Request. The body is not valid JSON.');
        const request = parseWith(dispatchRequest, body, 'Bad Request.');
        if (subject !== `attempt:${request.attempt_id}`) {
          throw new Refusal('forbidden', 'The token is for another attempt.', { field: 'attempt_id' });
        }
        await actions.accept(request);
        response.type('text/html').send('Received');
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

/** A token of the scheduler's; its subject says what for. */
export function schedulerGate(key: SigningKey): Gate {
  return (request) => {
    const token = credentialOf(request.headers.authorization);
    if (token === undefined) {
      throw new Refusal(
        'unauthenticated',
        'A token of the scheduler is needed: Authorization: Bearer <token>.',
      );
    }
    return verifyToken(key, token, 'starter');
  };
}
