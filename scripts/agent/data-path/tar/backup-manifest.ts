import { createHash } from 'node:crypto';
import { z } from 'zod';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { tryParseLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';

/**
 * The `backup_manifest` that PostgreSQL sends with a base backup: every file with its size and checksum, and the WAL that
 * the backup needs. https://www.postgresql.org/docs/current/backup-manifest-format.html
 */
export interface BackupManifest {
  /** 1, or 2 since PostgreSQL 17. */
  readonly version: number;
  /** Since version 2. */
  readonly systemIdentifier: bigint | undefined;
  readonly files: readonly ManifestFile[];
  readonly walRanges: readonly WalRange[];
}

export interface ManifestFile {
  /** Relative to the data directory, a character for each byte (latin1): file names need not be UTF-8. */
  readonly path: string;
  readonly size: number;
  /** `undefined` where the backup was made without checksums. */
  readonly checksum: { readonly algorithm: ManifestAlgorithm; readonly hex: string } | undefined;
}

interface WalRange {
  readonly timeline: number;
  readonly start: Lsn;
  readonly end: Lsn;
}

const ALGORITHMS = ['CRC32C', 'SHA224', 'SHA256', 'SHA384', 'SHA512'] as const;
export type ManifestAlgorithm = (typeof ALGORITHMS)[number];

const lsn = z.string().transform((text, context) => {
  const parsed = tryParseLsn(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: 'custom', message: `no LSN: ${text}` });
  return z.NEVER;
});

const fileSchema = z
  .object({
    Path: z.string().min(1).optional(),
    'Encoded-Path': z
      .string()
      .regex(/^([0-9a-f]{2})+$/)
      .optional(),
    Size: z.int().nonnegative(),
    'Checksum-Algorithm': z.enum(ALGORITHMS).optional(),
    Checksum: z
      .string()
      .regex(/^[0-9a-f]*$/)
      .optional(),
  })
  .refine((file) => (file.Path === undefined) !== (file['Encoded-Path'] === undefined), 'it has no one path');

const manifestSchema = z.object({
  'PostgreSQL-Backup-Manifest-Version': z.literal([1, 2]),
  Files: z.array(fileSchema),
  'WAL-Ranges': z.array(z.object({ Timeline: z.int().positive(), 'Start-LSN': lsn, 'End-LSN': lsn })),
  'Manifest-Checksum': z.string(),
});

/**
 * PostgreSQL writes a line for each file, and a database may have a million: each is read on its own, since the whole as JSON
 * would take another three times the manifest’s size.
 * @param where named in errors
 * @throws LifeboatError CORRUPT when it is damaged, or no manifest that we know
 */
export function parseBackupManifest(bytes: Buffer, where: string): BackupManifest {
  const { frame, from, to } = frameOf(bytes);
  const parsed = manifestSchema.safeParse(readJson(frame, where));
  if (!parsed.success) throw noManifest(parsed.error, where);
  const manifest = parsed.data;
  const files = manifest.Files.map(toFile);
  for (let at = from, end = 0; at < to; at = end + 1) {
    end = bytes.indexOf(LINE_FEED, at);
    const line = bytes.toString('utf8', at, bytes[end - 1] === COMMA ? end - 1 : end);
    const file = fileSchema.safeParse(readJson(line, where));
    if (!file.success) throw noManifest(file.error, where);
    files.push(toFile(file.data));
  }
  requireOwnChecksum(bytes, manifest['Manifest-Checksum'], where);
  return {
    version: manifest['PostgreSQL-Backup-Manifest-Version'],
    systemIdentifier: systemIdentifierOf(frame),
    files,
    walRanges: manifest['WAL-Ranges'].map((range) => ({
      timeline: range.Timeline,
      start: range['Start-LSN'],
      end: range['End-LSN'],
    })),
  };
}

const LINE_FEED = 0x0a;
const COMMA = 0x2c;
const FILES_BEGIN = '\n"Files": [\n';
const FILES_END = '\n],\n"WAL-Ranges"';

/** The manifest without the lines of its files, and where those lie; all of it where it is written in another way. */
function frameOf(bytes: Buffer): { frame: string; from: number; to: number } {
  const begun = bytes.indexOf(FILES_BEGIN);
  const from = begun + FILES_BEGIN.length;
  const ended = begun < 0 ? -1 : bytes.indexOf(FILES_END, from - 1);
  if (ended < from) return { frame: bytes.toString('utf8'), from: 0, to: 0 };
  const to = ended + 1;
  return { frame: bytes.toString('utf8', 0, from) + bytes.toString('utf8', to), from, to };
}

function noManifest({ issues: [issue] }: z.ZodError, where: string): LifeboatError {
  const place = issue?.path.join('.') || 'the whole';
  return new LifeboatError(
    'CORRUPT',
    `${where} is no backup manifest of PostgreSQL 14 to 18: ${place}: ${issue?.message}`,
  );
}

function readJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LifeboatError('CORRUPT', `${where} is no JSON: ${(cause as Error).message}`, { cause });
  }
}

/** JSON.parse would round it: identifiers have more than 53 bits. It stands in the first lines. */
function systemIdentifierOf(text: string): bigint | undefined {
  const found = /^[^[]*?"System-Identifier": *(\d+)/.exec(text.slice(0, 1000));
  return found ? BigInt(found[1]!) : undefined;
}

function toFile(file: z.infer<typeof fileSchema>): ManifestFile {
  const { Path, Size, Checksum } = file;
  const encoded = file['Encoded-Path'];
  const algorithm = file['Checksum-Algorithm'];
  return {
    path: (Path === undefined ? Buffer.from(encoded!, 'hex') : Buffer.from(Path)).toString('latin1'),
    size: Size,
    checksum: algorithm && Checksum !== undefined ? { algorithm, hex: Checksum } : undefined,
  };
}

/** The last line holds the SHA-256 of all lines before it. */
function requireOwnChecksum(bytes: Buffer, expected: string, where: string): void {
  const lastLine = bytes.lastIndexOf('\n', bytes.length - 2) + 1;
  const complete = bytes.at(-1) === 0x0a && lastLine > 0;
  const found = createHash('sha256').update(bytes.subarray(0, lastLine)).digest('hex');
  if (!complete || found !== expected) {
    throw new LifeboatError('CORRUPT', `${where} does not match its own checksum: it is damaged or cut off`);
  }
}
