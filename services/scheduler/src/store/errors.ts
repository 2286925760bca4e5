/**
 * The errors that leave the store. An expected refusal is an `Outcome`, not an error; what is thrown is either
 * "the database is away" – trying again later helps – or a fault of ours, thrown as it came.
 */

/** The database cannot be reached or does not answer. What was attempted may or may not have been done. */
export class StoreUnavailableError extends Error {
  readonly code = 'store_unavailable';
  constructor(cause: unknown) {
    super(`The database is not available: ${messageOf(cause)}`, { cause });
    this.name = 'StoreUnavailableError';
  }
}

/** The database is there but is none that we can work with. Trying again does not help. */
export class UnsupportedDatabaseError extends Error {
  readonly code = 'unsupported_database';
  constructor(message: string) {
    super(message);
    this.name = 'UnsupportedDatabaseError';
  }
}

/** No connection can be made. Trying another at once would fail the same way. */
const unreachableCodes = new Set([
  'ECONNREFUSED',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT', // a Unix socket that is not there
]);

/** A connection that was there broke. */
const lostCodes = new Set([
  'ECONNRESET',
  'EPIPE',
  'PROTOCOL_CONNECTION_LOST',
  'PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR',
  'PROTOCOL_ENQUEUE_AFTER_QUIT',
  'ER_SERVER_SHUTDOWN',
  'ER_NORMAL_SHUTDOWN',
  'ER_CONNECTION_KILLED',
  'ER_NEW_ABORTING_CONNECTION',
  'ER_ABORTING_CONNECTION',
]);

/** The connection is fine, the database is not, or not in time. */
const busyCodes = new Set([
  'PROTOCOL_SEQUENCE_TIMEOUT',
  'ER_CON_COUNT_ERROR',
  'ER_TOO_MANY_USER_CONNECTIONS',
  'ER_USER_LIMIT_REACHED',
  'ER_STATEMENT_TIMEOUT',
  'ER_QUERY_INTERRUPTED',
  'ER_LOCK_WAIT_TIMEOUT',
  'ER_LOCK_DEADLOCK',
  'ER_CHECKREAD',
  'ER_DISK_FULL',
  'ER_RECORD_FILE_FULL',
  'ER_OPTION_PREVENTS_STATEMENT', // read_only, during a failover
  'ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION',
]);

/** Errors whose code the drivers do not name. */
const busyNumbers = new Set([1969]); // MariaDB: max_statement_time exceeded

/** The same transaction may well succeed when tried again at once; the database has undone the first try. */
export function isDeadlock(error: unknown): boolean {
  return ['ER_LOCK_DEADLOCK', 'ER_CHECKREAD'].includes(codeOf(error));
}

/** The connection was lost: another one may work. */
export function isConnectionLost(error: unknown): boolean {
  return lostCodes.has(codeOf(error)) || /in closed state|[Cc]onnection lost/.test(messageOf(error));
}

/** Gives every "database is away" the one class that callers know, and leaves other errors as they are. */
export function asStoreError(error: unknown): unknown {
  if (error instanceof StoreUnavailableError || error instanceof UnsupportedDatabaseError) return error;
  const away =
    isConnectionLost(error) ||
    unreachableCodes.has(codeOf(error)) ||
    busyCodes.has(codeOf(error)) ||
    busyNumbers.has((error as { errno?: number } | null)?.errno ?? 0) ||
    /^SQLITE_(BUSY|LOCKED|FULL|IOERR)/.test(codeOf(error)) ||
    nameOf(error) === 'KnexTimeoutError' ||
    nameOf(error) === 'TimeoutError' ||
    /^(aborted|Unable to acquire a connection)$/.test(messageOf(error));
  return away ? new StoreUnavailableError(error) : error;
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
