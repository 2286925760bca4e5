/**
 * How the original pipeline writes its answers: JSON with sorted keys, nothing but ASCII, and a newline at the end;
 * times in the operator's zone with offset and whole seconds.
 */
import { IANAZone } from 'luxon';
import type { Response } from 'express';
import type { Json } from '@stadion/contracts';

export function sendHostJson(response: Response, value: Json, status = 200): void {
  const text = escapeNonAscii(JSON.stringify(sortKeys(value)));
  response.status(status).set('Cache-Control', 'no-store').type('application/json').send(`${text}\n`);
}

function sortKeys(value: Json): Json {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const sorted: Record<string, Json> = {};
  // Code-unit order, as Python sorts; a locale's order would differ.
  for (const key of Object.keys(value).sort()) sorted[key] = sortKeys(value[key]!);
  return sorted;
}

function escapeNonAscii(text: string): string {
  return text.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** `2026-11-21T21:07:09+00:00` in the zone. */
export function hostTime(zoneName: string): (time: Date) => string {
  const zone = IANAZone.create(zoneName);
  return (time) => {
    const offsetMinutes = zone.offset(time.getTime());
    const local = new Date(time.getTime() + offsetMinutes * 60_000).toISOString().slice(0, 19);
    const sign = offsetMinutes < 0 ? '-' : '+';
    const minutes = Math.abs(offsetMinutes);
    const two = (number: number) => String(number).padStart(2, '0');
    return `${local}${sign}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
  };
}
