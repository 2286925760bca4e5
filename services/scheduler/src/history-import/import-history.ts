/**
 * Copies the history of the original pipeline into ours, once: the runs with their ids and outputs, and the monthly
 * counts. It may be killed at any moment and is then run again; see `store/history-import-target.ts`.
 */
import { DateTime } from 'luxon';
import type { HistoryTarget, ImportProgress } from '../store/history-import-target.js';
import { axes, type Axis, type OriginalCount, type OriginalHistory } from './original-rows.js';
import { translateLog } from './translate-log.js';

export interface ImportHistoryOptions {
  source: OriginalHistory;
  target: HistoryTarget;
  /** In which the original wrote its times. */
  zone: string;
  /** Runs that ended longer ago may have been deleted as expired by the time they are looked for. */
  keepTasksDays: number;
  print(line: string): void;
}

export interface ImportSummary {
  /** Whether what is here now is what was there. */
  agrees: boolean;
  progress: ImportProgress;
}

export async function importHistory(options: ImportHistoryOptions): Promise<ImportSummary> {
  const { source, target, zone, print } = options;
  await source.check();
  const { count, highestId } = await source.countLogs();
  let progress = await target.begin(source.name, highestId);
  if (progress.copied > 0)
    print(`Going on behind run ${progress.lastId}; ${progress.copied} are here already.`);
  let nextReport = progress.copied + 10_000;
  for (;;) {
    const logs = await source.readLogs(progress.lastId);
    if (logs.length === 0) break;
    progress = await target.addRuns(
      progress,
      logs.map((log) => translateLog(log, { zone, begunAt: progress.begunAt })),
    );
    if (progress.copied >= nextReport) {
      print(`${progress.copied} of ${count} runs`);
      nextReport = progress.copied + 10_000;
    }
  }
  const counts: Partial<Record<Axis, OriginalCount[]>> = {};
  for (const axis of axes) {
    const read = await source.readCounts(axis);
    if (read) counts[axis] = read;
    else print(`There are no ${words[axis]} statistics there; the imported runs count instead.`);
  }
  progress = await target.finish(progress, counts);
  printRuns(progress, print);
  const runsAgree = await verifyRuns(options, progress);
  const countsAgree = await verifyCounts(options, counts);
  return { agrees: runsAgree && countsAgree, progress };
}

const words = { user: "users'", org: "organisations'", base: "bases'" } as const satisfies Record<
  Axis,
  string
>;

function printRuns(progress: ImportProgress, print: (line: string) => void): void {
  print(`Copied ${progress.copied} runs.`);
  if (progress.unfinished > 0) print(`  ${progress.unfinished} had not ended; they are lost now.`);
  if (progress.renumbered > 0)
    print(`  ${progress.renumbered} have a new id, because theirs was taken here.`);
  if (progress.cut > 0) print(`  ${progress.cut} outputs were cut: they were too long for one statement.`);
}

async function verifyRuns(
  { source, target, zone, keepTasksDays, print }: ImportHistoryOptions,
  progress: ImportProgress,
): Promise<boolean> {
  const { count } = await source.countLogs(progress.lastId);
  const since = DateTime.now().setZone(zone).minus({ days: keepTasksDays }).toFormat('yyyy-MM-dd HH:mm:ss');
  let found = 0;
  let missing = 0;
  for (let afterId = 0; ;) {
    const ids = await source.idsAfter(afterId);
    const last = ids.at(-1);
    if (last === undefined) break;
    const here = await target.existing(ids);
    found += here.size;
    missing += (
      await source.idsSince(
        ids.filter((id) => !here.has(id)),
        since,
      )
    ).length;
    afterId = last;
  }
  const agrees = count === progress.copied && missing === 0;
  print(
    agrees
      ? `Verified: ${count} runs there, ${progress.copied} copied, ${found} of those ids are here.`
      : `NOT AS IT SHOULD BE: ${count} runs there, ${progress.copied} copied, ${missing} ids are missing here.`,
  );
  return agrees;
}

async function verifyCounts(
  { target, print }: ImportHistoryOptions,
  counts: Partial<Record<Axis, readonly OriginalCount[]>>,
): Promise<boolean> {
  let agrees = true;
  for (const axis of axes) {
    const said = counts[axis]?.filter(({ subject }) => axis !== 'org' || Number(subject) >= 0);
    if (!said) continue;
    const there = {
      runs: said.reduce((sum, { runs }) => sum + runs, 0),
      runTimeUs: said.reduce((sum, { runTimeUs }) => sum + runTimeUs, 0),
    };
    const here = await target.imported(axis);
    const same = there.runs === here.runs && there.runTimeUs === here.runTimeUs;
    agrees &&= same;
    const seconds = (us: number) => Math.floor(us / 1e6);
    print(
      same
        ? `Verified: the ${words[axis]} statistics say ${here.runs} runs of ${seconds(here.runTimeUs)} s in all.`
        : `NOT AS IT SHOULD BE: the ${words[axis]} statistics say ${there.runs} runs of ${seconds(there.runTimeUs)} s there, ${here.runs} of ${seconds(here.runTimeUs)} s here.`,
    );
  }
  return agrees;
}
