import {
  adminRunsResponse,
  monthlyStatisticsResponse,
  runningCountResponse,
  runStatisticsResponse,
} from '@stadion/contracts';
import fc from 'fast-check';
import {
  authToken,
  base,
  startSchedulerHarness,
  type SchedulerHarness,
} from '../testing/scheduler-harness.js';

jest.setTimeout(30_000);

let scheduler: SchedulerHarness;
beforeEach(async () => {
  scheduler = await startSchedulerHarness();
});
afterEach(() => scheduler.stop());

const neverStarted = {
  state: 'failed',
  returnCode: null,
  output: 'Fail to get script',
  cause: 'script_unavailable',
  spendTimeS: null,
} as const;

const paths = [
  '/scripts-running-count/',
  '/admin/statistics/scripts-running/by-user/',
  '/admin/statistics/scripts-running/by-org/',
  '/admin/statistics/scripts-running/by-base/',
  '/admin/runs/',
  '/admin/statistics/by-base/',
  '/admin/statistics/by-day/',
];

describe.each(paths)('GET %s', (path) => {
  const good = `${path}?org_id=7`;

  it('wants the shared secret, in either scheme, with and without a slash', async () => {
    for (const headers of [{}, { Authorization: 'Token wrong' }]) {
      const answer = await scheduler.get(good, headers);
      expect([answer.status, answer.text]).toEqual([403, 'Forbidden: the auth token is not correct.']);
    }
    for (const scheme of ['Token', 'Bearer']) {
      const headers = { Authorization: `${scheme} ${authToken}` };
      expect((await scheduler.get(good, headers)).status).toBe(200);
      expect((await scheduler.get(good.replace('/?', '?'), headers)).status).toBe(200);
    }
  });

  it('answers in the host format', async () => {
    const answer = await scheduler.get(good);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.text).toMatch(/^\{"[^ ]*\}\n$/);
  });

  it('never answers 5xx, whatever the query', async () => {
    await scheduler.finished({ org_id: 7 });
    const names = [
      ...['username', 'org_id', 'month', 'order_by', 'direction', 'page', 'per_page'],
      ...['start', 'end', 'base_uuid', '__proto__', 'org_id[]'],
    ];
    const value = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.integer().map(String),
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      fc.constantFrom('7', '-1', '2026-11', '2026-11-21', '-total_run_time', 'desc', base, '9'.repeat(16)),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 5 }),
        async (pairs) => {
          const search = pairs.map(([key, text]) => `${key}=${encodeURIComponent(text.toWellFormed())}`);
          const answer = await scheduler.get(`${path}?${search.join('&')}`);
          expect(answer.status).toBeLessThan(500);
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe('GET /scripts-running-count/', () => {
  const count = (query: string) => scheduler.get(`/scripts-running-count/?${query}`);

  it('counts the charged runs of a user or an organisation, which wins, in a month', async () => {
    await scheduler.finished({ owner: 'alice' });
    await scheduler.finished({ owner: 'alice' }, neverStarted);
    await scheduler.finished({ owner: 'alice', org_id: 7 });
    await scheduler.finished({ owner: 'bob', org_id: 7 });
    expect((await count('username=alice')).text).toBe('{"count":1}\n');
    for (const [query, expected] of [
      ['org_id=7', 2],
      ['org_id=7&username=alice', 2],
      ['org_id=8', 0],
      ['username=nobody', 0],
      ['username=alice&month=2026-11', 1],
      ['username=alice&month=2026-10', 0],
    ] as const) {
      expect(runningCountResponse.parse((await count(query)).body)).toEqual({ count: expected });
    }
  });

  it('charges groups nothing', async () => {
    await scheduler.finished({ owner: 'team@seafile_group' });
    expect((await count('username=team@seafile_group')).body).toEqual({ count: 0 });
  });

  it.each([
    ['', 'username or org_id invalid.'],
    ['username=', 'username or org_id invalid.'],
    ['username=alice&month=2026-13', 'month invalid.'],
    ['username=alice&month=2026-1', 'month invalid.'],
    ['username=alice&month=x', 'month invalid.'],
    ['org_id=x', 'org_id invalid.'],
    ['org_id=-1', 'org_id invalid.'],
    ['org_id=1.5', 'org_id invalid.'],
    ['org_id=1&org_id=2', 'org_id invalid.'],
    ['username=a&username=b', 'username invalid.'],
  ])('answers "%s" with 400 and "%s"', async (query, message) => {
    const answer = await count(query);
    expect([answer.status, answer.text, answer.headers['content-type']]).toEqual([
      400,
      message,
      'text/html; charset=utf-8',
    ]);
  });
});

describe('GET /admin/statistics/scripts-running/by-…/', () => {
  const monthly = (by: string, query = '') =>
    scheduler.get(`/admin/statistics/scripts-running/by-${by}/${query}`);

  beforeEach(async () => {
    await scheduler.finished({ owner: 'alice' }, { spendTimeS: 0.9 });
    await scheduler.finished({ owner: 'alice' }, { spendTimeS: 0.9 });
    await scheduler.finished({ owner: 'bob' }, { spendTimeS: 9.99 });
    await scheduler.finished({ owner: 'carol' }, neverStarted);
    await scheduler.finished({ owner: 'team@seafile_group' });
    await scheduler.finished({ owner: 'dave', org_id: 7 });
  });

  it('shows users, without members of organisations and groups; seconds are cut off', async () => {
    const answer = await monthly('user');
    expect(answer.text).toBe(
      '{"count":2,"month":"2026-11","results":[{"total_run_count":2,"total_run_time":1,"username":"alice"},' +
        '{"total_run_count":1,"total_run_time":9,"username":"bob"}]}\n',
    );
    monthlyStatisticsResponse.parse(answer.body);
  });

  it('shows organisations and bases', async () => {
    expect((await monthly('org')).body).toEqual({
      count: 1,
      month: '2026-11',
      results: [{ org_id: 7, total_run_count: 1, total_run_time: 1 }],
    });
    expect((await monthly('base')).body).toEqual({
      count: 1,
      month: '2026-11',
      results: [{ base_uuid: base, total_run_count: 5, total_run_time: 14 }],
    });
  });

  it.each([
    ['?order_by=-total_run_time', ['bob', 'alice']],
    ['?order_by=total_run_time', ['alice', 'bob']],
    ['?order_by=total_run_time&direction=desc', ['bob', 'alice']],
    ['?order_by=total_run_count&direction=asc', ['bob', 'alice']],
    ['?order_by=-total_run_count', ['alice', 'bob']],
    ['?direction=asc', ['bob', 'alice']],
    ['?page=2&per_page=1', ['bob']],
    ['?page=0', []],
    ['?month=2026-10', []],
  ])('by-user/%s lists %j', async (query, users) => {
    const { results } = (await monthly('user', query)).body as { results: { username: string }[] };
    expect(results.map((result) => result.username)).toEqual(users);
  });

  it.each([
    ['?month=2026-00', 'month invalid.'],
    ['?month=11', 'month invalid.'],
    ['?order_by=name', 'order_by invalid.'],
    ['?order_by=total_run_time;DROP', 'order_by invalid.'],
    ['?direction=sideways', 'direction invalid.'],
    ['?page=x', 'page invalid.'],
    ['?per_page=-1', 'per_page invalid.'],
  ])('answers %s with 400 and "%s"', async (query, message) => {
    const answer = await monthly('base', query);
    expect([answer.status, answer.text]).toEqual([400, message]);
  });
});

describe('GET /admin/statistics/by-base/ and by-day/', () => {
  beforeEach(async () => {
    await scheduler.finished({ org_id: 7 });
    await scheduler.finished({ org_id: 7, operate_from: 'automation-rule' }, neverStarted);
    scheduler.now = new Date('2026-11-22T12:00:00Z');
    await scheduler.finished({ org_id: 7, dtable_uuid: 'other' }, { state: 'failed', returnCode: 1 });
  });

  const sums = {
    number_of_runs: 2,
    successful_runs: 1,
    total_run_time: 1,
    triggered_by_automation_rule: 1,
    triggered_manually: 1,
    unsuccessful_runs: 1,
  };
  const one = {
    number_of_runs: 1,
    successful_runs: 0,
    total_run_time: 1,
    triggered_by_automation_rule: 0,
    triggered_manually: 1,
    unsuccessful_runs: 1,
  };

  it('count all runs of an organisation, those that never started too', async () => {
    const byBase = await scheduler.get('/admin/statistics/by-base/?org_id=7');
    expect(byBase.body).toEqual({
      results: [
        { base_uuid: base, ...sums },
        { base_uuid: 'other', ...one },
      ],
      total_count: 2,
    });
    runStatisticsResponse.parse(byBase.body);
    expect((await scheduler.get('/admin/statistics/by-day/?org_id=7')).body).toEqual({
      results: [
        { date: '2026-11-21', ...sums },
        { date: '2026-11-22', ...one },
      ],
      total_count: 2,
    });
  });

  it.each([
    ['start=2026-11-22', ['2026-11-22']],
    ['end=2026-11-21', ['2026-11-21']],
    ['start=2026-11-21&end=2026-11-22', ['2026-11-21', '2026-11-22']],
    ['start=2026-11-23&end=2026-11-01', []],
    [`base_uuid=${base}`, ['2026-11-21']],
    ['page=2&per_page=1', ['2026-11-22']],
    ['page=0', []],
  ])('by-day/?org_id=7&%s lists %j', async (query, dates) => {
    const answer = await scheduler.get(`/admin/statistics/by-day/?org_id=7&${query}`);
    const { results } = answer.body as { results: { date: string }[] };
    expect(results.map((result) => result.date)).toEqual(dates);
  });

  it.each([
    ['', 'org_id is required'],
    ['org_id=', 'org_id is required'],
    ['org_id=x', 'Invalid value for org_id parameter'],
    ['org_id=7&start=yesterday', 'Invalid value for start parameter'],
    ['org_id=7&start=2026-02-30', 'Invalid value for start parameter'],
    ['org_id=7&end=2026-11-31', 'Invalid value for end parameter'],
    ['org_id=7&page=x', 'Invalid value for page parameter'],
    ['org_id=7&per_page=-1', 'Invalid value for per_page parameter'],
  ])('answer "%s" with 400 and {"error":"%s"}', async (query, error) => {
    for (const by of ['by-base', 'by-day']) {
      const answer = await scheduler.get(`/admin/statistics/${by}/?${query}`);
      expect([answer.status, answer.text]).toEqual([400, `{"error":"${error}"}\n`]);
    }
  });
});

describe('GET /admin/runs/', () => {
  it('lists runs, newest first, without output and context', async () => {
    const first = await scheduler.finished({ org_id: 7, context_data: { secret: 1 }, temp_api_token: 'tok' });
    const second = await scheduler.finished();
    const answer = await scheduler.get('/admin/runs/');
    const { runs, total_count } = adminRunsResponse.parse(answer.body);
    expect([total_count, runs.map((run) => run.id)]).toEqual([2, [second, first]]);
    expect(Object.keys(answer.body.runs[1])).toEqual([
      ...['created_at', 'dtable_uuid', 'finished_at', 'id', 'operate_from', 'org_id', 'owner'],
      ...['return_code', 'script_name', 'started_at', 'state', 'success'],
    ]);
  });

  it('filters by organisation, base and time, and pages', async () => {
    const first = await scheduler.finished({ org_id: 7 });
    scheduler.now = new Date('2026-11-22T00:00:00Z');
    const second = await scheduler.finished({ org_id: 7, dtable_uuid: 'other' });
    const third = await scheduler.finished();
    for (const [query, total, ids] of [
      ['org_id=7', 2, [second, first]],
      ['org_id=-1', 1, [third]],
      [`base_uuid=${base.replaceAll('-', '')}`, 2, [third, first]],
      ['start=2026-11-22', 2, [third, second]],
      ['end=2026-11-21', 1, [first]],
      ['start=2026-11-21T12:00:00Z&end=2026-11-21T12:00:00Z', 1, [first]],
      ['start=2026-11-22T01:00:00%2B01:00', 2, [third, second]],
      ['page=2&per_page=1', 3, [second]],
      ['page=0', 3, []],
      ['org_id=9', 0, []],
    ] as const) {
      const { body } = await scheduler.get(`/admin/runs/?${query}`);
      const { runs, total_count } = adminRunsResponse.parse(body);
      expect({ query, total_count, ids: runs.map((run) => run.id) }).toEqual({
        query,
        total_count: total,
        ids: [...ids],
      });
    }
  });

  it.each([
    ['org_id=x', 'Invalid value for org_id parameter'],
    ['start=x', 'Invalid value for start parameter'],
    ['end=2026', 'Invalid value for end parameter'],
    ['page=x', 'Invalid value for page parameter'],
  ])('answers "%s" with 400 and {"error":"%s"}', async (query, error) => {
    const answer = await scheduler.get(`/admin/runs/?${query}`);
    expect([answer.status, answer.body]).toEqual([400, { error }]);
  });
});

it("days, months and filters are in the operator's time zone", async () => {
  const berlin = await startSchedulerHarness({ timeZone: 'Europe/Berlin' });
  try {
    berlin.now = new Date('2026-11-30T23:30:00Z');
    const id = await berlin.finished({ org_id: 7 });
    expect((await berlin.get('/scripts-running-count/?org_id=7')).body).toEqual({ count: 1 });
    expect((await berlin.get('/scripts-running-count/?org_id=7&month=2026-11')).body).toEqual({ count: 0 });
    expect((await berlin.get('/admin/statistics/scripts-running/by-org/')).body.month).toBe('2026-12');
    expect((await berlin.get('/admin/statistics/by-day/?org_id=7')).body.results[0].date).toBe('2026-12-01');
    expect((await berlin.get('/admin/runs/?start=2026-12-01')).body.runs[0]).toMatchObject({
      id,
      created_at: '2026-12-01T00:30:00+01:00',
    });
    expect((await berlin.get('/admin/runs/?end=2026-11-30')).body.total_count).toBe(0);
  } finally {
    await berlin.stop();
  }
});
