/**
 * Logs are events with fields, one JSON line each. Scripts, tokens and environment values are never logged; what
 * slips into a field with a known secret name is blanked.
 */
import { pino, type DestinationStream, type Logger } from 'pino';

export type { Logger } from 'pino';
export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

const secretFields = [
  'authorization',
  'token',
  'run_token',
  'runToken',
  'api_token',
  'apiToken',
  'temp_api_token',
  'password',
  'secret',
  'env',
  'context',
  'context_data',
];

export function createLogger(
  options: { service: string; level?: LogLevel },
  destination?: DestinationStream,
): Logger {
  const settings = {
    level: options.level ?? 'info',
    base: { service: options.service },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    serializers: { err: (error: unknown) => describeError(error) },
    formatters: { level: (label: string) => ({ level: label }) },
    redact: {
      paths: secretFields.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]),
      censor: '[redacted]',
    },
  };
  return destination ? pino(settings, destination) : pino(settings);
}

/** What an error says of itself, and nothing that it carries: a failed HTTP request has its headers on it. */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, stack, cause } = error;
  const { code } = error as { code?: unknown };
  return {
    type: name,
    message,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    stack,
    ...(cause === undefined || depth >= 5 ? {} : { cause: describeError(cause, depth + 1) }),
  };
}
