import { formatBackupId, parseBackupId, type BackupId } from './backup-id.ts';

/** The names of a backup's files, local and in S3 alike (relative to BACKUP_DIR, or to the bucket's prefix). */

export type DumpFormat = 'plain' | 'custom';
export type Compression = 'gzip' | 'zstd';

export interface DumpEncoding {
  readonly format: DumpFormat;
  readonly compression: Compression;
}

const SUFFIX = {
  plain: { gzip: '.sql.gz', zstd: '.sql.zst' },
  custom: { gzip: '.dump.gz', zstd: '.dump.zst' },
} as const;

/** A file being written; it becomes a backup's file only by rename. */
export const PARTIAL_SUFFIX = '.partial';

const MANIFEST_SUFFIX = '.manifest.json';
/** Exists, as `.partial`, for as long as a run is at work on the backup in the local folder. */
const RUN_SUFFIX = '.run';
const GLOBALS_SUFFIX = '.globals.sql.gz';

/** As in `<id>.sql.gz`, or `<id>.dump.zst` of a custom-format dump. */
export function dumpKey(id: BackupId, { format, compression }: DumpEncoding): string {
  return formatBackupId(id) + SUFFIX[format][compression];
}

/** Roles and tablespaces of the cluster; always gzip. */
export function globalsKey(id: BackupId): string {
  return formatBackupId(id) + GLOBALS_SUFFIX;
}

/** Written last: with it, the files beside it are a backup. */
export function manifestKey(id: BackupId): string {
  return formatBackupId(id) + MANIFEST_SUFFIX;
}

/** Only ever there with `PARTIAL_SUFFIX`. */
export function runMarkKey(id: BackupId): string {
  return formatBackupId(id) + RUN_SUFFIX;
}

/** What every file of a series begins with; a listing prefix, not yet a match: parse what it finds. */
export function seriesPrefix(app: string): string {
  return `${app}_db_`;
}

export type BackupFile = { readonly id: BackupId; readonly partial: boolean } & (
  | { readonly role: 'dump'; readonly encoding: DumpEncoding }
  | { readonly role: 'globals' }
  | { readonly role: 'manifest' }
  | { readonly role: 'run' }
);

/** The reverse of the functions above; `undefined` for a name that is none of ours. */
export function parseBackupFile(name: string): BackupFile | undefined {
  const partial = name.endsWith(PARTIAL_SUFFIX);
  const whole = partial ? name.slice(0, -PARTIAL_SUFFIX.length) : name;
  // The last stem in the name: an app may itself be called `app.sql.gz` or `x_db_20260101_000000`.
  const [, stem, suffix] = /^(.*_db_\d{8}_\d{6})(\..+)$/.exec(whole) ?? [];
  const id = stem === undefined ? undefined : parseBackupId(stem);
  if (!id || suffix === undefined) return undefined;
  if (suffix === MANIFEST_SUFFIX) return { id, partial, role: 'manifest' };
  if (suffix === RUN_SUFFIX) return { id, partial, role: 'run' };
  if (suffix === GLOBALS_SUFFIX) return { id, partial, role: 'globals' };
  const encoding = parseDumpSuffix(suffix);
  return encoding && suffix === SUFFIX[encoding.format][encoding.compression]
    ? { id, partial, role: 'dump', encoding }
    : undefined;
}

/** How a dump's bytes are to be read, told by the end of its file name; `undefined` when it says nothing. */
export function parseDumpSuffix(fileName: string): DumpEncoding | undefined {
  for (const format of ['plain', 'custom'] as const) {
    for (const compression of ['gzip', 'zstd'] as const) {
      if (fileName.endsWith(SUFFIX[format][compression])) return { format, compression };
    }
  }
  return undefined;
}
