/** JSON as it crosses a process border: the types, and small schemas that name what is wrong in plain words. */
import { z } from 'zod';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** Length in Unicode code points, which is what MariaDB's column widths and Python's `len` count. */
export function codePointLength(text: string): number {
  let length = 0;
  for (const _ of text) length += 1;
  return length;
}

/** Text of `min` to `max` code points. Half a surrogate pair is refused: no database can store it as it was sent. */
export function text(min: number, max: number) {
  return z
    .string({ error: 'must be a string' })
    .refine((value) => value.isWellFormed(), { error: 'must be valid Unicode', abort: true })
    .refine((value) => value.length >= min, { error: 'must not be empty', abort: true })
    .refine((value) => value.length <= max || codePointLength(value) <= max, {
      error: `must be at most ${max} characters`,
    });
}

/** An integer within `min`..`max`; the same integer as a decimal string is accepted too. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER) {
  return z.preprocess(
    (value) => (typeof value === 'string' && /^-?\d{1,16}$/.test(value) ? Number(value) : value),
    z
      .number({ error: 'must be an integer' })
      .refine((value) => Number.isSafeInteger(value), { error: 'must be an integer', abort: true })
      .refine((value) => value >= min && value <= max, { error: `must be between ${min} and ${max}` }),
  );
}

/** Any JSON value; how deep it nests is checked where the text is parsed. */
export const anyJson = z.custom<Json>((value) => value !== undefined, { error: 'must be JSON' });
