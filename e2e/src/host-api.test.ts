/** The rest of the host API on the real services: logs, counts, limits, and the proof that statistics are right. */
import {
  adminRunsResponse,
  monthlyStatisticsResponse,
  runStatisticsResponse,
  taskLogsResponse,
} from '@stadion/contracts';
import { eventually } from '@stadion/testkit';
import { authToken, base, Trio } from './trio.js';

jest.setTimeout(120_000);

describe('the host API after some runs', () => {
  let trio: Trio;
  const headers = { Authorization: `Token ${authToken}` };
  const get = async (path: string): Promise<unknown> =>
    (await fetch(trio.scheduler.url + path, { headers })).json();

  beforeAll(async () => {
    trio = await Trio.start({ executor: 'process' });
    await trio.run('print("one")', { script_name: 'a/ü 🏟.py' });
    await trio.run('raise SystemExit(3)', { script_name: 'a/ü 🏟.py' });
    // Never starts: the host application knows no such script.
    const key = await trio.client.submitRun({ dtable_uuid: base, script_name: 'none.py', owner: 'bob' });
    await trio.client.waitForRun(key, { everyMs: 50, signal: AbortSignal.timeout(60_000) });
  });
  afterAll(() => trio.stop());

  it('keeps the log of a script, whatever it is called', async () => {
    const log = taskLogsResponse.parse(
      await get(`/tasks/${base}/${encodeURIComponent('a/ü 🏟.py')}/logs/?page=1&per_page=20&org_by=-id`),
    );
    expect(log).toMatchObject({ count: 2, task_logs: [{ return_code: 3 }, { output: 'one\n' }] });
  });

  it('counts a run that never started, and charges nobody for it', async () => {
    expect(await get('/scripts-running-count/?username=alice@example.com')).toEqual({ count: 2 });
    expect(await get('/scripts-running-count/?username=bob')).toEqual({ count: 0 });
    const users = monthlyStatisticsResponse.parse(await get('/admin/statistics/scripts-running/by-user/'));
    expect(users.results).toMatchObject([{ username: 'alice@example.com', total_run_count: 2 }]);
    const bases = runStatisticsResponse.parse(await get('/admin/statistics/by-base/?org_id=-1'));
    expect(bases.results).toMatchObject([
      { base_uuid: base, number_of_runs: 3, successful_runs: 1, unsuccessful_runs: 2 },
    ]);
    expect(adminRunsResponse.parse(await get('/admin/runs/')).total_count).toBe(3);
  });

  it('refuses a run over the limit that the host application names, and tells it once', async () => {
    trio.host.runningLimit = 2;
    const submit = () =>
      fetch(`${trio.scheduler.url}/run-script/`, {
        method: 'POST',
        headers,
        body: JSON.stringify({
          dtable_uuid: base,
          script_name: 'more.py',
          owner: 'alice@example.com',
          scripts_running_limit: 0,
        }),
      });
    for (let index = 0; index < 2; index += 1) {
      const answer = await submit();
      expect([answer.status, await answer.text()]).toEqual([400, 'The number of runs exceeds the limit']);
    }
    const news = () => trio.host.requests.filter(({ path }) => path.includes('exceeded-notifications'));
    await eventually(() => news().length > 0);
    expect(news().map(({ body }) => body)).toEqual(['{"owners":["alice@example.com"]}']);
  });

  it('is proved right by the checker, which finds what is planted', async () => {
    expect(await trio.scheduler.command('check-statistics-main')).toMatchObject({ code: 0 });
    await trio.database.execute("UPDATE run_statistics SET charged_count = 9 WHERE owner = 'bob'");
    const found = await trio.scheduler.command('check-statistics-main');
    expect(found.output).toContain('owner="bob"');
    expect(found.output).toContain('charged_count is 9, the history says 0');
    expect(found.code).toBe(1);
  });
});
