/** Reads the query of a host API request, parameter by parameter; what is wrong is said in the original's words. */
import { Refusal } from '@stadion/service-kit';
import type { Request } from 'express';
import { isMonth, parseSpan, type Span } from '../calendar.js';
import type { Page } from '../tasks/run-history.js';

/** How a family of routes words its complaints. */
export interface Wording {
  invalid(name: string): string;
  missing(name: string): string;
}

export const plainWording: Wording = {
  invalid: (name) => `${name} invalid.`,
  missing: (name) => `${name} invalid.`,
};

export const adminWording: Wording = {
  invalid: (name) => `Invalid value for ${name} parameter`,
  missing: (name) => `${name} is required`,
};

/** Pages beyond this hold nothing; the product with a page's size still counts exactly. */
const lastPage = 1_000_000_000;

export class HostQuery {
  constructor(
    private readonly request: Request,
    private readonly wording: Wording,
  ) {}

  /** Undefined when it is absent or empty. A parameter that is given twice is wrong. */
  text(name: string): string | undefined {
    const value: unknown = this.request.query[name];
    if (value === undefined || value === '') return undefined;
    if (typeof value !== 'string') throw this.invalid(name);
    return value;
  }

  integer(name: string, min: number, max: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = /^-?\d{1,16}$/.test(text) ? Number(text) : NaN;
    if (!Number.isSafeInteger(value) || value < min || value > max) throw this.invalid(name);
    return value;
  }

  /** -1, no organisation, becomes null. */
  orgId(name: string): number | null | undefined {
    const value = this.integer(name, -1, Number.MAX_SAFE_INTEGER);
    return value === -1 ? null : value;
  }

  required<Value>(name: string, value: Value | undefined): Value {
    if (value === undefined) throw new Refusal('invalid_field', this.wording.missing(name), { field: name });
    return value;
  }

  choice<Choice extends string>(name: string, choices: readonly Choice[]): Choice | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const choice = choices.find((each) => each === text);
    if (choice === undefined) throw this.invalid(name);
    return choice;
  }

  month(name: string): string | undefined {
    const text = this.text(name);
    if (text !== undefined && !isMonth(text)) throw this.invalid(name);
    return text;
  }

  span(name: string, timeZone: string): Span | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const span = parseSpan(text, timeZone);
    if (!span) throw this.invalid(name);
    return span;
  }

  /** `page` counts from 1; page 0 holds nothing. More per page than `most` is `most`. */
  page({ usual, most }: { usual: number; most: number }): Page {
    const page = this.integer('page', 0, lastPage) ?? 1;
    const perPage = Math.min(most, this.integer('per_page', 0, Number.MAX_SAFE_INTEGER) ?? usual);
    return page === 0 ? { offset: 0, limit: 0 } : { offset: (page - 1) * perPage, limit: perPage };
  }

  invalid(name: string): Refusal {
    return new Refusal('invalid_field', this.wording.invalid(name), { field: name });
  }
}
