import { z } from 'zod';
import { formatDocument, parseDocument } from '../versioned-document.ts';

/**
 * The manifest is the commit point: a backup exists only once its manifest does. It is written last and once, and holds
 * what a stranger needs to restore without Lifeboat and to check the result. docs/formats.md explains every field.
 */

export const MANIFEST_SCHEMA_VERSION = 1;

const instant = z.iso.datetime();
const bytes = z.number().int().nonnegative();

const storedFile = z.object({
  /** File name, relative to BACKUP_DIR and to the bucket's prefix alike. */
  key: z.string().min(1),
  size: bytes,
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** CRC-32 (IEEE) of the whole file, base64 of 4 big-endian bytes: what S3 calls ChecksumCRC32, full object. */
  crc32: z.string().regex(/^[A-Za-z0-9+/]{6}==$/),
});

const dumpFile = storedFile.extend({
  format: z.enum(['plain', 'custom']),
  compression: z.enum(['gzip', 'zstd']),
  level: z.number().int(),
  /** Bytes before compression. */
  rawSize: bytes,
  /**
   * Every frame (gzip member or zstd frame) holds `rawFrameSize` bytes, the last one the rest; `frameSizes` are the
   * compressed lengths in order, so that each can be fetched, checked and decompressed on its own.
   */
  rawFrameSize: z.number().int().positive(),
  frameSizes: z.array(z.number().int().positive()),
});

const countedTable = z.object({
  schema: z.string(),
  name: z.string(),
  /** Rows of an extension's configuration table are only those the extension marks as the user's. */
  kind: z.enum(['table', 'partition', 'extension-configuration']),
  rows: z.number().int().nonnegative(),
});

const databaseGrant = z.object({
  /** `null` is PUBLIC. */
  grantee: z.string().nullable(),
  privilege: z.string(),
  grantable: z.boolean(),
});

const database = z.object({
  name: z.string(),
  owner: z.string(),
  encoding: z.string(),
  localeProvider: z.enum(['libc', 'icu', 'builtin']),
  collate: z.string(),
  ctype: z.string(),
  /** ICU or builtin locale; `null` for libc. */
  locale: z.string().nullable(),
  icuRules: z.string().nullable(),
  collationVersion: z.string().nullable(),
  tablespace: z.string(),
  connectionLimit: z.number().int(),
  comment: z.string().nullable(),
  /** `null`: the built-in default grants. */
  grants: z.array(databaseGrant).nullable(),
  /** ALTER DATABASE … SET (role `null`) and ALTER ROLE … IN DATABASE … SET; each setting as `name=value`. */
  settings: z.array(z.object({ role: z.string().nullable(), values: z.array(z.string()) })),
  sizeBytes: bytes,
});

export const manifestSchema = z.object({
  schemaVersion: z.literal(MANIFEST_SCHEMA_VERSION),
  kind: z.literal('dump'),
  id: z.string(),
  app: z.string(),
  runId: z.string(),
  lifeboatVersion: z.string(),
  startedAt: instant,
  finishedAt: instant,
  host: z.object({ name: z.string(), platform: z.string(), architecture: z.string(), libc: z.string() }),
  server: z.object({
    version: z.string(),
    /** As in `server_version_num`: 150018. */
    versionNumber: z.number().int(),
    /** 64 bits, so text. */
    systemIdentifier: z.string().regex(/^\d+$/),
    standby: z.boolean(),
  }),
  tools: z.object({
    pgDump: z.string(),
    /** The oldest psql minor that can read the dump's `\restrict` line, per major; `null` when it has none. */
    psqlNeeded: z.string().nullable(),
  }),
  database,
  extensions: z.array(z.object({ name: z.string(), version: z.string(), schema: z.string() })),
  /** Roles that own, or are granted, anything in the database: they must exist before a restore. */
  roles: z.array(z.string()),
  /** Collations other than the database's own that its objects use, with the version recorded for each. */
  collations: z.array(z.object({ name: z.string(), version: z.string() })),
  dump: dumpFile,
  globals: storedFile.extend({ rolePasswords: z.boolean() }),
  tables: z.array(countedTable),
  materializedViews: z.array(z.object({ schema: z.string(), name: z.string(), populated: z.boolean() })),
  largeObjects: z.number().int().nonnegative(),
  warnings: z.array(z.string()),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type StoredFile = z.infer<typeof storedFile>;
export type DumpFile = z.infer<typeof dumpFile>;
export type CountedTable = z.infer<typeof countedTable>;
export type DatabaseDescription = z.infer<typeof database>;
export type DatabaseGrant = z.infer<typeof databaseGrant>;

const DOCUMENT = {
  schema: manifestSchema,
  version: MANIFEST_SCHEMA_VERSION,
  name: 'manifest',
};

/** @throws ZodError: what is written must be what can be read */
export function formatManifest(manifest: Manifest): string {
  return formatDocument(DOCUMENT, manifest);
}

/**
 * @param where named in errors, as in `s3://bucket/prefix/x.manifest.json`
 * @throws LifeboatError MANIFEST_NEWER for a later schema version, CORRUPT for anything that is no manifest.
 */
export function parseManifest(text: string, where: string): Manifest {
  return parseDocument(DOCUMENT, text, where);
}
