import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import { maxWalSize } from '../../../lib/domain/base/wal-room.ts';
import type { RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';

/** Below the data directory; goes once the recovery is over. */
export const WORK_FOLDER = 'lifeboat_recovery';
export const RECOVERY_SETTINGS = 'recovery.conf';

/** A standby must have as much as its primary, or it does not open for reading: https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN */
const OF_THE_SOURCE = [
  'max_connections',
  'max_worker_processes',
  'max_wal_senders',
  'max_prepared_transactions',
  'max_locks_per_transaction',
  'max_replication_slots',
  'max_active_replication_origins',
  'wal_level',
  'track_commit_timestamp',
];

export interface ServerSettings {
  readonly socketDir: string;
  readonly port: number;
  /** On the loopback interface too, not on the socket alone. */
  readonly listen: boolean;
  /** Those of the source that are installed here. */
  readonly libraries: readonly string[];
  /** Bytes that nothing on this host needs now. */
  readonly freeMemory: number;
  /** Bytes left on the disk of the data directory. */
  readonly freeDisk: number;
  /** Of the server that reads them, as in `server_version_num`: one that does not know a setting does not start. */
  readonly versionNumber: number;
  /** Nothing of its WAL may be lost until it runs with the source's settings. */
  readonly takesOver?: boolean;
}

const MIB = 1024 * 1024;
/**
 * PostgreSQL's own default is the least. What a replay puts aside is still in the disk's cache, so more than the most helps it
 * little: the process that replays waits while the kernel clears each page of them, and others live on this host.
 */
const SHARED_BUFFERS_MB = { least: 128, most: 256 };

/** With too few, a replay writes the same pages again and again: up to a quarter of what is free. */
function sharedBuffers(freeMemory: number): string {
  const share = Math.floor(freeMemory / 4 / MIB);
  return `${Math.min(SHARED_BUFFERS_MB.most, Math.max(SHARED_BUFFERS_MB.least, share))}MB`;
}

/**
 * History files and segments are marked as to be archived only where archive_mode is on; without a command they wait. The WAL
 * stream's slot is made only once it meets the new server: until then its first segments must stay.
 */
const KEEP_WAL = [['wal_keep_size', '512MB']] as const;

/**
 * A tablespace that was made after the base backup is a folder in pg_tblspc (see `keepTablespacesInside`). Without this
 * PostgreSQL panics over one as soon as it is consistent (CheckTablespaceDirectory in xlogrecovery.c): where it was made
 * during the base backup, whenever recovery is begun once more, and in a backup of such a cluster.
 */
const TABLESPACES_INSIDE = [['allow_in_place_tablespaces', 'on']] as const;
const FIRST_WITH_TABLESPACES_INSIDE = 140_005;

/**
 * What the WAL may need more of than the source had when the base backup was made; so much costs a few megabytes. Backups made
 * before the last two were recorded have no value of theirs. What is still not enough is raised once the server says so: see
 * `hearShortage`.
 */
const LEAST: ReadonlyMap<string, number> = new Map([
  ['max_prepared_transactions', 100],
  ['max_replication_slots', 1000],
  ['max_active_replication_origins', 1000],
]);
const FIRST_WITH_ACTIVE_ORIGINS = 180_000;

function ofTheSource(settings: BaseManifest['settings'], versionNumber: number): [string, string][] {
  return OF_THE_SOURCE.flatMap((name): [string, string][] => {
    if (name === 'max_active_replication_origins' && versionNumber < FIRST_WITH_ACTIVE_ORIGINS) return [];
    const [value, least] = [settings[name], LEAST.get(name)];
    if (least === undefined) return value === undefined ? [] : [[name, value]];
    return [[name, String(Math.max(least, Number(value ?? 0)))]];
  });
}

/** PostgreSQL's own default; a server whose segments are so large that it is not twice theirs does not start. */
const MIN_WAL_SIZE_MB = 80;

function minWalSize(segmentSize: number): string {
  return `${Math.max(MIN_WAL_SIZE_MB, (2 * segmentSize) / MIB)}MB`;
}

/** postgresql.conf of the recovered cluster: nothing of it goes out, nobody from elsewhere comes in. */
export function serverSettings({ settings, server }: BaseManifest, own: ServerSettings): string {
  const lines: readonly (readonly [string, string])[] = [
    ['listen_addresses', own.listen ? 'localhost' : ''],
    ['port', String(own.port)],
    ['unix_socket_directories', `"${own.socketDir}"`],
    ['unix_socket_permissions', '0700'],
    ['archive_mode', own.takesOver && settings['archive_mode'] !== 'off' ? 'on' : 'off'],
    ...(own.takesOver ? KEEP_WAL : []),
    ...(own.versionNumber >= FIRST_WITH_TABLESPACES_INSIDE ? TABLESPACES_INSIDE : []),
    ['archive_command', ''],
    ['primary_conninfo', ''],
    ['primary_slot_name', ''],
    ['synchronous_standby_names', ''],
    ['max_logical_replication_workers', '0'],
    ['shared_preload_libraries', own.libraries.map((name) => `"${name}"`).join(', ')],
    ...stillingSettings(own.libraries),
    ['shared_buffers', sharedBuffers(own.freeMemory)],
    ['max_wal_size', `${maxWalSize(own.freeDisk) / MIB}MB`],
    ['min_wal_size', minWalSize(server.walSegmentSize)],
    ['ssl', 'off'],
    ['logging_collector', 'off'],
    ['log_destination', 'stderr'],
    ['log_line_prefix', '%m [%p] '],
    ['log_timezone', 'UTC'],
    ['lc_messages', 'C'],
    ['cluster_name', 'lifeboat recovery'],
    ...ofTheSource(settings, own.versionNumber),
  ];
  const comment = `# Made by lifeboat restore. The source's own settings lie beside, in postgresql.conf.source and postgresql.auto.conf.source.`;
  return [comment, ...lines.map(line), `include_if_exists = '${WORK_FOLDER}/${RECOVERY_SETTINGS}'`, ''].join(
    '\n',
  );
}

/** The socket lies in a folder that only the server's own user (and root) can enter. */
export function hostBasedAuthentication(listen: boolean): string {
  const local = ['local all all trust'];
  // Passwords of both kinds.
  const loopback = ['host all all 127.0.0.1/32 md5', 'host all all ::1/128 md5'];
  return `${[...local, ...(listen ? loopback : [])].join('\n')}\n`;
}

/**
 * One process replays, and with PostgreSQL's defaults it also writes nearly every page that has to make room, since the background
 * writer takes at most 500 a second off it. With these that one writes them, on another core. Nothing is flushed on the way: the
 * checkpoint at the end does that. https://www.postgresql.org/docs/current/runtime-config-resource.html
 */
const BUSY_BACKGROUND_WRITER = [
  ['bgwriter_delay', '10ms'],
  ['bgwriter_lru_maxpages', '1000'],
  ['bgwriter_lru_multiplier', '10'],
  ['bgwriter_flush_after', '0'],
] as const;

/**
 * The first change of a page after a checkpoint brings nearly every page whole, unless the source wrote without `full_page_writes`: so a
 * replay reads what it wrote itself, and that is in memory still where there is room for all of it. Asking the kernel for each page in advance
 * gains nothing then, and takes a third of a replay's time.
 * https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-RECOVERY-PREFETCH
 */
const NO_PREFETCH = [['recovery_prefetch', 'off']] as const;
const FIRST_WITH_PREFETCH = 150_000;
/** Of the free memory; the rest is for the server itself, the segments that come, and others. */
const CACHE_SHARE = 0.5;

interface ReplayHow {
  /** `false`: to the end of the WAL that is there */
  readonly target: boolean;
  readonly pause: boolean;
  readonly versionNumber: number;
  /** Bytes; what is in the disk's cache counts as free. */
  readonly freeMemory: number;
}

export function recoverySettings(plan: RecoveryPlan, how: ReplayHow): string {
  const { stop, timeline } = plan;
  const { target, pause, versionNumber } = how;
  const lines: (readonly [string, string])[] = [
    ['restore_command', `sh ${WORK_FOLDER}/restore.sh "%f" "%p"`],
    ['recovery_target_timeline', String(timeline)],
    ['recovery_target_action', pause ? 'pause' : 'promote'],
    // Open for reading it would have to start again wherever the WAL tells of a max_connections that was raised meanwhile.
    ['hot_standby', pause ? 'on' : 'off'],
    ['wal_retrieve_retry_interval', '1s'],
    ...BUSY_BACKGROUND_WRITER,
    ...(readsFromDisk(plan, how) || versionNumber < FIRST_WITH_PREFETCH ? [] : NO_PREFETCH),
  ];
  if (target && stop.kind === 'setting') {
    lines.push([stop.setting, stop.value], ['recovery_target_inclusive', stop.inclusive ? 'on' : 'off']);
  }
  return `${lines.map(line).join('\n')}\n`;
}

function readsFromDisk({ base, bytes }: RecoveryPlan, { freeMemory }: ReplayHow): boolean {
  return base.manifest.settings['full_page_writes'] === 'off' || bytes.disk > CACHE_SHARE * freeMemory;
}

/** Backslashes begin escapes in there, as in C. */
function line([name, value]: readonly [string, string]): string {
  return `${name} = '${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

interface PreloadedLibraries {
  /** As the source loads them. */
  readonly wanted: readonly string[];
  /** Those that would start to work on their own. */
  readonly leftOut: readonly string[];
}

export function preloadedLibraries({ settings }: BaseManifest): PreloadedLibraries {
  const names = (settings['shared_preload_libraries'] ?? '')
    .split(',')
    .map((name) => name.trim().replaceAll('"', ''))
    .filter((name) => /^[\w$./-]+$/.test(name));
  const works = (name: string): boolean => WORK_ALONE.has(baseOf(name));
  return { wanted: names.filter((name) => !works(name)), leftOut: names.filter(works) };
}

function baseOf(library: string): string {
  return library.replace(/^.*\//, '').replace(/\.so$/, '');
}

/**
 * Jobs, requests that go out, other nodes of a cluster, and replication whose workers `max_logical_replication_workers` does not
 * keep from their subscriptions. What they leave in tables can be read without them.
 */
const WORK_ALONE: ReadonlySet<string> = new Set([
  'pg_cron',
  'pg_partman_bgw',
  'pg_squeeze',
  'pg_statsinfo',
  'pg_task',
  'pgagent',
  'pgpro_scheduler',
  'powa',
  'pg_net',
  'vectorize',
  'citus',
  'pgautofailover',
  'pglogical',
  'pgactive',
  'spock',
  'bdr',
]);

/**
 * Libraries whose tables cannot be read without them, and what keeps their jobs from starting: a retention policy would drop
 * once more what was recovered. https://docs.timescale.com/self-hosted/latest/configuration/about-configuration/#workers
 */
const STILLED = new Map<string, readonly [string, string]>([
  ['timescaledb', ['timescaledb.max_background_workers', '0']],
]);

/** Settings that keep what the libraries would begin on their own. */
export function stillingSettings(libraries: readonly string[]): (readonly [string, string])[] {
  return libraries.flatMap((name) => {
    const setting = STILLED.get(baseOf(name));
    return setting ? [setting] : [];
  });
}
