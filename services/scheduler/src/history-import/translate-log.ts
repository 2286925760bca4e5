/** A run as the original logged it → a task that is over. Pure; odd data becomes something that can be read. */
import { DateTime, IANAZone } from 'luxon';
import { causeOfOriginal, type AttemptCause, type FinalState } from '@stadion/contracts';
import type { OriginalLog } from './original-rows.js';

export interface ImportedRun {
  sourceId: number;
  state: FinalState;
  owner: string;
  orgId: number | null;
  baseUuid: string;
  scriptName: string;
  trigger: string;
  /** JSON. */
  context: string | null;
  /** Moments as our database writes them, in UTC. */
  createdAt: string;
  startedAt: string | null;
  finishedAt: string;
  returnCode: number | null;
  cause: AttemptCause;
  output: string;
  outputWasCut: boolean;
  succeeded: boolean;
  runTimeUs: number;
}

export const unfinishedSentence =
  'This run had not ended when its history was taken over from the original pipeline; nobody can tell how it ended.';

/** MariaDB takes statements of 16 MiB unless told otherwise; this leaves room for escapes. */
const longestOutput = 6_000_000;
const cutSentence = '\n[The rest of the output was cut when it was taken over from the original pipeline.]';

/** `begunAt`: stands for a moment that the original did not write down, as our database writes it. */
export function translateLog(log: OriginalLog, options: { zone: string; begunAt: string }): ImportedRun {
  const toUtc = utcOf(options.zone);
  const startedAt = toUtc(log.started_at);
  const finishedAt = toUtc(log.finished_at, startedAt);
  const createdAt = toUtc(log.created_at) ?? startedAt ?? finishedAt ?? options.begunAt;
  const ended = finishedAt !== null;
  const succeeded = ended && log.success !== null && Number(log.success) === 1;
  const cause = ended ? causeOfOriginal({ success: succeeded, output: log.output }) : 'lost';
  const runTimeUs =
    startedAt === null || finishedAt === null
      ? 0
      : Math.max(0, microseconds(finishedAt) - microseconds(startedAt));
  const text = (log.output ?? '').toWellFormed();
  const output = ended ? text : text === '' ? unfinishedSentence : `${text}\n${unfinishedSentence}`;
  const outputWasCut = output.length > longestOutput;
  return {
    sourceId: log.id,
    state: !ended ? 'lost' : succeeded ? 'succeeded' : cause === 'time_limit' ? 'timed_out' : 'failed',
    owner: named(log.owner, 255),
    orgId: orgOf(log.org_id),
    baseUuid: named(log.dtable_uuid, 36),
    scriptName: named(log.script_name, 255),
    trigger: log.operate_from ? firstCharacters(log.operate_from, 50) : 'manualy',
    context: jsonOf(log.context_data),
    createdAt,
    startedAt,
    finishedAt: finishedAt ?? startedAt ?? createdAt,
    returnCode: integerOf(log.return_code),
    cause,
    output: outputWasCut ? output.slice(0, longestOutput).toWellFormed() + cutSentence : output,
    outputWasCut,
    succeeded,
    runTimeUs,
  };
}

/**
 * Local time without a zone → UTC. An hour that a change of the clocks makes come twice is taken for its first; for its
 * second when the first would be before `notBefore`.
 */
function utcOf(zoneName: string): (local: string | null, notBefore?: string | null) => string | null {
  const zone = IANAZone.create(zoneName);
  return (local, notBefore = null) => {
    const [, seconds, fraction = ''] =
      /^(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?/.exec(local ?? '') ?? [];
    if (!seconds || seconds.startsWith('0000')) return null;
    const time = DateTime.fromISO(seconds.replace(' ', 'T'), { zone });
    if (!time.isValid) return null;
    const written = time
      .getPossibleOffsets()
      .map((one) => `${one.toUTC().toFormat('yyyy-MM-dd HH:mm:ss')}.${fraction.padEnd(6, '0')}`)
      .sort();
    return written.find((one) => notBefore === null || one >= notBefore) ?? written[0] ?? null;
  };
}

function microseconds(moment: string): number {
  return Date.parse(`${moment.slice(0, 19).replace(' ', 'T')}Z`) * 1000 + Number(moment.slice(20, 26));
}

/** Neither owner nor base nor script is ever empty with us. */
function named(text: string | null, longest: number): string {
  return text ? firstCharacters(text, longest) : 'unknown';
}

function firstCharacters(text: string, longest: number): string {
  const wellFormed = text.toWellFormed();
  return wellFormed.length <= longest ? wellFormed : [...wellFormed].slice(0, longest).join('');
}

function orgOf(text: string | null): number | null {
  const orgId = integerOf(text);
  return orgId === null || orgId < 0 ? null : orgId;
}

function integerOf(text: string | null): number | null {
  const number = text === null || text === '' ? NaN : Math.trunc(Number(text));
  return Number.isSafeInteger(number) ? number : null;
}

/** What is no JSON was stored as the text that it is. */
function jsonOf(text: string | null): string | null {
  if (text === null || text.trim() === '') return null;
  try {
    return JSON.parse(text) === null ? null : text;
  } catch {
    return JSON.stringify(text.toWellFormed());
  }
}
