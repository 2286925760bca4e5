import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, freshMariaDb, type TestMariaDb } from '@stadion/testkit';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { unfinishedSentence } from '../history-import/translate-log.js';
import { openMariaDb } from './connect.js';
import type { Store } from './store.js';

// The built command itself, in a process of its own: only that can really be killed.
const command = join(process.cwd(), 'services/scheduler/dist/import-history-main.js');

let original: TestMariaDb;
let own: TestMariaDb;
let source: Connection;
let target: Connection;
let store: Store;

beforeAll(() => {
  if (!existsSync(command)) throw new Error('Run `npm run build` first: this test starts the built command.');
});
beforeEach(async () => {
  original = await freshMariaDb();
  own = await freshMariaDb();
  source = await createConnection({ ...login(original), charset: 'utf8mb4' });
  target = await createConnection({ ...login(own), charset: 'utf8mb4' });
  store = openMariaDb({ ...login(own), pool: 4, timeZone: 'Europe/Berlin' });
  await store.migrate();
});
afterEach(async () => {
  await store.close();
  await Promise.all([source.end(), target.end()]);
  await Promise.all([original.drop(), own.drop()]);
});

function login({ host, port, user, password, database }: TestMariaDb) {
  return { host, port, user, password, database };
}

function environment(): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    STADION_DATABASE_HOST: own.host,
    STADION_DATABASE_PORT: String(own.port),
    STADION_DATABASE_USER: own.user,
    STADION_DATABASE_PASSWORD: own.password,
    STADION_DATABASE_NAME: own.database,
    STADION_TIME_ZONE: 'Europe/Berlin',
    STADION_KEEP_TASKS: '3650',
    STADION_ORIGINAL_DATABASE_HOST: original.host,
    STADION_ORIGINAL_DATABASE_PORT: String(original.port),
    STADION_ORIGINAL_DATABASE_USER: original.user,
    STADION_ORIGINAL_DATABASE_PASSWORD: original.password,
    STADION_ORIGINAL_DATABASE_NAME: original.database,
    STADION_ORIGINAL_TIME_ZONE: 'Europe/Berlin',
  };
}

function startImport(env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [command], { env: { ...environment(), ...env } });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<{ code: number | null; output: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, output })),
  );
  return { child, ended };
}
const runImport = (env: Record<string, string> = {}) => startImport(env).ended;

async function rowsOf<Row>(connection: Connection, sql: string, values: unknown[] = []): Promise<Row[]> {
  const [rows] = await connection.query<RowDataPacket[]>(sql, values);
  return rows as Row[];
}

async function makeOriginal({ version = 2 }: { version?: 1 | 2 } = {}): Promise<void> {
  await source.query(`CREATE TABLE script_log (
    id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, dtable_uuid VARCHAR(36) NOT NULL, owner VARCHAR(255) NOT NULL,
    org_id INT NULL, script_name VARCHAR(255) NOT NULL, context_data LONGTEXT NULL, started_at DATETIME(6) NULL,
    finished_at DATETIME(6) NULL, success TINYINT(1) NULL, return_code INT NULL, output LONGTEXT NULL,
    operate_from VARCHAR(255) NULL
    ${version === 2 ? ', created_at DATETIME(6) NULL, state VARCHAR(10) NULL' : ''}
  ) CHARACTER SET utf8mb4`);
  for (const [table, subject] of [
    ['dtable_run_script_statistics', 'dtable_uuid VARCHAR(36)'],
    ['org_run_script_statistics', 'org_id INT'],
    ['user_run_script_statistics', 'username VARCHAR(255)'],
  ]) {
    await source.query(`CREATE TABLE ${table} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, ${subject} NOT NULL,
      run_date DATE NOT NULL, total_run_count INT NOT NULL, total_run_time INT NOT NULL, update_at DATETIME(6) NULL
    ) CHARACTER SET utf8mb4`);
  }
}

const bases = [1, 2, 3].map((n) => `5c264e76-0e5a-448a-9f34-58055136400${n}`);
const owners = ['alice@example.com', 'bob@example.com', 'grüße@example.com', '1234@seafile_group'];

/** A few thousand runs of October and November, some of them odd; ids have gaps. */
async function fillOriginal(count: number): Promise<number[]> {
  const ids: number[] = [];
  const rows: unknown[][] = [];
  for (let n = 0; n < count; n += 1) {
    const id = 100 + n * 2 + (n % 3 === 0 ? 1 : 0);
    const day = `2026-${n % 2 ? '10' : '11'}-${String(1 + (n % 20)).padStart(2, '0')}`;
    const time = `${String(n % 24).padStart(2, '0')}:${String(n % 60).padStart(2, '0')}`;
    const kind = n % 17;
    const unfinished = kind === 3;
    const failed = kind === 5;
    ids.push(id);
    rows.push([
      id,
      bases[n % 3],
      owners[n % 4],
      n % 4 === 0 ? 7 : n % 4 === 1 ? 8 : kind === 7 ? null : -1,
      kind === 9 ? 'Übung ✓.py' : 'hello.py',
      kind === 2 ? null : JSON.stringify({ n, name: '😀' }),
      `${day} ${time}:01.500000`,
      unfinished ? null : `${day} ${time}:03.750000`,
      unfinished ? null : failed ? 0 : 1,
      unfinished ? null : failed ? 3 : 0,
      unfinished ? null : kind === 11 ? '😀 emoji\n' : `run ${n}\n`,
      n % 5 === 0 ? 'automation-rule' : 'manualy',
      kind === 13 ? null : `${day} ${time}:00.000000`,
      unfinished ? 'running' : 'finished',
    ]);
  }
  for (let at = 0; at < rows.length; at += 500) {
    await source.query(
      'INSERT INTO script_log (id, dtable_uuid, owner, org_id, script_name, context_data, started_at, finished_at, success, return_code, output, operate_from, created_at, state) VALUES ?',
      [rows.slice(at, at + 500)],
    );
  }
  return ids;
}

/** As the original counts: not what the logs say, because some are gone and some were never counted. */
async function countOriginal(): Promise<void> {
  const parts = `DATE(finished_at), COUNT(*) + 2, FLOOR(SUM(TIMESTAMPDIFF(MICROSECOND, started_at, finished_at)) / 1000000) + 1, NOW()
    FROM script_log WHERE finished_at IS NOT NULL`;
  await source.query(
    `INSERT INTO dtable_run_script_statistics (dtable_uuid, run_date, total_run_count, total_run_time, update_at)
     SELECT dtable_uuid, ${parts} GROUP BY dtable_uuid, DATE(finished_at)`,
  );
  await source.query(
    `INSERT INTO org_run_script_statistics (org_id, run_date, total_run_count, total_run_time, update_at)
     SELECT org_id, ${parts} AND org_id > 0 GROUP BY org_id, DATE(finished_at)`,
  );
  await source.query(
    `INSERT INTO user_run_script_statistics (username, run_date, total_run_count, total_run_time, update_at)
     SELECT owner, ${parts} AND org_id = -1 AND owner NOT LIKE '%@seafile_group%' GROUP BY owner, DATE(finished_at)`,
  );
  // Its logs are gone, its counts are not.
  await source.query(
    `INSERT INTO user_run_script_statistics (username, run_date, total_run_count, total_run_time, update_at)
     VALUES ('carol@example.com', '2026-10-03', 41, 1000, NOW())`,
  );
}

async function expectMonthsToAgree(): Promise<void> {
  for (const month of ['2026-10', '2026-11']) {
    for (const [by, table, subject] of [
      ['user', 'user_run_script_statistics', 'username'],
      ['org', 'org_run_script_statistics', 'org_id'],
      ['base', 'dtable_run_script_statistics', 'dtable_uuid'],
    ] as const) {
      const theirs = await rowsOf<{ subject: string | number; runs: string; seconds: string }>(
        source,
        `SELECT ${subject} AS subject, SUM(total_run_count) AS runs, SUM(total_run_time) AS seconds FROM ${table}
         WHERE DATE_FORMAT(run_date, '%Y-%m') = ? GROUP BY ${subject}`,
        [month],
      );
      const ours = await store.monthlyTotals({
        by,
        month,
        orderBy: 'count',
        descending: true,
        offset: 0,
        limit: 100,
      });
      const plain = (items: { of: unknown; runs: number; seconds: number }[]) =>
        items.sort((a, b) => (String(a.of) < String(b.of) ? -1 : 1));
      expect(
        plain(
          ours.items.map((item) => ({ of: item.of, runs: item.chargedCount, seconds: item.runTimeUs / 1e6 })),
        ),
      ).toEqual(
        plain(
          theirs.map((row) => ({ of: row.subject, runs: Number(row.runs), seconds: Number(row.seconds) })),
        ),
      );
      expect(ours.count).toBe(theirs.length);
      for (const row of theirs) {
        if (by === 'base') continue;
        const payer = by === 'org' ? { orgId: Number(row.subject) } : { owner: String(row.subject) };
        expect(await store.countChargedRuns(payer, month)).toBe(Number(row.runs));
      }
    }
  }
}

test('killed again and again, it copies everything once, and the months agree with the original', async () => {
  await makeOriginal();
  const ids = await fillOriginal(3_000);
  const huge = 'ü'.repeat(1_000_000);
  await source.query('UPDATE script_log SET output = ? WHERE id = ?', [huge, ids[40]]);
  await source.query("UPDATE script_log SET context_data = '{broken' WHERE id = ?", [ids[41]]);
  await countOriginal();

  const copied = async () => {
    const [row] = await rowsOf<{ copied: number }>(
      target,
      "SELECT copied FROM information_schema.tables JOIN history_import WHERE table_schema = ? AND table_name = 'history_import'",
      [own.database],
    ).catch(() => []);
    return row?.copied ?? 0;
  };
  let before = 0;
  for (let kills = 0; kills < 3; kills += 1) {
    const { child, ended } = startImport();
    const atLeast = before + 1;
    await eventually(async () => (await copied()) >= atLeast, { timeoutMs: 30_000, everyMs: 3 });
    child.kill('SIGKILL');
    expect((await ended).code).toBeNull();
    before = await copied();
    expect(before).toBeLessThan(3_000);
    // A whole number of batches, statistics and all.
    const [tasks] = await rowsOf<{ n: number }>(target, 'SELECT COUNT(*) AS n FROM tasks');
    const [counted] = await rowsOf<{ n: string }>(target, 'SELECT SUM(run_count) AS n FROM run_statistics');
    expect([tasks!.n, Number(counted!.n)]).toEqual([before, before]);
  }
  const { code, output } = await runImport();
  expect(output).toMatch(/Going on behind run \d+; \d+ are here already/);
  expect(output).toMatch(/Verified: 3000 runs there, 3000 copied, 3000 of those ids are here/);
  expect(output).toMatch(/Verified: the users' statistics/);
  expect(output).not.toMatch(/NOT AS IT SHOULD BE/);
  expect(code).toBe(0);

  // Ids, moments and texts.
  const there = (await rowsOf<{ id: number }>(target, 'SELECT id FROM tasks ORDER BY id')).map(
    ({ id }) => id,
  );
  expect(there).toEqual([...ids].sort((a, b) => a - b));
  expect(await store.getTask(ids[11]!)).toMatchObject({
    state: 'succeeded',
    output: '😀 emoji\n',
    context: { n: 11, name: '😀' },
    createdAt: new Date('2026-10-12T09:11:00Z'),
    startedAt: new Date('2026-10-12T09:11:01.500Z'),
  });
  expect(await store.getTask(ids[3]!)).toMatchObject({ state: 'lost', output: unfinishedSentence });
  expect(await store.getTask(ids[5]!)).toMatchObject({
    state: 'failed',
    returnCode: 3,
    trigger: 'automation-rule',
  });
  expect((await store.getTask(ids[40]!))?.output).toBe(huge);
  expect((await store.getTask(ids[41]!))?.context).toBe('{broken');
  expect((await store.getTask(ids[13]!))?.createdAt).toEqual((await store.getTask(ids[13]!))?.startedAt);

  await expectMonthsToAgree();
  const totals = await store.runTotals({ by: 'base', orgId: 7, offset: 0, limit: 10 });
  const [logged] = await rowsOf<{ n: number }>(
    source,
    'SELECT COUNT(*) AS n FROM script_log WHERE org_id = 7',
  );
  expect(totals.items.reduce((sum, { runCount }) => sum + runCount, 0)).toBe(logged!.n);
  expect(totals.items.map(({ of }) => of).sort()).toEqual(bases);
  const kept = { keepTasksDays: 3650, keepStatisticsDays: 3650 };
  expect((await store.findStatisticsDifferences(kept)).differences).toEqual([]);

  // What comes next has the next id, and is not mistaken for anything imported.
  const next = await store.submitTask({
    owner: 'a',
    orgId: null,
    baseUuid: 'b',
    scriptName: 's',
    trigger: 'manualy',
  });
  expect(next).toBeGreaterThan(Math.max(...ids));

  // Never twice.
  const again = await runImport();
  expect(again.code).toBe(2);
  expect(again.output).toMatch(/imported already; it is never imported twice/);
  await expectMonthsToAgree();
}, 120_000);

test('an id that is taken here keeps its run; the imported one gets another', async () => {
  await makeOriginal();
  await fillOriginal(20);
  await countOriginal();
  await target.query('ALTER TABLE tasks AUTO_INCREMENT = 101');
  const mine = await store.submitTask({
    owner: 'me',
    orgId: null,
    baseUuid: 'b',
    scriptName: 's',
    trigger: 'manualy',
  });
  expect(mine).toBe(101);
  const { code, output } = await runImport();
  expect(output).toMatch(/1 have a new id, because theirs was taken here/);
  expect(code).toBe(0);
  expect(await store.getTask(101)).toMatchObject({ owner: 'me', state: 'queued' });
  const [moved] = await rowsOf<{ id: number; output: string }>(
    target,
    "SELECT id, output FROM tasks JOIN task_outputs ON task_id = id WHERE output = 'run 0\\n'",
  );
  expect(moved!.id).toBeGreaterThan(138);
  await expectMonthsToAgree();
});

test('a database of version 1, without statistics of users, is imported as far as it goes', async () => {
  await makeOriginal({ version: 1 });
  await source.query('DROP TABLE user_run_script_statistics');
  await source.query(
    "INSERT INTO script_log (id, dtable_uuid, owner, org_id, script_name, started_at, finished_at, success, return_code, output) VALUES (9, 'b', 'alice', -1, 's', '2026-11-01 10:00:00', '2026-11-01 10:00:02', 1, 0, 'x')",
  );
  const { code, output } = await runImport();
  expect(output).toMatch(/no users' statistics there/);
  expect(code).toBe(0);
  expect(await store.countChargedRuns({ owner: 'alice' }, '2026-11')).toBe(1);
  expect(await store.getTask(9)).toMatchObject({ trigger: 'manualy', output: 'x', orgId: null });
});

test('what cannot be done is said in a sentence, and nothing is written', async () => {
  const noTable = await runImport();
  expect(noTable).toMatchObject({ code: 2 });
  expect(noTable.output).toMatch(/no table script_log/);
  const noZone = await runImport({ STADION_ORIGINAL_TIME_ZONE: '', STADION_ORIGINAL_DATABASE_USER: '' });
  expect(noZone.code).toBe(2);
  expect(noZone.output).toMatch(/STADION_ORIGINAL_TIME_ZONE is required/);
  expect(noZone.output).toMatch(/STADION_ORIGINAL_DATABASE_USER is required/);
  await makeOriginal();
  await fillOriginal(5);
  await target.query(
    "INSERT INTO run_statistics (day, org_id, owner, base_uuid, run_count, charged_count, success_count, manual_count, automation_count, total_run_time_us) VALUES ('2026-10-01', -1, 'x', '', 0, 1, 0, 0, 0, 1)",
  );
  const overwriting = await runImport();
  expect(overwriting).toMatchObject({ code: 2 });
  expect(overwriting.output).toMatch(/has imported statistics already/);
  expect(await rowsOf(target, 'SELECT id FROM tasks')).toEqual([]);
});

test('an import that was begun from one database is not gone on with from another', async () => {
  await makeOriginal();
  await fillOriginal(5);
  await countOriginal();
  expect((await runImport()).code).toBe(0);
  await target.query("UPDATE history_import SET state = 'copying', source = 'elsewhere:3306/other'");
  const other = await runImport();
  expect(other.code).toBe(2);
  expect(other.output).toMatch(/An import from elsewhere:3306\/other was begun and not ended/);
});
