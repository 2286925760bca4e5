/**
 * Rows of the original's database (versions 1 and 2), as they are read: everything is text or null, times say no zone.
 */

export interface OriginalLog {
  id: number;
  dtable_uuid: string | null;
  owner: string | null;
  org_id: string | null;
  script_name: string | null;
  context_data: string | null;
  started_at: string | null;
  finished_at: string | null;
  success: string | null;
  return_code: string | null;
  output: string | null;
  operate_from: string | null;
  /** Version 2 only. */
  created_at: string | null;
}

/** Whose statistics a row is of; each has a table of its own there. */
export const axes = ['user', 'org', 'base'] as const;
export type Axis = (typeof axes)[number];

/** What the original counted for one of them on one day. */
export interface OriginalCount {
  axis: Axis;
  /** The user, the organisation's id, or the base. */
  subject: string;
  /** `YYYY-MM-DD`, as the original wrote it. */
  day: string;
  runs: number;
  runTimeUs: number;
}

export interface OriginalHistory {
  /** Names it in messages, and tells it from others. */
  readonly name: string;
  /** Throws with a sentence when this is no database of the original. */
  check(): Promise<void>;
  /** How many runs there are with an id up to this, and the highest id of all. */
  countLogs(upTo?: number): Promise<{ count: number; highestId: number }>;
  /** The runs after this id, in the order of their ids: as many as are not too much at once, at least one. */
  readLogs(afterId: number): Promise<OriginalLog[]>;
  /** Ids after this one, in order; empty when there are no more. */
  idsAfter(id: number): Promise<number[]>;
  /** Of these ids, those whose run ended (or began, when it never ended) at this local time or later. */
  idsSince(ids: readonly number[], localTime: string): Promise<number[]>;
  /** Undefined when the original keeps no such table. */
  readCounts(axis: Axis): Promise<OriginalCount[] | undefined>;
  close(): Promise<void>;
}
