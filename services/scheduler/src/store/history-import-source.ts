/** Reads the original's database. Nothing is ever written there. */
import mysql from 'mysql2/promise';
import type { RowDataPacket } from 'mysql2/promise';
import type { Axis, OriginalCount, OriginalHistory, OriginalLog } from '../history-import/original-rows.js';

export interface OriginalDatabaseSettings {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

const logColumns = [
  'id',
  'dtable_uuid',
  'owner',
  'org_id',
  'script_name',
  'context_data',
  'started_at',
  'finished_at',
  'success',
  'return_code',
  'output',
  'operate_from',
  'created_at',
] as const satisfies (keyof OriginalLog)[];
const onlyInV2: readonly string[] = ['created_at'];

const countTables = {
  user: { table: 'user_run_script_statistics', subject: 'username' },
  org: { table: 'org_run_script_statistics', subject: 'org_id' },
  base: { table: 'dtable_run_script_statistics', subject: 'dtable_uuid' },
} as const satisfies Record<Axis, { table: string; subject: string }>;

/** Of rows read at once. A run's output may be megabytes, so their size counts as well. */
const mostRows = 500;
const mostBytes = 8 * 1024 * 1024;

type TextRow = Record<string, string | null>;

export async function openOriginalHistory(settings: OriginalDatabaseSettings): Promise<OriginalHistory> {
  const connection = await mysql.createConnection({
    ...settings,
    charset: 'utf8mb4',
    connectTimeout: 10_000,
    // Everything as it is written: a driver's dates and numbers would lose what they cannot express.
    typeCast: (field) => field.string('utf8'),
  });
  const query = async (sql: string, values: unknown[] = []): Promise<TextRow[]> => {
    const [rows] = await connection.query<RowDataPacket[]>(sql, values);
    return rows as TextRow[];
  };
  const columnsOf = async (table: string): Promise<Set<string>> => {
    const rows = await query(
      'SELECT column_name AS name FROM information_schema.columns WHERE table_schema = ? AND table_name = ?',
      [settings.database, table],
    );
    return new Set(rows.map((row) => String(row['name'])));
  };
  let present: readonly string[] | undefined;

  async function presentColumns(): Promise<readonly string[]> {
    if (present) return present;
    const columns = await columnsOf('script_log');
    if (columns.size === 0) {
      throw new Error(
        `There is no table script_log in the database ${settings.database}; is it the original's?`,
      );
    }
    const missing = logColumns.filter((column) => !columns.has(column) && !onlyInV2.includes(column));
    if (missing.length > 0) throw new Error(`The table script_log has no column ${missing.join(', ')}.`);
    return (present = logColumns.filter((column) => columns.has(column)));
  }

  return {
    name: `${settings.host}:${settings.port}/${settings.database}`,
    async check() {
      await presentColumns();
    },
    async countLogs(upTo) {
      const [row] = await query(
        `SELECT COUNT(*) AS count, COALESCE(MAX(id), 0) AS highest FROM script_log ${upTo === undefined ? '' : 'WHERE id <= ?'}`,
        upTo === undefined ? [] : [upTo],
      );
      return { count: Number(row!['count']), highestId: Number(row!['highest']) };
    },
    async readLogs(afterId) {
      const sizes = await query(
        `SELECT id, COALESCE(OCTET_LENGTH(output), 0) + COALESCE(OCTET_LENGTH(context_data), 0) AS bytes
         FROM script_log WHERE id > ? ORDER BY id LIMIT ?`,
        [afterId, mostRows],
      );
      let bytes = 0;
      const fitting = sizes.findIndex((row) => (bytes += Number(row['bytes'])) > mostBytes);
      const taken = fitting < 0 ? sizes : sizes.slice(0, Math.max(1, fitting));
      const last = taken.at(-1);
      if (!last) return [];
      const columns = await presentColumns();
      const rows = await query(
        `SELECT ${columns.join(', ')} FROM script_log WHERE id > ? AND id <= ? ORDER BY id`,
        [afterId, Number(last['id'])],
      );
      return rows.map((row) => ({ created_at: null, ...row, id: Number(row['id']) }) as OriginalLog);
    },
    async idsAfter(id) {
      const rows = await query('SELECT id FROM script_log WHERE id > ? ORDER BY id LIMIT 1000', [id]);
      return rows.map((row) => Number(row['id']));
    },
    async idsSince(ids, localTime) {
      if (ids.length === 0) return [];
      const rows = await query(
        'SELECT id FROM script_log WHERE id IN (?) AND COALESCE(finished_at, started_at, ?) >= ?',
        [ids, localTime, localTime],
      );
      return rows.map((row) => Number(row['id']));
    },
    async readCounts(axis) {
      const { table, subject } = countTables[axis];
      if ((await columnsOf(table)).size === 0) return undefined;
      const rows = await query(
        `SELECT ${subject} AS subject, run_date AS day, total_run_count AS runs, total_run_time AS seconds FROM ${table}`,
      );
      return rows.flatMap((row): OriginalCount[] => {
        const day = /^[1-9]\d{3}-\d\d-\d\d/.exec(row['day'] ?? '')?.[0];
        if (!row['subject'] || !day) return [];
        return [
          {
            axis,
            subject: row['subject'],
            day,
            runs: Number(row['runs'] ?? 0),
            runTimeUs: Math.round(Number(row['seconds'] ?? 0) * 1e6),
          },
        ];
      });
    },
    close: () => connection.end(),
  };
}
