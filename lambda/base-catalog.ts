import { catalogBases, type Base } from '../lib/domain/base/base-catalog.ts';
import { parseBaseManifest, type BaseManifest } from '../lib/domain/base/base-manifest.ts';
import { asLifeboatError, LifeboatError } from '../lib/domain/errors.ts';
import { basesPrefix, parsePitrKey, pitrAppPrefix } from '../lib/domain/wal/keys.ts';
import type { Bucket } from './bucket.ts';
import { LARGEST_MANIFEST, type CatalogFile } from './catalog.ts';
import { forEachOf } from './pool.ts';
import { readDamaged } from './verdicts.ts';

/** Written once, so key and ETag say whether one is known; kept without the long lists, the oldest forgotten first. */
export type BaseManifestMemory = Map<string, BaseManifest>;

export interface BaseCatalog {
  /** System identifiers of which anything is there, base backups or WAL. */
  readonly clusters: readonly string[];
  /** Newest first. */
  readonly bases: readonly Base[];
  /** The same, whatever verifications said of them. */
  readonly asListed: readonly Base[];
}

const AT_ONCE = 8;
const MOST_KNOWN = 5000;

/**
 * Every base backup of an app in the folder `prefix`. The WAL beside them is not listed.
 * @param verdicts the state bucket, where what a verification found damaged is to count so
 */
export async function readBaseCatalog(
  bucket: Bucket,
  memory: BaseManifestMemory,
  { prefix, app }: { readonly prefix: string; readonly app: string },
  verdicts?: Bucket,
): Promise<BaseCatalog> {
  const clusters = await clustersIn(bucket, `${prefix}/${pitrAppPrefix(app)}`);
  const files: CatalogFile[] = [];
  const damaged = new Map<string, string>();
  for (const systemIdentifier of clusters) {
    const place = { prefix, series: { app, systemIdentifier } };
    if (verdicts) {
      for (const [label, { why }] of await readDamaged({ state: verdicts, ...place }))
        damaged.set(label, why);
    }
    for await (const { key, ...object } of bucket.list(`${prefix}/${basesPrefix({ app, systemIdentifier })}`))
      files.push({ ...object, key: key.slice(prefix.length + 1) });
  }
  const found = files.filter(({ key }) => parsePitrKey(key)?.role === 'base-manifest');
  const manifests = new Map<string, BaseManifest | Error>();
  await forEachOf(found, AT_ONCE, async (file) => {
    manifests.set(file.key, await readManifest(bucket, memory, prefix, file));
  });
  const asListed = catalogBases(app, { files, manifests });
  const bases = damaged.size === 0 ? asListed : catalogBases(app, { files, manifests }, damaged);
  return { clusters, bases, asListed };
}

/** The system identifiers among the folders under `prefix`, which ends in a slash. */
export async function clustersIn(bucket: Bucket, prefix: string): Promise<string[]> {
  const clusters: string[] = [];
  for await (const folder of bucket.folders(prefix)) {
    const name = folder.slice(prefix.length, -1);
    if (/^[1-9]\d{0,19}$/.test(name)) clusters.push(name);
  }
  return clusters;
}

async function readManifest(
  bucket: Bucket,
  memory: BaseManifestMemory,
  prefix: string,
  { key, etag }: CatalogFile,
): Promise<BaseManifest | Error> {
  const name = `${prefix}/${key} ${etag}`;
  const known = memory.get(name);
  if (known) return known;
  const where = `s3://${bucket.name}/${prefix}/${key}`;
  try {
    const text = await bucket.read(`${prefix}/${key}`, LARGEST_MANIFEST);
    if (text === undefined) throw new LifeboatError('BACKUP_NOT_FOUND', `${where} is gone`);
    const kept = slim(parseBaseManifest(text, where));
    memory.set(name, kept);
    const [oldest] = memory.keys();
    if (memory.size > MOST_KNOWN && oldest !== undefined) memory.delete(oldest);
    return kept;
  } catch (error) {
    // It must not hide the others; a bucket that hands none out is another matter.
    const failure = asLifeboatError(error);
    if (['CORRUPT', 'MANIFEST_NEWER', 'BACKUP_NOT_FOUND'].includes(failure.code)) return failure;
    throw error;
  }
}

/** What ages, windows and retention need: a terabyte's list of frames is a megabyte. */
function slim(manifest: BaseManifest): BaseManifest {
  const volumes = manifest.volumes.map((volume) => ({ ...volume, frameSizes: [] }));
  return { ...manifest, volumes, settings: {}, databases: [], warnings: [] };
}
