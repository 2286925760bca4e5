/**
 * Parsing JSON from strangers: keys that reach for an object's prototype are refused, and so is nesting that would
 * overflow the stack of whoever walks the value later.
 */
import sjson from 'secure-json-parse';
import type { Json } from '@stadion/contracts';
import { Refusal } from './errors.js';

const maxDepth = 200;

/** Throws `Refusal('bad_request')`; never puts any of the text into its message. */
export function parseJson(raw: string | Buffer): Json {
  let value: Json;
  try {
    value = sjson.parse(raw, { protoAction: 'error', constructorAction: 'error' }) as Json;
  } catch (error) {
    const forbidden = error instanceof SyntaxError && /forbidden prototype/.test(error.message);
    throw new Refusal(
      'bad_request',
      forbidden
        ? 'Bad request: the JSON has a key that is not allowed (__proto__ or constructor).'
        : 'Bad request: the body is not valid JSON.',
      { cause: error },
    );
  }
  if (depthExceeds(value, maxDepth)) {
    throw new Refusal('bad_request', `Bad request: the JSON nests deeper than ${maxDepth} levels.`);
  }
  return value;
}

function depthExceeds(value: Json, limit: number): boolean {
  let level: Json[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > limit) return true;
    const next: Json[] = [];
    for (const item of level) {
      if (typeof item !== 'object' || item === null) continue;
      for (const child of Array.isArray(item) ? item : Object.values(item)) {
        if (typeof child === 'object' && child !== null) next.push(child);
      }
    }
    level = next;
  }
  return false;
}
