import {
  catalogStore,
  isFromFuture,
  type BackupCopy,
  type ListedFile,
} from '../lib/domain/backup/catalog.ts';
import { formatBackupId } from '../lib/domain/backup/backup-id.ts';
import { parseBackupFile } from '../lib/domain/backup/keys.ts';
import { parseManifest, type Manifest } from '../lib/domain/backup/manifest.ts';
import { asLifeboatError, LifeboatError } from '../lib/domain/errors.ts';
import type { Bucket } from './bucket.ts';
import { forEachOf } from './pool.ts';

/** A file of a listing, its key relative to the folder. */
export interface CatalogFile extends ListedFile {
  readonly etag: string;
}

/** What lies in the folder `prefix` under names that begin with `begin`. */
export async function listFolder(bucket: Bucket, prefix: string, begin: string): Promise<CatalogFile[]> {
  const folder = `${prefix}/`;
  const files: CatalogFile[] = [];
  // Flat: below lie folders of WAL, which hold hundreds of thousands of objects.
  for await (const { key, ...object } of bucket.list(folder + begin, { flat: true }))
    files.push({ ...object, key: key.slice(folder.length) });
  return files;
}

export interface Manifests {
  read(prefix: string, file: CatalogFile): Promise<Manifest | Error>;
}

/** Dumps of a terabyte have frame lists of a megabyte. */
export const LARGEST_MANIFEST = 64 * 1024 * 1024;

export function openManifests(bucket: Bucket): Manifests {
  return {
    read: async (prefix, { key }) => {
      const where = `s3://${bucket.name}/${prefix}/${key}`;
      try {
        const text = await bucket.read(`${prefix}/${key}`, LARGEST_MANIFEST);
        if (text === undefined) throw new LifeboatError('BACKUP_NOT_FOUND', `${where} is gone`);
        return parseManifest(text, where);
      } catch (error) {
        return keepUnreadable(error);
      }
    },
  };
}

/** One manifest that says nothing must not hide the others; a bucket that hands none out is another matter. */
function keepUnreadable(error: unknown): Error {
  const failure = asLifeboatError(error);
  if (['CORRUPT', 'MANIFEST_NEWER', 'BACKUP_NOT_FOUND'].includes(failure.code)) return failure;
  throw error;
}

/** A manifest without its long lists: what ages, sizes and retention need of it. */
function slim(manifest: Manifest): Manifest {
  const dump = { ...manifest.dump, frameSizes: [] };
  const lists = {
    tables: [],
    extensions: [],
    roles: [],
    collations: [],
    materializedViews: [],
    warnings: [],
  };
  const database = { ...manifest.database, grants: null, settings: [], comment: null };
  return { ...manifest, ...lists, dump, database };
}

/** Manifests are written once, so key and ETag say whether one is known; the oldest are forgotten first. */
export function cacheManifests(manifests: Manifests, most = 20_000): Manifests {
  const known = new Map<string, Manifest>();
  return {
    read: async (prefix, file) => {
      const name = `${prefix}/${file.key} ${file.etag}`;
      const found = known.get(name);
      if (found) return found;
      const read = await manifests.read(prefix, file);
      if (read instanceof Error) return read;
      const kept = slim(read);
      known.set(name, kept);
      const [oldest] = known.keys();
      if (known.size > most && oldest !== undefined) known.delete(oldest);
      return kept;
    },
  };
}

export interface CatalogWish {
  readonly prefix: string;
  readonly app: string;
  readonly files: readonly CatalogFile[];
  readonly now: Date;
  /** As soon as so many complete backups are known, older manifests are left unread: nothing asks for them. */
  readonly enough: number;
}

const MANIFESTS_AT_ONCE = 8;

/**
 * The copies of a series, newest first. Manifests are read from the newest name downwards; a copy whose manifest was left
 * unread passes for one without.
 */
export async function readCatalog(manifests: Manifests, wish: CatalogWish): Promise<BackupCopy[]> {
  const { prefix, app, files, now, enough } = wish;
  const waiting = manifestFiles(app, files);
  const read = new Map<string, Manifest | Error>();
  let copies = catalogStore(app, { store: 's3', files, manifests: read });
  while (waiting.length > 0 && countGood(copies, now) < enough) {
    const batch = waiting.splice(0, Math.min(MANIFESTS_AT_ONCE, enough));
    await forEachOf(batch, MANIFESTS_AT_ONCE, async (file) => {
      read.set(file.key, await manifests.read(prefix, file));
    });
    copies = catalogStore(app, { store: 's3', files, manifests: read });
  }
  return copies;
}

function countGood(copies: readonly BackupCopy[], now: Date): number {
  return copies.filter(({ state, time }) => state === 'complete' && !isFromFuture(time, now)).length;
}

/**
 * Newest first, by name; before them the two that S3 received last, whatever a wrong clock called them.
 */
function manifestFiles(app: string, files: readonly CatalogFile[]): CatalogFile[] {
  const found = files.flatMap((file) => {
    const parsed = parseBackupFile(file.key);
    const ours = parsed?.role === 'manifest' && !parsed.partial && parsed.id.app === app;
    return ours ? [{ file, id: formatBackupId(parsed.id) }] : [];
  });
  const byName = found.toSorted((one, other) => (one.id < other.id ? 1 : -1)).map(({ file }) => file);
  const received = byName.toSorted((one, other) => other.modifiedAt.getTime() - one.modifiedAt.getTime());
  return [...new Set([...received.slice(0, 2), ...byName])];
}
