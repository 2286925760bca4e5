/**
 * Days and months in the operator's time zone (the setting `timeZone`): what a run is counted for, and what host
 * applications ask for. A day is written `YYYY-MM-DD`, a month `YYYY-MM`; both sort as text as they do as time.
 */
import { DateTime, IANAZone } from 'luxon';

/** The day on which a moment falls. */
export function dayIn(zoneName: string): (time: Date) => string {
  const zone = IANAZone.create(zoneName);
  return (time) => {
    const offsetMinutes = zone.offset(time.getTime());
    return new Date(time.getTime() + offsetMinutes * 60_000).toISOString().slice(0, 10);
  };
}

export function dayAfter(day: string): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + 86_400_000).toISOString().slice(0, 10);
}

export function monthOf(day: string): string {
  return day.slice(0, 7);
}

export function isMonth(text: string): boolean {
  return /^[1-9]\d{3}-(0[1-9]|1[0-2])$/.test(text);
}

/** The first and the last day that a month can have, for comparing as text. */
export function daysOf(month: string): [first: string, last: string] {
  return [`${month}-01`, `${month}-31`];
}

/** A stretch of time as it was written: a day, or a moment. */
export interface Span {
  /** Its (first) day in the zone. */
  day: string;
  from: Date;
  /** The first moment after it; for a moment, the next millisecond. */
  until: Date;
}

/** Reads `YYYY-MM-DD`, or an ISO 8601 date-time, which is in the zone unless it says otherwise. */
export function parseSpan(text: string, zoneName: string): Span | undefined {
  if (!/^[1-9]\d{3}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?$/.test(text))
    return undefined;
  const start = DateTime.fromISO(text.replace(' ', 'T'), { zone: zoneName });
  if (!start.isValid) return undefined;
  const end = text.length === 10 ? start.plus({ days: 1 }) : start.plus({ milliseconds: 1 });
  return { day: start.toFormat('yyyy-MM-dd'), from: start.toJSDate(), until: end.toJSDate() };
}
