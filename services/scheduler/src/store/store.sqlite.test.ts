import { freshSqlite } from '@stadion/testkit';
import Libsql from 'libsql';
import { openSqlite } from './connect.js';
import type { Clock } from './dialect.js';
import { describeHistoryContract } from './history-contract.js';
import { describeStoreContract, type StoreHarness } from './store-contract.js';

const openHarness = async (now: Clock): Promise<StoreHarness> => {
  const { file, remove } = await freshSqlite();
  const store = openSqlite({ file, now });
  await store.migrate();
  const peek = new Libsql(file);
  return {
    replicas: [store, store],
    openWithoutClock: () => Promise.resolve(openSqlite({ file })),
    openIn: (timeZone) => Promise.resolve(openSqlite({ file, now, timeZone })),
    query(sql) {
      const statement = peek.prepare(sql);
      return Promise.resolve(
        statement.reader ? (statement.all([]) as Record<string, unknown>[]) : (statement.run([]), []),
      );
    },
    plantFailure(event, table, when) {
      peek.exec(
        `CREATE TRIGGER planted BEFORE ${event} ON ${table} WHEN ${when} ` +
          `BEGIN SELECT RAISE(ABORT, 'planted failure'); END`,
      );
      return Promise.resolve();
    },
    async close() {
      peek.close();
      await store.close();
      await remove();
    },
  };
};
describeStoreContract('SQLite', openHarness);
describeHistoryContract('SQLite', openHarness);

describe('a SQLite file', () => {
  const task = { owner: 'alice', orgId: null, baseUuid: 'b', scriptName: 's', trigger: 'manualy' };

  test('keeps its tasks when it is opened again, and never gives an id twice', async () => {
    const { file, remove } = await freshSqlite();
    const first = openSqlite({ file });
    await first.migrate();
    const id = await first.submitTask(task);
    await first.close();
    const second = openSqlite({ file });
    await second.migrate();
    expect(await second.getTask(id)).toMatchObject(task);
    expect(await second.submitTask(task)).toBeGreaterThan(id);
    await second.close();
    await remove();
  });

  test('a migration that a killed process left locked is carried out all the same', async () => {
    const { file, remove } = await freshSqlite();
    const store = openSqlite({ file });
    await store.migrate();
    const peek = new Libsql(file);
    peek.exec(
      `UPDATE schema_migrations_lock SET is_locked = 1; DELETE FROM schema_migrations; DROP TABLE starters`,
    );
    peek.close();
    await store.migrate();
    expect(await store.listStarters()).toEqual([]);
    await store.close();
    await remove();
  });

  test('that cannot be opened is named, so that an operator can mend it', async () => {
    const file = '/nonexistent/folder/stadion.sqlite';
    const store = openSqlite({ file });
    await expect(store.migrate()).rejects.toThrow(file);
    await store.close();
  });
});
