import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatLsn, parseLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import type { Environment } from '../environment.ts';
import type { ServerHome, SlotFacts, WalServer, WalServerFacts } from '../ports/wal.ts';
import { inAnyDatabase } from '../postgres/any-database.ts';
import { connect, type Connection } from '../postgres/connection.ts';
import type { DatabaseSettings } from '../settings.ts';

type Ask = <Row extends Record<string, unknown>>(sql: string, values?: readonly unknown[]) => Promise<Row[]>;

/** Its connection's application_name: before it streams from the slot nothing else says whose it is. As long as PostgreSQL keeps. */
export function walSenderName(slot: string): string {
  return `lifeboat_wal_${slot}`.slice(0, 63);
}

/** Connects when first asked, and again after the connection broke. */
export function openWalServer(settings: DatabaseSettings, environment: Environment): WalServer {
  let connection: Promise<Connection> | undefined;
  const ask: Ask = async <Row extends Record<string, unknown>>(
    sql: string,
    values: readonly unknown[] = [],
  ) => {
    const current = (connection ??= inAnyDatabase(settings, (database) =>
      connect(settings, environment, database),
    ));
    try {
      return await (await current).rows<Row>(sql, values);
    } catch (error) {
      // Whether it was the statement or the connection: the next question goes over a new one.
      if (connection === current) connection = undefined;
      void current.then(
        (broken) => broken.close(),
        () => undefined,
      );
      throw error;
    }
  };
  const isStandby = async (): Promise<boolean> => {
    const [row] = await ask<{ standby: boolean }>('SELECT pg_is_in_recovery() AS standby');
    return row?.standby !== false;
  };
  return {
    facts: async (slot) => {
      const [row] = await ask<FactsRow>(FACTS, [slot, walSenderName(slot)]);
      if (!row) throw new LifeboatError('BUG', 'PostgreSQL told nothing of itself');
      return describe(row);
    },
    heartbeat: async () => {
      if (await isStandby()) return false;
      // A heartbeat must not wait for standbys, whatever commits wait for otherwise.
      await ask('SET synchronous_commit = local');
      await ask(`SELECT pg_logical_emit_message(true, 'lifeboat', '')`);
      return true;
    },
    switchWal: async () => {
      if (await isStandby()) return false;
      await ask('SELECT pg_switch_wal()');
      return true;
    },
    ...ofSlots(ask),
    home: () => askHome(ask),
    close: async () => {
      const open = connection;
      connection = undefined;
      // One that never came to be needs no farewell.
      await open?.then((each) => each.close()).catch(() => undefined);
    },
  };
}

function ofSlots(ask: Ask): Pick<WalServer, 'dropSlot' | 'advanceSlot'> {
  return {
    dropSlot: async (slot) => {
      await ask(
        'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active',
        [slot],
      );
    },
    advanceSlot: async (slot, lsn) => {
      await ask('SELECT pg_replication_slot_advance($1, $2::pg_lsn)', [slot, formatLsn(lsn)]);
    },
  };
}

async function askHome(ask: Ask): Promise<ServerHome> {
  const [row] = await ask<HomeRow>(HOME);
  if (!row) throw new LifeboatError('BUG', 'PostgreSQL told nothing of itself');
  return {
    dataDirectory: row.data_directory ?? undefined,
    startedAt: row.started_at,
    pid: row.pid,
    age: row.age,
  };
}

/** pg_settings leaves out what the role may not see. */
const HOME = `
  SELECT (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory,
         extract(epoch FROM pg_postmaster_start_time())::float8 AS started_at,
         pid, extract(epoch FROM clock_timestamp() - backend_start)::float8 AS age
    FROM pg_stat_activity WHERE pid = pg_backend_pid()`;

interface HomeRow extends Record<string, unknown> {
  readonly data_directory: string | null;
  readonly started_at: number;
  readonly pid: number;
  readonly age: number;
}

const FACTS = `
  SELECT current_setting('server_version_num')::int AS version_number,
         (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
         pg_is_in_recovery() AS standby,
         CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_flush_lsn()), 8) END AS timeline,
         (CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0')
               ELSE pg_current_wal_flush_lsn() END)::text AS flush_lsn,
         clock_timestamp() AS now,
         (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size')::int AS segment_size,
         pg_size_bytes(nullif(current_setting('max_slot_wal_keep_size'), '-1'))::text AS slot_cap,
         (SELECT setting FROM pg_settings
           WHERE name = 'archive_timeout' AND current_setting('archive_command') ~ 'wal +push'
             AND (current_setting('archive_mode') = 'always'
               OR current_setting('archive_mode') = 'on' AND NOT pg_is_in_recovery()))::int AS push_timeout,
         slot.slot_name IS NOT NULL AS slot_exists,
         slot.active AS active,
         slot.restart_lsn::text AS restart_lsn,
         slot.wal_status AS wal_status,
         slot.safe_wal_size::text AS safe_bytes,
         sender.application_name AS application_name,
         sender.state AS sender_state,
         sender.sync_state AS sync_state,
         sender.write_lsn::text AS write_lsn,
         sender.flush_lsn::text AS sender_flush_lsn,
         EXISTS (SELECT FROM pg_stat_replication
                  WHERE application_name = $2 AND state = 'startup') AS catching_up
    FROM (SELECT $1::text AS wanted) AS request
    LEFT JOIN pg_replication_slots AS slot ON slot.slot_name = request.wanted
    LEFT JOIN pg_stat_replication AS sender ON sender.pid = slot.active_pid`;

interface FactsRow extends Record<string, unknown> {
  readonly version_number: number;
  readonly system_identifier: string;
  readonly standby: boolean;
  readonly timeline: string | null;
  readonly flush_lsn: string;
  readonly now: Date;
  readonly segment_size: number;
  readonly slot_cap: string | null;
  readonly push_timeout: number | null;
  readonly slot_exists: boolean;
  readonly active: boolean | null;
  readonly restart_lsn: string | null;
  readonly wal_status: string | null;
  readonly safe_bytes: string | null;
  readonly application_name: string | null;
  readonly sender_state: string | null;
  readonly sync_state: string | null;
  readonly write_lsn: string | null;
  readonly sender_flush_lsn: string | null;
  readonly catching_up: boolean;
}

function describe(row: FactsRow): WalServerFacts {
  return {
    versionNumber: row.version_number,
    systemIdentifier: row.system_identifier,
    standby: row.standby,
    timeline: row.timeline === null ? undefined : Number.parseInt(row.timeline, 16),
    flushLsn: parseLsn(row.flush_lsn),
    now: row.now,
    segmentSize: row.segment_size,
    slotCapBytes: numberOf(row.slot_cap),
    pushes: row.push_timeout === null ? undefined : { timeoutSeconds: row.push_timeout },
    slot: row.slot_exists ? describeSlot(row) : undefined,
  };
}

function describeSlot(row: FactsRow): SlotFacts {
  return {
    active: row.active === true,
    catchingUp: row.catching_up,
    restartLsn: lsnOf(row.restart_lsn),
    status: (row.wal_status as SlotFacts['status'] | null) ?? undefined,
    safeBytes: numberOf(row.safe_bytes),
    stream:
      row.application_name === null
        ? undefined
        : {
            applicationName: row.application_name,
            state: row.sender_state ?? '',
            syncState: row.sync_state ?? '',
            receivedLsn: lsnOf(row.write_lsn),
            flushLsn: lsnOf(row.sender_flush_lsn),
          },
  };
}

function numberOf(text: string | null): number | undefined {
  return text === null ? undefined : Number(text);
}

function lsnOf(text: string | null): Lsn | undefined {
  return text === null ? undefined : parseLsn(text);
}
