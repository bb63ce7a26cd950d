import { z } from 'zod';
import { formatDocument, parseDocument } from '../versioned-document.ts';
import { BACKUP_MANIFEST, parseVolumeName } from '../wal/keys.ts';
import { tryParseLsn } from '../wal/lsn.ts';
import { tryParsePgTime } from '../wal/pg-time.ts';
import { isSegmentSize } from '../wal/segment.ts';
import { parseBaseLabel } from './base-label.ts';

/**
 * The commit point of a base backup: it exists only once its manifest does. Written last and once. docs/formats.md
 * explains every field.
 */

export const BASE_MANIFEST_SCHEMA_VERSION = 1;

const instant = z.iso.datetime();
const bytes = z.number().int().nonnegative();
const oid = z.number().int().min(1).max(0xffff_ffff);
const timeline = z.number().int().min(1).max(0xffff_ffff);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
/** CRC-32 (IEEE) of the whole object, base64 of 4 big-endian bytes: what S3 calls ChecksumCRC32, full object. */
const crc32 = z.string().regex(/^[A-Za-z0-9+/]{6}==$/);
const lsn = z.string().refine((text) => tryParseLsn(text) !== undefined, 'no LSN');
const label = z.string().refine((text) => parseBaseLabel(text) !== undefined, 'no label of a base backup');

const volume = z
  .object({
    /** `base`, `wal`, `config`, or `ts-<oid>` of a tablespace. */
    series: z.string(),
    /** Relative to the backup's own folder. */
    key: z.string(),
    size: bytes,
    sha256,
    crc32,
    /** Bytes of tar. */
    rawSize: bytes,
    /** Every zstd frame holds so many bytes of tar, the last one the rest; `frameSizes` are their compressed lengths. */
    rawFrameSize: z.number().int().positive(),
    frameSizes: z.array(z.number().int().positive()),
    /** Tar members that begin in this volume; none is split. */
    members: z.number().int().nonnegative(),
  })
  .refine(
    ({ series, key }) => parseVolumeName(key)?.series === series,
    'the key is none of a volume of its series',
  )
  .refine(({ size, frameSizes }) => frameSizes.reduce((sum, each) => sum + each, 0) === size, {
    error: 'the frames are not as long as the volume',
  })
  .refine(({ rawSize, rawFrameSize, frameSizes }) => {
    return frameSizes.length === Math.max(1, Math.ceil(rawSize / rawFrameSize));
  }, 'the number of frames is not that of the raw size');

const shape = z.object({
  schemaVersion: z.literal(BASE_MANIFEST_SCHEMA_VERSION),
  kind: z.literal('base'),
  label,
  app: z.string(),
  runId: z.string(),
  lifeboatVersion: z.string(),
  startedAt: instant,
  /** The backup's recorded time: which of two is the newer. */
  finishedAt: instant,
  host: z.object({ name: z.string(), platform: z.string(), architecture: z.string(), libc: z.string() }),
  server: z.object({
    version: z.string(),
    /** As in `server_version_num`: 150018. */
    versionNumber: z.number().int(),
    /** 64 bits, so text. */
    systemIdentifier: z.string().regex(/^[1-9]\d{0,19}$/),
    standby: z.boolean(),
    dataChecksums: z.boolean(),
    walSegmentSize: z.number().refine(isSegmentSize, 'no WAL segment size'),
    blockSize: z.number().int().positive(),
  }),
  type: z.enum(['full', 'incremental']),
  parent: label.nullable(),
  /** What an incremental backup is combined with: the full one first, each on the one before it, without itself. */
  chain: z.array(label),
  startLsn: lsn,
  startTimeline: timeline,
  stopLsn: lsn,
  stopTimeline: timeline,
  /** The server's clock after the backup's end, with microseconds; every commit before `stopLsn` has an earlier time. */
  stopTime: z
    .string()
    .refine((text) => tryParsePgTime(text) !== undefined, 'no time in UTC')
    .optional(),
  /** Settings of the server as it shows them; what recovery needs, and where its files were. */
  settings: z.record(z.string(), z.string()),
  databases: z.array(z.object({ oid, name: z.string() })),
  tablespaces: z.array(z.object({ oid, name: z.string(), location: z.string(), size: bytes })),
  volumes: z.array(volume).min(1),
  backupManifest: z.object({ key: z.literal(BACKUP_MANIFEST), size: bytes, sha256, crc32 }).nullable(),
  pageChecksums: z.object({ verified: z.boolean(), failures: z.number().int().nonnegative() }),
  warnings: z.array(z.string()),
});

export const baseManifestSchema = shape
  .refine((manifest) => parseBaseLabel(manifest.label)?.app === manifest.app, 'the label is another app’s')
  .refine(
    ({ type, chain }) => (type === 'full') === (chain.length === 0),
    'a full backup has no chain, another has one',
  )
  .refine(({ chain, parent }) => (chain.at(-1) ?? null) === parent, 'the chain does not end with the parent')
  .refine(
    ({ startLsn, stopLsn }) => tryParseLsn(startLsn)! < tryParseLsn(stopLsn)!,
    'it stops before it starts',
  );

export type BaseManifest = z.infer<typeof baseManifestSchema>;
export type BaseVolume = z.infer<typeof volume>;

const DOCUMENT = {
  schema: baseManifestSchema,
  version: BASE_MANIFEST_SCHEMA_VERSION,
  name: 'manifest of a base backup',
};

/** @throws ZodError: what is written must be what can be read */
export function formatBaseManifest(manifest: BaseManifest): string {
  return formatDocument(DOCUMENT, manifest);
}

/**
 * @param where named in errors, as in `s3://bucket/prefix/pitr/…/manifest.json`
 * @throws LifeboatError MANIFEST_NEWER for a later schema version, CORRUPT for anything that is no manifest.
 */
export function parseBaseManifest(text: string, where: string): BaseManifest {
  return parseDocument(DOCUMENT, text, where);
}
