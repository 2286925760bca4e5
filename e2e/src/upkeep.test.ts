/** What time does to the database: old tasks and statistics go, and an older schema with its data is brought up to date. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StadionError } from '@stadion/client';
import { eventually } from '@stadion/testkit';
import { authToken, base, Trio } from './trio.js';

let trio: Trio;
afterEach(() => trio.stop());

async function getJson(path: string): Promise<unknown> {
  const answer = await fetch(trio.scheduler.url + path, { headers: { Authorization: `Token ${authToken}` } });
  expect(answer.status).toBe(200);
  return await answer.json();
}

it('a scheduler deletes what is older than its settings say when it starts, and nothing younger', async () => {
  trio = await Trio.start({ executor: 'process' });
  const [old, young] = [await trio.run(`print('old')`), await trio.run(`print('young')`)];
  await trio.database.execute(
    `UPDATE tasks SET finished_at = finished_at - INTERVAL 31 DAY, created_at = created_at - INTERVAL 31 DAY WHERE id = ${old.id}`,
  );
  // One day that is too old, and one that is not.
  await trio.database.execute(
    `INSERT INTO run_statistics (day, org_id, owner, base_uuid, run_count, success_count, manual_count, automation_count, total_run_time_us, charged_count)
     SELECT DATE_FORMAT(UTC_DATE() - INTERVAL age DAY, '%Y-%m-%d'), 9, CONCAT('owner-', age), '${base}', 1, 1, 1, 0, 0, 1
     FROM (SELECT 80 AS age UNION SELECT 92) AS ages`,
  );
  await trio.scheduler.stop();
  await trio.scheduler.start();
  await eventually(
    async () => {
      const error = await trio.client.getRun(old).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      return error instanceof StadionError && error.status === 404;
    },
    { timeoutMs: 30_000 },
  );
  expect(await trio.client.getRun(young)).toMatchObject({ output: 'young\n' });
  const day = (age: number) => new Date(Date.now() - age * 86_400_000).toISOString().slice(0, 10);
  const days = () => getJson(`/admin/statistics/by-day/?org_id=9&start=${day(120)}&end=${day(0)}`);
  await eventually(
    async () =>
      ((await days()) as { results: { date: string }[] }).results.map(({ date }) => date).join() === day(80),
    { timeoutMs: 30_000 },
  );
});

it('a database of an older version is upgraded with its data: what ended stays, what waited runs', async () => {
  const dump = await readFile(join(process.cwd(), 'e2e/fixtures/schema-0005.sql'), 'utf8');
  trio = await Trio.start({
    executor: 'process',
    // The fixture grows old; it is not to be cleaned away.
    scheduler: { STADION_KEEP_TASKS: '36500', STADION_KEEP_STATISTICS: '36500' },
    scripts: { 'waiting.py': `print('ran after the upgrade')` },
    prepare: async (database) => {
      for (const statement of dump.split(/;\s*\n/)) if (statement.trim()) await database.execute(statement);
    },
  });
  const key = (id: number, script_name: string) => ({ id, script_name, dtable_uuid: base });
  expect(await trio.client.getRun(key(1, 'old.py'))).toMatchObject({
    success: true,
    output: 'hello from before ü 🏟\n',
    context_data: { row: { Name: 'ü 🏟' } },
    org_id: 7,
  });
  expect(await trio.client.getRun(key(2, 'old.py'))).toMatchObject({
    success: false,
    return_code: 3,
    org_id: -1,
  });
  const waited = await trio.client.waitForRun(key(3, 'waiting.py'), {
    everyMs: 50,
    signal: AbortSignal.timeout(60_000),
  });
  expect(waited).toMatchObject({ success: true, output: 'ran after the upgrade\n' });
  const log = (await getJson(`/tasks/${base}/old.py/logs/`)) as { count: number };
  expect(log.count).toBe(2);
  const next = await trio.run(`print('new')`);
  expect(next).toMatchObject({ output: 'new\n', id: 4 });
});
