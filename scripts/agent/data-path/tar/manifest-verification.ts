import { open, readdir, stat } from 'node:fs/promises';
import { onDisk } from '../../host/durable-file.ts';
import { verifyWalFiles } from '../wal/wal-files.ts';
import type { BackupManifest, ManifestFile } from './backup-manifest.ts';
import { fileDigest } from './file-digest.ts';

/** As pg_verifybackup passes over them: fetched, written or changed after the backup. */
const IGNORED = ['backup_manifest', 'pg_wal', 'postgresql.auto.conf', 'recovery.signal', 'standby.signal'];
const READ_SIZE = 1024 * 1024;
const IN_FLIGHT = 4;

interface ManifestProblem {
  /** Relative to the folder; `pg_wal` for WAL. */
  readonly path: string;
  readonly kind: 'missing' | 'extra' | 'no-file' | 'size' | 'checksum' | 'wal';
  /** A whole sentence for people, without the folder. */
  readonly message: string;
}

export interface ManifestVerification {
  /** Files whose checksums were compared. */
  readonly files: number;
  readonly bytes: number;
  readonly problems: readonly ManifestProblem[];
}

export interface ManifestVerificationOptions {
  /** Further paths, files or folders, that may differ: `tablespace_map` where it was rewritten. */
  readonly ignore?: readonly string[];
  /** Where WAL lies; `pg_wal` below the folder when left out, `null` to leave WAL out. */
  readonly walFolder?: string | null;
  /** Checksums of files as they were written, in hex by path: those are not read again. */
  readonly written?: ReadonlyMap<string, string>;
  readonly interrupted?: AbortSignal;
  readonly onProgress?: (doneBytes: number) => void;
}

/**
 * Compares an unpacked data directory with its manifest, as pg_verifybackup does, several files at a time: what is
 * missing, what is too much, sizes, checksums, and whether WAL can be read from the backup's start to its end.
 * @throws LifeboatError DISK_FAILED where a file cannot be read
 */
export async function verifyAgainstManifest(
  folder: string,
  manifest: BackupManifest,
  options: ManifestVerificationOptions = {},
): Promise<ManifestVerification> {
  const ignored = new Set([...IGNORED, ...(options.ignore ?? [])]);
  const expected = new Map(
    manifest.files.filter(({ path }) => !isIgnored(path, ignored)).map((file) => [file.path, file]),
  );
  const { sizes, strange } = await listFiles(folder, ignored);
  const problems = [...strange, ...compareLists(expected, sizes)];
  const sound = [...expected.values()].filter(({ path, size }) => sizes.get(path) === size);
  const { bytes, files, damaged } = await compareChecksums(folder, sound, options);
  problems.push(...damaged, ...(await compareWal(folder, manifest, options)));
  return { files, bytes, problems };
}

/** Whether the path, or a folder above it, is in the set. */
function isIgnored(path: string, ignored: ReadonlySet<string>): boolean {
  if (ignored.has(path)) return true;
  for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
    if (ignored.has(path.slice(0, slash))) return true;
  }
  return false;
}

interface Listing {
  readonly sizes: Map<string, number>;
  readonly strange: ManifestProblem[];
}

/** Links are followed: that is how tablespaces are reached. */
async function listFiles(folder: string, ignored: ReadonlySet<string>): Promise<Listing> {
  const listing: Listing = { sizes: new Map(), strange: [] };
  const pending = [''];
  for (let below = pending.pop(); below !== undefined; below = pending.pop()) {
    const names = await onDisk(`Cannot list ${folder}/${below}`, () =>
      readdir(pathOf(folder, below!), { encoding: 'latin1' }),
    );
    await eachOf(names, async (name) => {
      const path = below === '' ? name : `${below}/${name}`;
      if (ignored.has(path)) return;
      const facts = await onDisk(`Cannot look at ${folder}/${path}`, () => stat(pathOf(folder, path)));
      if (facts.isDirectory()) pending.push(path);
      else if (facts.isFile()) listing.sizes.set(path, facts.size);
      else
        listing.strange.push({
          path,
          kind: 'no-file',
          message: `${show(path)} is neither a file nor a folder`,
        });
    });
  }
  return listing;
}

function compareLists(
  expected: ReadonlyMap<string, ManifestFile>,
  sizes: ReadonlyMap<string, number>,
): ManifestProblem[] {
  const problems: ManifestProblem[] = [];
  for (const { path, size } of expected.values()) {
    const found = sizes.get(path);
    if (found === undefined) {
      problems.push({ path, kind: 'missing', message: `${show(path)} is missing` });
    } else if (found !== size) {
      const message = `${show(path)} has ${found} bytes instead of ${size}`;
      problems.push({ path, kind: 'size', message });
    }
  }
  for (const path of sizes.keys()) {
    if (expected.has(path)) continue;
    problems.push({ path, kind: 'extra', message: `${show(path)} is not in the manifest` });
  }
  return problems;
}

async function compareChecksums(
  folder: string,
  files: readonly ManifestFile[],
  { written, interrupted, onProgress }: ManifestVerificationOptions,
): Promise<{ readonly files: number; readonly bytes: number; readonly damaged: ManifestProblem[] }> {
  const damaged: ManifestProblem[] = [];
  const checked = files.filter(({ checksum }) => checksum !== undefined);
  const buffers = Array.from({ length: IN_FLIGHT }, () => Buffer.allocUnsafeSlow(READ_SIZE));
  let bytes = 0;
  const count = (length: number): void => {
    bytes += length;
    onProgress?.(bytes);
  };
  const read = async ({ path, checksum }: ManifestFile): Promise<string> => {
    interrupted?.throwIfAborted();
    const buffer = buffers.pop()!;
    try {
      const digest = fileDigest(checksum!.algorithm);
      await onDisk(`Cannot read ${folder}/${path}`, () =>
        readPieces(pathOf(folder, path), buffer, (piece) => {
          digest.update(piece);
          count(piece.length);
        }),
      );
      return digest.hex();
    } finally {
      buffers.push(buffer);
    }
  };
  await eachOf(checked, async (file) => {
    const known = written?.get(file.path);
    if (known !== undefined) count(file.size);
    if ((known ?? (await read(file))) === file.checksum!.hex) return;
    const { path } = file;
    damaged.push({ path, kind: 'checksum', message: `${show(path)} does not match its checksum` });
  });
  return { files: checked.length, bytes, damaged };
}

async function readPieces(path: Buffer, buffer: Buffer, take: (piece: Buffer) => void): Promise<void> {
  const file = await open(path, 'r');
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) return;
      take(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

async function compareWal(
  folder: string,
  { walRanges, systemIdentifier }: BackupManifest,
  { walFolder = `${folder}/pg_wal` }: ManifestVerificationOptions,
): Promise<ManifestProblem[]> {
  const problems: ManifestProblem[] = [];
  for (const range of walFolder === null ? [] : walRanges) {
    const message = await verifyWalFiles({ ...range, folder: walFolder!, systemIdentifier });
    if (message !== undefined) problems.push({ path: 'pg_wal', kind: 'wal', message });
  }
  return problems;
}

async function eachOf<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}

/** From a character for each byte to the bytes themselves. */
function pathOf(folder: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(path, 'latin1')]);
}

function show(path: string): string {
  return Buffer.from(path, 'latin1').toString();
}
