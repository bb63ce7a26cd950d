import type { BaseManifest } from './base-manifest.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

/**
 * max_wal_size of the server that recovers. The larger, the fewer restartpoints, each of which writes what the next pages of
 * WAL change again; restored segments stay in pg_wal for as long. Up to a sixteenth of the disk: somebody may live on it.
 */
const MAX_WAL_SIZE = { least: 2 * GIB, most: 8 * GIB, shareOfFree: 16 };

/** @param freeBytes of the disk, behind all that was unpacked. @returns bytes, whole MiB */
export function maxWalSize(freeBytes: number): number {
  const { least, most, shareOfFree } = MAX_WAL_SIZE;
  const share = Math.floor(freeBytes / shareOfFree / MIB) * MIB;
  return Math.min(most, Math.max(least, share));
}

/** max_wal_size where nobody has set it. */
const DEFAULT_MAX_WAL_SIZE = GIB;

/** Segments that lie ready beside pg_wal before the server asks for them. */
export const WAL_AHEAD = 256 * MIB;

/**
 * Bytes of WAL that lie on the disk at a time, in pg_wal and beside it. Restored segments stay until a restartpoint, which the server can only make
 * where the source made a checkpoint: at most so far apart as the source's max_wal_size lets them be. Unknown in backups made
 * before it was recorded.
 * @param walRaw all that is to be replayed
 */
export function walOnDisk({ settings }: Pick<BaseManifest, 'settings'>, walRaw: number): number {
  const ofSource = parseSize(settings['max_wal_size']) ?? DEFAULT_MAX_WAL_SIZE;
  return Math.min(walRaw, MAX_WAL_SIZE.least + ofSource + WAL_AHEAD);
}

const UNITS = new Map([
  ['kB', 1024],
  ['MB', MIB],
  ['GB', GIB],
  ['TB', 1024 * GIB],
]);

/** As SHOW gives it: https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-NAMES-VALUES */
function parseSize(text: string | undefined): number | undefined {
  const [, digits, unit] = /^(\d+)(kB|MB|GB|TB)$/.exec(text ?? '') ?? [];
  return digits === undefined ? undefined : Number(digits) * UNITS.get(unit!)!;
}
