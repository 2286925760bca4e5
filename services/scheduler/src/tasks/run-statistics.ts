/**
 * What is counted of runs, and what may be asked of it. A *run* is a task that has ended, however it did. It is
 * *charged* – counts against a monthly limit and in the monthly statistics – when its script really spent time: one
 * that never started costs nobody anything.
 */
import type { Page } from './run-history.js';

/** Whose month it is: an organisation's, or that of a user who belongs to none. */
export type Payer = { orgId: number } | { owner: string };

export interface MonthlyQuery extends Page {
  by: 'user' | 'org' | 'base';
  month: string;
  orderBy: 'count' | 'time';
  descending: boolean;
}

export interface MonthlyTotal {
  /** The user, the organisation's id, or the base. */
  of: string | number;
  chargedCount: number;
  runTimeUs: number;
}

export interface RunTotalsQuery extends Page {
  by: 'base' | 'day';
  /** null: runs of no organisation. */
  orgId: number | null;
  baseUuid?: string | undefined;
  /** First and last day, both included. */
  fromDay?: string | undefined;
  toDay?: string | undefined;
}

export interface RunTotal {
  /** The base, or the day. */
  of: string;
  runCount: number;
  successCount: number;
  manualCount: number;
  automationCount: number;
  runTimeUs: number;
}

/** What the statistics say and what the history says of the same day, organisation, owner and base. */
export interface StatisticsDifference {
  day: string;
  orgId: number;
  owner: string;
  baseUuid: string;
  counted: StatisticsSums;
  recounted: StatisticsSums;
}

export const statisticsColumns = [
  'run_count',
  'charged_count',
  'success_count',
  'manual_count',
  'automation_count',
  'total_run_time_us',
] as const;
export type StatisticsSums = Record<(typeof statisticsColumns)[number], number>;

/** An organisation or user whose first run too many in a month was refused. */
export interface ExceededLimit {
  payer: Payer;
  month: string;
}
