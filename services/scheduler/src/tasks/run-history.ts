/** What may be asked of the runs that are kept: those of one script, and all of them for an administrator. */
import type { TaskRecord } from './task.js';

/** A part of a list. */
export interface Page {
  offset: number;
  limit: number;
}

export interface ScriptRuns {
  baseUuid: string;
  scriptName: string;
  newestFirst: boolean;
}

/** A run without what can be long (context, output) and without what is secret. */
export type RunSummary = Omit<TaskRecord, 'context' | 'output' | 'scriptUrl' | 'apiToken'>;

export interface RunFilter {
  /** null: runs of no organisation. Undefined: all. */
  orgId?: number | null | undefined;
  baseUuid?: string | undefined;
  /** Recorded at this moment or later. */
  from?: Date | undefined;
  /** Recorded before this moment. */
  until?: Date | undefined;
}

/** One page, and how many there are in all. */
export interface Listed<Item> {
  count: number;
  items: Item[];
}

const uuid = /^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$/i;

/** The same base whether or not its UUID is written with dashes. */
export function isSameBase(one: string, other: string): boolean {
  const bare = (text: string) => text.replaceAll('-', '').toLowerCase();
  return one === other || bare(one) === bare(other);
}

/** The ways in which a base may have been recorded: as given and, when that is a UUID, with dashes and without. */
export function formsOfBase(given: string): string[] {
  const parts = uuid.exec(given.toLowerCase())?.slice(1);
  return parts ? [...new Set([given, parts.join('-'), parts.join('')])] : [given];
}
