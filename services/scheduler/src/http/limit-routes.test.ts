import { eventually } from '@stadion/testkit';
import { startSchedulerHarness, type SchedulerHarness } from '../testing/scheduler-harness.js';

jest.setTimeout(30_000);

let scheduler: SchedulerHarness;
beforeEach(async () => {
  scheduler = await startSchedulerHarness();
});
afterEach(() => scheduler.stop());

const limitPath = '/api/v2.1/scripts-running-limit/';
const newsPath = '/api/v2.1/scripts-exceeded-notifications/';
const asked = () =>
  scheduler.host.requests.filter(({ path }) => path.startsWith(limitPath)).map(({ path }) => path);
const news = () =>
  scheduler.host.requests
    .filter(({ path }) => path === newsPath)
    .map(({ body }) => JSON.parse(body) as Record<string, unknown>);
const tooMany = [400, 'The number of runs exceeds the limit'];

async function submit(part: object): Promise<[number, string]> {
  const answer = await scheduler.submit(part);
  return [answer.status, answer.status === 200 ? 'ok' : answer.text];
}
const ok = [200, 'ok'];

describe('a monthly limit on POST /run-script/', () => {
  it('given with the request holds for runs that are over and under way', async () => {
    await scheduler.finished({ scripts_running_limit: 3 });
    expect(await submit({ scripts_running_limit: 3 })).toEqual(ok);
    expect(await submit({ scripts_running_limit: 3 })).toEqual(ok);
    const refused = await scheduler.submit({ scripts_running_limit: 3 });
    expect([refused.status, refused.text, refused.headers['content-type']]).toEqual([
      ...tooMany,
      'text/html; charset=utf-8',
    ]);
    expect(asked()).toEqual([]);
  });

  it('does not exist when it is -1 or absent, and nobody is asked', async () => {
    await scheduler.finished({ scripts_running_limit: 1 });
    for (const part of [{}, { scripts_running_limit: -1 }, { scripts_running_limit: '-1' }]) {
      expect(await submit(part)).toEqual(ok);
    }
    expect(asked()).toEqual([]);
  });

  it.each([0, null, '0'])('of %j is asked of the host application', async (scripts_running_limit) => {
    scheduler.host.runningLimit = 1;
    expect(await submit({ scripts_running_limit })).toEqual(ok);
    expect(await submit({ scripts_running_limit })).toEqual(tooMany);
    expect(await submit({ scripts_running_limit, org_id: 7 })).toEqual(ok);
    expect(await submit({ scripts_running_limit, org_id: 7 })).toEqual(tooMany);
    // Once each: the answer is remembered for some seconds.
    expect(asked()).toEqual([`${limitPath}?username=alice%40example.com`, `${limitPath}?org_id=7`]);
    expect(scheduler.host.requests[0]?.headers.authorization).toMatch(/^Token /);
  });

  it('that the host application calls -1 is none, 0 lets nothing run', async () => {
    for (let index = 0; index < 3; index += 1) expect(await submit({ scripts_running_limit: 0 })).toEqual(ok);
    scheduler.host.runningLimit = 0;
    expect(await submit({ scripts_running_limit: 0, owner: 'bob' })).toEqual(tooMany);
  });

  it('does not hold for a group without an organisation, and nobody is asked', async () => {
    const owner = 'team@seafile_group';
    for (let index = 0; index < 3; index += 1) {
      expect(await submit({ owner, scripts_running_limit: 1 })).toEqual(ok);
      expect(await submit({ owner, scripts_running_limit: 0 })).toEqual(ok);
    }
    expect(asked()).toEqual([]);
  });

  it.each([
    ['answers 500', 500, 'oops'],
    ['knows no such address', 404, '{}'],
    ['says nothing', 200, '{}'],
    ['says nonsense', 200, '{"scripts_running_limit":"many"}'],
  ])('is 503 and nothing is recorded while the host application %s', async (_what, status, body) => {
    scheduler.host.at(limitPath, (_request, response) => {
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
    });
    const answer = await scheduler.submit({ scripts_running_limit: 0 });
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '5']);
    expect(answer.text).toContain('limit');
    expect(await scheduler.store.countByState()).toEqual({ queued: 0, starting: 0, running: 0 });
    // A failure is not remembered.
    scheduler.host.at(limitPath, (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' }).end('{"scripts_running_limit":5}');
    });
    expect(await submit({ scripts_running_limit: 0 })).toEqual(ok);
  });

  it('is 503 while the host application is away', async () => {
    await scheduler.host.close();
    expect((await scheduler.submit({ scripts_running_limit: 0 })).status).toBe(503);
    expect(await submit({ scripts_running_limit: 5 })).toEqual(ok);
  });

  it('is not exceeded by a burst', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => submit({ scripts_running_limit: 4 })));
    expect(answers.filter(([status]) => status === 200)).toHaveLength(4);
    expect(answers.filter(([status]) => status === 400)).toHaveLength(16);
  });
});

describe('the news that a limit was exceeded', () => {
  it('reaches the host application once for each user and organisation', async () => {
    scheduler.host.runningLimit = 0;
    for (let index = 0; index < 3; index += 1) {
      await submit({ scripts_running_limit: 0 });
      await submit({ scripts_running_limit: 0, org_id: 7 });
      await submit({ scripts_running_limit: 0, org_id: 8 });
    }
    const told = () => {
      const owners = news().flatMap((each) => (each.owners ?? []) as string[]);
      const orgIds = news().flatMap((each) => (each.org_ids ?? []) as number[]);
      return { owners, orgIds: orgIds.sort() };
    };
    const all = { owners: ['alice@example.com'], orgIds: [7, 8] };
    await eventually(() => expect(told()).toEqual(all) === undefined);
    await submit({ scripts_running_limit: 0, org_id: 7 });
    await submit({ scripts_running_limit: 0, owner: 'bob' });
    await eventually(() => told().owners.includes('bob'));
    expect(told()).toEqual({ ...all, owners: ['alice@example.com', 'bob'] });
  });

  it('is repeated until the host application takes it', async () => {
    let isUp = false;
    let calls = 0;
    scheduler.host.runningLimit = 0;
    scheduler.host.at(newsPath, (_request, response) => {
      calls += 1;
      response.writeHead(isUp ? 200 : 502).end();
    });
    await submit({ scripts_running_limit: 0 });
    await eventually(() => calls === 1);
    isUp = true;
    scheduler.now = new Date(scheduler.now.getTime() + 61_000);
    // Anybody's refusal wakes the loop; the news that failed goes along.
    await eventually(async () => {
      await submit({ scripts_running_limit: 0, owner: 'bob' });
      return calls > 1;
    });
    await eventually(async () => (await scheduler.store.claimExceeded({ retryMs: 0 })).length === 0);
  });

  it('is not repeated to a host application that does not want it', async () => {
    let calls = 0;
    scheduler.host.runningLimit = 0;
    scheduler.host.at(newsPath, (_request, response) => {
      calls += 1;
      response.writeHead(404).end();
    });
    await submit({ scripts_running_limit: 0 });
    await eventually(() => calls === 1);
    scheduler.now = new Date(scheduler.now.getTime() + 61_000);
    await eventually(async () => (await scheduler.store.claimExceeded({ retryMs: 0 })).length === 0);
    expect(calls).toBe(1);
  });
});
