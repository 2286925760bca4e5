/**
 * Expected refusals: one class, a stable code, and the HTTP status that follows from the code. Anything else that is
 * thrown is a fault of ours and is answered 500 without its message.
 */

export const statusOfCode = {
  bad_request: 400,
  invalid_field: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  too_large: 413,
  busy: 429,
  unavailable: 503,
} as const;

export type RefusalCode = keyof typeof statusOfCode;

export interface RefusalDetails extends ErrorOptions {
  /** The field of the request that is wrong, as the client spells it. */
  field?: string;
  /** Seconds after which trying again makes sense. */
  retryAfterS?: number;
}

/** Says to a client what is wrong with its request, or why it must wait. The message is shown to it. */
export class Refusal extends Error {
  readonly field: string | undefined;
  readonly retryAfterS: number | undefined;

  constructor(
    readonly code: RefusalCode,
    message: string,
    details: RefusalDetails = {},
  ) {
    super(message, details);
    this.name = 'Refusal';
    this.field = details.field;
    this.retryAfterS = details.retryAfterS;
  }

  get status(): number {
    return statusOfCode[this.code];
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The system's or a library's error code (`ECONNREFUSED`, …), if the thing carries one. */
export function codeOf(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
