import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { freshMariaDb, type TestMariaDb } from '@stadion/testkit';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { selectQueues } from './claim.js';
import { openMariaDb, type MariaDbSettings } from './connect.js';
import type { Clock } from './dialect.js';
import { StoreUnavailableError, UnsupportedDatabaseError } from './errors.js';
import { refuseUnsupported } from './mariadb-client.js';
import { selectRunsOfScript } from './history.js';
import { describeHistoryContract } from './history-contract.js';
import { describeStoreContract, type StoreHarness } from './store-contract.js';

// A setting of the project alone is not heeded by jest.
jest.setTimeout(60_000);

const settingsOf = ({ drop: _drop, execute: _execute, ...server }: TestMariaDb): MariaDbSettings => ({
  ...server,
  pool: 10,
});
const task = { owner: 'alice', orgId: null, baseUuid: 'b', scriptName: 's', trigger: 'manualy' };
const live = { limit: 100, liveWithinMs: 60_000 };
const status = {
  starter_id: '0192f0c1-2f5d-4c7e-9d0b-3f8a4f0c1d2e',
  version: '1',
  executor: 'docker',
  isolation: 'container',
  url: 'http://starter',
  slots: 64,
  busy: 0,
  draining: false,
  attempts: [],
} as const;
const report = { ...status, attempts: [...status.attempts] };

const openHarness = async (now: Clock): Promise<StoreHarness> => {
  const database = await freshMariaDb();
  const settings = settingsOf(database);
  const replicas: [ReturnType<typeof openMariaDb>, ReturnType<typeof openMariaDb>] = [
    openMariaDb({ ...settings, now }),
    openMariaDb({ ...settings, now }),
  ];
  await replicas[0].migrate();
  const peek = await createConnection({ ...peekable(settings) });
  return {
    replicas,
    openWithoutClock: () => Promise.resolve(openMariaDb(settings)),
    openIn: (timeZone) => Promise.resolve(openMariaDb({ ...settings, now, timeZone })),
    query: (sql) => rowsOf(peek, sql),
    async plantFailure(event, table, when) {
      await peek.query(
        `CREATE TRIGGER planted BEFORE ${event} ON ${table} FOR EACH ROW IF ${when} THEN ` +
          `SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'planted failure'; END IF`,
      );
    },
    async close() {
      await peek.end();
      await Promise.all(replicas.map((replica) => replica.close()));
      await database.drop();
    },
  };
};
describeStoreContract('MariaDB', openHarness);
describeHistoryContract('MariaDB', openHarness);

function peekable({ host, port, user, password, database }: MariaDbSettings) {
  return { host, port, user, password, database, charset: 'utf8mb4', dateStrings: true };
}

async function rowsOf(connection: Connection, sql: string): Promise<Record<string, unknown>[]> {
  const [rows] = await connection.query<RowDataPacket[]>(sql);
  return Array.isArray(rows) ? rows : [];
}

describe('MariaDB', () => {
  let database: TestMariaDb;
  let settings: MariaDbSettings;
  let peek: Connection;
  const closing: (() => unknown)[] = [];

  beforeEach(async () => {
    database = await freshMariaDb();
    settings = settingsOf(database);
    peek = await createConnection(peekable(settings));
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await peek.end();
    await database.drop();
  });

  function open(part: Partial<MariaDbSettings> = {}) {
    const store = openMariaDb({ ...settings, ...part });
    closing.push(() => store.close());
    return store;
  }

  async function openThrough(proxy: Awaited<ReturnType<typeof startProxy>>) {
    const store = open({ port: proxy.port });
    await store.migrate();
    return store;
  }

  describe('migrations', () => {
    test('replicas that start together take turns', async () => {
      const stores = Array.from({ length: 4 }, () => open());
      await Promise.all(stores.map((store) => store.migrate()));
      const applied = await rowsOf(peek, 'SELECT name FROM schema_migrations');
      expect(new Set(applied.map((row) => row.name)).size).toBe(applied.length);
      expect(await stores[0]?.submitTask(task)).toBe(1);
    });

    test('a replica killed half way leaves nothing that blocks the next', async () => {
      await open().migrate();
      await peek.query('UPDATE schema_migrations_lock SET is_locked = 1');
      await peek.query('DELETE FROM schema_migrations');
      await peek.query('DROP INDEX tasks_by_end ON tasks');
      await peek.query('DROP TABLE starters');
      const store = open();
      await store.migrate();
      expect(await store.listStarters()).toEqual([]);
      expect(await rowsOf(peek, "SHOW INDEX FROM tasks WHERE Key_name = 'tasks_by_end'")).toHaveLength(1);
    });

    test('tables compare byte by byte whatever the database was created with', async () => {
      await open().migrate();
      const collations = await rowsOf(
        peek,
        `SELECT DISTINCT COLLATION_NAME AS name FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()
         AND COLLATION_NAME IS NOT NULL AND TABLE_NAME NOT LIKE 'schema%'`,
      );
      expect(collations).toEqual([{ name: 'utf8mb4_nopad_bin' }]);
    });

    test.each([
      ['8.0.36', /not MariaDB/],
      ['10.5.27-MariaDB', /10\.6 or newer.*upgrade/],
      ['5.5.5-10.3.9-MariaDB-log', /upgrade/],
      ['', /not MariaDB/],
    ])('a server that calls itself "%s" is refused with the reason', (version, reason) => {
      expect(() => refuseUnsupported(version)).toThrow(UnsupportedDatabaseError);
      expect(() => refuseUnsupported(version)).toThrow(reason);
    });

    test.each(['10.6.0-MariaDB', '5.5.5-10.11.8-MariaDB-1', '11.4.2-MariaDB-ubu2404', '12.0.1-MariaDB'])(
      'a server that calls itself "%s" is fine',
      (version) => expect(() => refuseUnsupported(version)).not.toThrow(),
    );
  });

  describe('when the database goes away', () => {
    test('R15: after a restart no stale pooled connection shows: the next requests succeed', async () => {
      const proxy = await startProxy(settings, closing);
      const store = await openThrough(proxy);
      await store.recordStarter(report, { configured: false });
      await Promise.all(Array.from({ length: 8 }, () => store.submitTask(task)));
      const [first, second, third] = await store.claimForStarters(live);
      await Promise.all(Array.from({ length: 8 }, () => store.getTask(1)));
      proxy.cut();
      // Without waiting until the pool has noticed.
      const finished = store.finishAttempt({
        taskId: first?.task.id ?? 0,
        attemptId: first?.attemptId ?? '',
        state: 'succeeded',
        returnCode: 0,
        output: 'x',
        cause: 'exit',
        spendTimeS: 1,
        startedAt: null,
      });
      const reads = Array.from({ length: 8 }, (_, index) => store.getTask(index + 1));
      expect(await finished).toBe('moved');
      expect((await Promise.all(reads)).map((each) => each?.id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
      proxy.cut();
      await settle();
      expect(await store.submitTask(task)).toBeGreaterThan(8);
      expect(await store.beginAttempt(second?.task.id ?? 0, second?.attemptId ?? '', null)).toBe('moved');
      // And once more when the server itself ends the connections.
      for (const row of await rowsOf(
        peek,
        `SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()`,
      )) {
        await peek.query(`KILL ${Number(row.ID)}`).catch(() => undefined);
      }
      await settle();
      expect(await store.releaseAttempt(third?.task.id ?? 0, third?.attemptId ?? '')).toBe('moved');
    });

    test('R15: connections that died without a word are replaced before a request sees them', async () => {
      const proxy = await startProxy(settings, closing);
      const store = await openThrough(proxy);
      await store.submitTask(task);
      await new Promise((resolve) => setTimeout(resolve, 600)); // idle long enough to be asked
      proxy.muteExisting();
      const began = Date.now();
      expect(await store.submitTask(task)).toBe(2);
      expect(Date.now() - began).toBeLessThan(2500);
    });

    test('a database that is not there costs a request less than four seconds', async () => {
      const proxy = await startProxy(settings, closing);
      const store = await openThrough(proxy);
      await proxy.refuse();
      for (const work of [
        () => store.submitTask(task),
        () => store.getTask(1),
        () => store.claimForStarters(live),
        () => store.ping(),
      ]) {
        const began = Date.now();
        await expect(work()).rejects.toThrow(StoreUnavailableError);
        expect(Date.now() - began).toBeLessThan(4000);
      }
    });

    test('a database that is stalled costs a request less than four seconds, and then works again', async () => {
      const proxy = await startProxy(settings, closing);
      const store = await openThrough(proxy);
      await Promise.all(Array.from({ length: 5 }, () => store.submitTask(task)));
      proxy.stall();
      const began = Date.now();
      const works = Array.from({ length: 20 }, (_, index): Promise<unknown> => {
        if (index % 3 === 0) return store.submitTask(task);
        return index % 3 === 1 ? store.getTask(1) : store.claimForStarters(live);
      });
      const outcomes = await Promise.allSettled(works);
      expect(Date.now() - began).toBeLessThan(4000);
      for (const outcome of outcomes) {
        expect(outcome.status === 'rejected' && outcome.reason).toBeInstanceOf(StoreUnavailableError);
      }
      proxy.go();
      expect(await store.submitTask(task)).toBeGreaterThan(5);
    });

    test('a row locked for too long by somebody else is "try again later", and nothing is half done', async () => {
      const store = open();
      await store.migrate();
      const id = await store.submitTask(task);
      await peek.query('START TRANSACTION');
      await peek.query(`SELECT * FROM tasks WHERE id = ${id} FOR UPDATE`);
      const refusal = { taskId: id, output: 'Failed', returnCode: -1, cause: 'script_unavailable' } as const;
      const began = Date.now();
      await expect(store.refuseTask(refusal)).rejects.toThrow(StoreUnavailableError);
      expect(Date.now() - began).toBeLessThan(4000);
      await peek.query('ROLLBACK');
      expect(await store.refuseTask(refusal)).toBe('moved');
    });

    test('a wrong password is the operator\'s to see, not "try again later"', async () => {
      const error: unknown = await open({ password: 'wrong' })
        .ping()
        .catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'ER_ACCESS_DENIED_ERROR' });
    });
  });

  describe('with much to do', () => {
    test('10,000 queued tasks of 100 owners are claimed by reading index entries, among 50,000 old ones', async () => {
      const store = open();
      await store.migrate();
      await store.recordStarter(report, { configured: false });
      await peek.query(
        `INSERT INTO tasks (type, state, priority, fair_key, owner, base_uuid, script_name, triggered_by, created_at, finished_at, attempt_number)
         SELECT 'script', IF(seq <= 50000, 'succeeded', 'queued'), 0, CONCAT('owner:', seq % 100), seq % 100, 'b', 's', 'manualy', NOW(6), IF(seq <= 50000, NOW(6), NULL), 0
         FROM seq_1_to_60000`,
      );
      await peek.query('ANALYZE TABLE tasks');
      const began = Date.now();
      const claims = await store.claimForStarters(live);
      const tookMs = Date.now() - began;
      expect(claims).toHaveLength(64);
      expect(new Set(claims.map((claim) => claim.task.owner)).size).toBe(64);
      expect(tookMs).toBeLessThan(1000);
      for (const sql of [
        selectQueues,
        `SELECT id, priority, fair_key FROM tasks WHERE state = 'queued' AND priority = 0 AND fair_key = 'owner:1' ORDER BY id LIMIT 64`,
        `SELECT starter_id, fair_key, COUNT(*) FROM tasks WHERE state IN ('starting', 'running') GROUP BY starter_id, fair_key`,
        `SELECT state, COUNT(*) FROM tasks WHERE state IN ('queued', 'starting', 'running') GROUP BY state`,
      ]) {
        const [plan] = await rowsOf(peek, `EXPLAIN ${sql}`);
        expect({ sql, key: plan?.key }).toEqual({ sql, key: 'tasks_by_turn' });
      }
      const [hop] = await rowsOf(peek, `EXPLAIN ${selectQueues}`);
      expect(hop?.Extra).toContain('Using index for group-by');
    });

    test('logs, lists, counts and limits read index entries, among 100,000 ended runs', async () => {
      const store = open();
      await store.migrate();
      const bases = ['5c264e76-0e5a-448a-9f34-580b551364ca', '5c264e760e5a448a9f34580b551364ca'];
      // Half of them are one script's, so that it would pay to read the whole table rather than that many rows.
      await peek.query(
        `INSERT INTO tasks (type, state, priority, fair_key, owner, org_id, base_uuid, script_name, triggered_by, created_at, finished_at, attempt_number, counted_on, run_time_us)
         SELECT 'script', 'succeeded', 0, CONCAT('org:', seq % 100), seq % 100, seq % 100, IF(seq % 2, '${bases[0]}', CONCAT('b', seq % 1000)), 'hello.py', 'manualy',
           NOW(6) - INTERVAL seq SECOND, NOW(6), 0, '2026-11-21', 1000
         FROM seq_1_to_100000`,
      );
      await peek.query(
        `INSERT INTO run_statistics (day, org_id, owner, base_uuid, run_count, charged_count, success_count, manual_count, automation_count, total_run_time_us)
         SELECT CONCAT('2026-11-', LPAD(1 + seq % 30, 2, '0')), IF(seq % 2, -1, seq % 100), CONCAT('user-', seq), CONCAT('b', seq % 1000), 1, 1, 1, 1, 0, 1000
         FROM seq_1_to_50000`,
      );
      await peek.query('ANALYZE TABLE tasks, run_statistics');
      const { sql, values } = selectRunsOfScript(
        bases,
        { scriptName: 'hello.py', newestFirst: true },
        { offset: 40, limit: 20 },
      );
      const plans = await rowsOf(peek, `EXPLAIN ${peek.format(sql, values)}`);
      const onTasks = plans.filter((row) => row.table === 'tasks');
      expect(onTasks).toHaveLength(2);
      for (const row of onTasks) {
        expect(row).toMatchObject({ key: 'tasks_by_script', Extra: expect.stringContaining('Using index') });
        expect(row.Extra).not.toContain('filesort');
      }
      for (const [query, table, key] of [
        [
          `SELECT COUNT(*) FROM tasks WHERE base_uuid IN ('${bases.join("','")}') AND script_name = 'hello.py'`,
          'tasks',
          'tasks_by_script',
        ],
        [`SELECT id FROM tasks ORDER BY created_at DESC, id DESC LIMIT 100`, 'tasks', 'tasks_by_creation'],
        [
          `SELECT id FROM tasks WHERE org_id = 7 ORDER BY created_at DESC, id DESC LIMIT 100`,
          'tasks',
          'tasks_by_org',
        ],
        [
          `SELECT COUNT(*) FROM tasks WHERE fair_key = 'org:7' AND state IN ('queued', 'starting', 'running')`,
          'tasks',
          'tasks_by_payer',
        ],
        [
          `SELECT SUM(charged_count) FROM run_statistics WHERE org_id = -1 AND owner = 'user-1' AND day BETWEEN '2026-11-01' AND '2026-11-31'`,
          'run_statistics',
          'statistics_by_owner',
        ],
        [
          `SELECT SUM(charged_count) FROM run_statistics WHERE org_id = 8 AND day BETWEEN '2026-11-01' AND '2026-11-31'`,
          'run_statistics',
          expect.stringMatching(/^statistics_by_/),
        ],
      ] as const) {
        const [plan] = await rowsOf(peek, `EXPLAIN ${query}`);
        expect({ query, table: plan?.table, key: plan?.key }).toEqual({ query, table, key });
        expect(plan?.Extra ?? '').not.toContain('filesort');
      }
      const began = Date.now();
      const { count, items } = await store.listRunsOfScript(
        { baseUuid: bases[0] as string, scriptName: 'hello.py', newestFirst: true },
        { offset: 0, limit: 20 },
      );
      expect([count, items.length]).toEqual([50_000, 20]);
      expect(Date.now() - began).toBeLessThan(2000);
    });
  });
});

/** Long enough for a closed socket to be noticed, too short for a connection to count as idle. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 50));
}

/** Stands between a store and MariaDB, and breaks in the ways that networks and servers do. */
async function startProxy({ host, port }: MariaDbSettings, closing: (() => unknown)[]) {
  const pairs = new Set<[Socket, Socket]>();
  let stalled = false;
  const server = createServer((client) => {
    const upstream = connect(port, host);
    const pair: [Socket, Socket] = [client, upstream];
    pairs.add(pair);
    for (const socket of pair) {
      socket.on('error', () => undefined);
      socket.on('close', () => {
        for (const each of pair) each.destroy();
        pairs.delete(pair);
      });
    }
    const pass = (from: Socket, to: Socket) => {
      from.on('data', (bytes) => {
        to.write(bytes);
      });
      if (stalled) from.pause();
    };
    pass(client, upstream);
    pass(upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
  };
  const refuse = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    cut();
    await closed;
  };
  closing.push(() => (server.listening ? refuse() : undefined));
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    refuse,
    /** Connections there are get no answer any more, and no end either; new ones work. */
    muteExisting() {
      for (const pair of pairs) for (const socket of pair) socket.removeAllListeners('data').resume();
    },
    stall() {
      stalled = true;
      for (const pair of pairs) for (const socket of pair) socket.pause();
    },
    go() {
      stalled = false;
      for (const pair of pairs) for (const socket of pair) socket.resume();
    },
  };
}
