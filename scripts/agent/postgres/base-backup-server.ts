import type {
  BaseBackupServer,
  BaseServerDescription,
  BaseServerFacts,
  ServerConfiguration,
} from '../ports/base-backup.ts';
import { connectReplication } from '../replication/connect.ts';
import type { DatabaseSettings } from '../settings.ts';
import type { Environment } from '../environment.ts';
import { inAnyDatabase } from './any-database.ts';
import { connect, type Connection } from './connection.ts';
import { BUILD, describeBuild, type BuildRow } from './server-build.ts';

export function openBaseBackupServer(
  settings: DatabaseSettings,
  environment: Environment,
  interrupted: AbortSignal,
): BaseBackupServer {
  const ask = async <Result>(question: (connection: Connection) => Promise<Result>): Promise<Result> => {
    const connection = await inAnyDatabase(settings, (database) => connect(settings, environment, database));
    try {
      return await question(connection);
    } finally {
      await connection.close();
    }
  };
  return {
    inspect: () => ask(inspect),
    describe: () => ask(describe),
    replicate: () =>
      connectReplication(settings, environment, { applicationName: 'lifeboat_base', interrupted }),
  };
}

async function inspect(connection: Connection): Promise<BaseServerFacts> {
  const [row] = await connection.rows<FactsRow>(FACTS);
  const facts = row!;
  const files = await connection.rows<{ file: string }>(
    `SELECT DISTINCT sourcefile AS file FROM pg_settings WHERE sourcefile IS NOT NULL`,
  );
  const systemIdentifier = facts.system;
  return {
    version: facts.version.split(' ')[0]!,
    versionNumber: facts.number,
    systemIdentifier,
    standby: facts.standby,
    dataChecksums: facts.checksums,
    walLevel: facts.wal_level,
    walSegmentSize: facts.segment_size,
    blockSize: facts.block_size,
    maxWalSenders: facts.senders,
    freeWalSenders: facts.senders - facts.senders_used,
    maxReplicationSlots: facts.slots,
    freeReplicationSlots: facts.slots - facts.slots_used,
    summarizesWal: facts.summarizes,
    clusterBytes: Number(facts.bytes),
    configuration: describeConfiguration(
      facts,
      files.map(({ file }) => file),
    ),
  };
}

interface FactsRow extends Record<string, unknown> {
  version: string;
  number: number;
  system: string;
  standby: boolean;
  checksums: boolean;
  wal_level: string;
  segment_size: number;
  block_size: number;
  senders: number;
  senders_used: number;
  slots: number;
  slots_used: number;
  summarizes: boolean;
  bytes: string;
  address: string | null;
  data_directory: string | null;
  config_file: string | null;
  hba_file: string | null;
  ident_file: string | null;
}

/** pg_settings, unlike SHOW, leaves out what this role may not see instead of failing. */
const FACTS = `
  SELECT current_setting('server_version') AS version,
         current_setting('server_version_num')::int AS number,
         (SELECT system_identifier::text FROM pg_control_system()) AS system,
         pg_is_in_recovery() AS standby,
         current_setting('data_checksums') = 'on' AS checksums,
         current_setting('wal_level') AS wal_level,
         (SELECT setting::int FROM pg_settings WHERE name = 'wal_segment_size') AS segment_size,
         current_setting('block_size')::int AS block_size,
         current_setting('max_wal_senders')::int AS senders,
         (SELECT count(*)::int FROM pg_stat_replication) AS senders_used,
         current_setting('max_replication_slots')::int AS slots,
         (SELECT count(*)::int FROM pg_replication_slots) AS slots_used,
         coalesce(current_setting('summarize_wal', true), 'off') = 'on' AS summarizes,
         (SELECT coalesce(sum(pg_database_size(oid)), 0)::text FROM pg_database
           WHERE has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'MEMBER')) AS bytes,
         host(inet_server_addr()) AS address,
         (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory,
         (SELECT setting FROM pg_settings WHERE name = 'config_file') AS config_file,
         (SELECT setting FROM pg_settings WHERE name = 'hba_file') AS hba_file,
         (SELECT setting FROM pg_settings WHERE name = 'ident_file') AS ident_file`;

function describeConfiguration(facts: FactsRow, sources: readonly string[]): ServerConfiguration {
  const named = [facts.config_file, facts.hba_file, facts.ident_file, ...sources];
  return {
    systemIdentifier: facts.system,
    serverAddress: facts.address ?? undefined,
    dataDirectory: facts.data_directory ?? undefined,
    configFile: facts.config_file ?? undefined,
    files: [...new Set(named.filter((path) => path !== null))].toSorted(),
  };
}

/** What recovery must know before the server runs: https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN */
const SETTINGS = [
  'allow_in_place_tablespaces',
  'archive_mode',
  'cluster_name',
  'config_file',
  'data_directory',
  'data_directory_mode',
  'full_page_writes',
  'hba_file',
  'ident_file',
  'lc_messages',
  'lc_monetary',
  'lc_numeric',
  'lc_time',
  'listen_addresses',
  'max_active_replication_origins',
  'max_connections',
  'max_locks_per_transaction',
  'max_prepared_transactions',
  'max_replication_slots',
  'max_wal_senders',
  'max_wal_size',
  'max_worker_processes',
  'port',
  'session_preload_libraries',
  'shared_buffers',
  'shared_preload_libraries',
  'summarize_wal',
  'track_commit_timestamp',
  'unix_socket_directories',
  'wal_level',
];

async function describe(connection: Connection): Promise<BaseServerDescription> {
  const settings = await connection.rows<{ name: string; setting: string }>(
    `SELECT name, current_setting(name) AS setting FROM pg_settings WHERE name = ANY($1) ORDER BY name`,
    [SETTINGS],
  );
  const databases = await connection.rows<{ oid: string; name: string }>(
    'SELECT oid::text, datname AS name FROM pg_database ORDER BY pg_database.oid',
  );
  const tablespaces = await connection.rows<{ oid: string; name: string }>(
    'SELECT oid::text, spcname AS name FROM pg_tablespace',
  );
  const [clock] = await connection.rows<{ now: string }>(
    `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS now`,
  );
  const [build] = await connection.rows<BuildRow>(BUILD);
  return {
    settings: Object.fromEntries(settings.map(({ name, setting }) => [name, setting])),
    databases: databases.map(({ oid, name }) => ({ oid: Number(oid), name })),
    tablespaceNames: new Map(tablespaces.map(({ oid, name }) => [Number(oid), name])),
    build: describeBuild(build!),
    now: clock!.now,
  };
}
