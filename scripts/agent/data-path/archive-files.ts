import { createHash } from 'node:crypto';
import { mkdir, open, readFile, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { crc32, gunzip } from 'node:zlib';
import { encodeCrc32 } from '../../../lib/domain/crc32.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { DumpFormat } from '../../../lib/domain/backup/keys.ts';
import type { DumpEntry } from '../../../lib/domain/restore/dump-entries.ts';
import type { DumpFile, StoredFile } from '../../../lib/domain/backup/manifest.ts';
import { sniffCompression, type DumpInspection } from '../../../lib/domain/restore/inspection.ts';
import { isMissing, onDisk, readFully } from '../host/durable-file.ts';
import { LIST_SUFFIX } from '../ports/dump-files.ts';
import type {
  ArchivePiece,
  Digest,
  DownloadRequest,
  DumpFiles,
  FoundFile,
  OpenDump,
  PlainPiece,
  ReadRequest,
  UnpackRequest,
} from '../ports/dump-files.ts';
import { readCustomEntries, readPlainEntries, selectPlainEntries } from './archive-entries.ts';
import { inspectDump } from './archive-inspection.ts';
import { readStream } from './archive-stream.ts';
import { unpackArchive } from './archive-unpack.ts';
import { takeArchiveApart } from './custom-archive/archive-pieces.ts';
import { download } from './download.ts';
import { readFrames } from './frame-reader.ts';
import { takePlainApart } from './plain-dump/plain-pieces.ts';
import { withoutRestriction } from './plain-dump/restriction.ts';

const HASH_READ_SIZE = 4 * 1024 * 1024;
/** Enough for the frame index of a dump of several terabytes. */
const LARGEST_SMALL_FILE = 256 * 1024 * 1024;
const SCRATCH = { download: '.download.partial', unpacked: '.unpacked.partial' } as const;

/** @param folder BACKUP_DIR: where scratch files lie; made when it is missing */
export function openDumpFiles(folder: string): DumpFiles {
  // Named after the target alone: the target's lock is held, so whatever bears the name is ours or a killed run's.
  const scratchPath = (target: string, kind: keyof typeof SCRATCH): string =>
    join(folder, `.restore-${encodeURIComponent(target).replaceAll('.', '%2E')}${SCRATCH[kind]}`);
  return {
    folder,
    find: (path) => findFile(path, folder),
    readSmall: readSmallFile,
    unzipGlobals,
    open: (path) => openDump(path, scratchPath),
    download: async (request: DownloadRequest) => {
      await makeFolder(folder);
      const path = scratchPath(request.target, 'download');
      const digest = await download(request, path);
      return Object.assign(await openDump(path, scratchPath), { digest });
    },
    removeScratch: async (target) => {
      for (const kind of ['download', 'unpacked'] as const) await removeFile(scratchPath(target, kind));
      await removeFile(scratchPath(target, 'unpacked') + LIST_SUFFIX);
    },
  };
}

type ScratchPath = (target: string, kind: keyof typeof SCRATCH) => string;

async function makeFolder(folder: string): Promise<void> {
  await onDisk(`Cannot make the folder ${folder}`, () => mkdir(folder, { recursive: true, mode: 0o700 }));
}

async function findFile(path: string, folder: string): Promise<FoundFile | undefined> {
  const candidates = path.includes('/') ? [resolve(path)] : [resolve(path), join(folder, path)];
  for (const candidate of candidates) {
    const found = await onDisk(`Cannot look at ${candidate}`, () =>
      stat(candidate).catch((error: unknown) => {
        if (isMissing(error)) return undefined;
        throw error;
      }),
    );
    if (!found) continue;
    if (found.isFile()) return { path: candidate, size: found.size };
    throw new LifeboatError('CORRUPT', `${candidate} is no file`, {
      hint: 'Give a dump file; a dump in pg_dump’s directory format is restored with pg_restore.',
    });
  }
  return undefined;
}

async function readSmallFile(path: string): Promise<Buffer> {
  return await onDisk(`Cannot read ${path}`, async () => {
    const { size } = await stat(path);
    if (size > LARGEST_SMALL_FILE)
      throw new LifeboatError('CORRUPT', `${path} has ${size} bytes: too many for its kind`);
    return await readFile(path);
  });
}

async function unzipGlobals(file: Buffer, expected: StoredFile, where: string): Promise<string> {
  const sha256 = createHash('sha256').update(file).digest('hex');
  if (file.length !== expected.size || sha256 !== expected.sha256) {
    throw new LifeboatError(
      'CORRUPT',
      `${where} is not the file that the manifest recorded: ${file.length} bytes, SHA-256 ${sha256} instead of ${expected.size} bytes, ${expected.sha256}`,
    );
  }
  try {
    return (await promisify(gunzip)(file)).toString('utf8');
  } catch (cause) {
    throw new LifeboatError('CORRUPT', `${where} does not decompress: ${(cause as Error).message}`, {
      cause,
    });
  }
}

async function openDump(path: string, scratchPath: ScratchPath): Promise<OpenDump> {
  return await onDisk(`Cannot read ${path}`, async () => {
    const file = await open(path, 'r');
    const { size } = await file.stat();
    return new LocalDump(path, size, file, scratchPath);
  });
}

class LocalDump implements OpenDump {
  readonly path: string;
  readonly size: number;
  readonly #file: FileHandle;
  readonly #scratchPath: ScratchPath;

  constructor(path: string, size: number, file: FileHandle, scratchPath: ScratchPath) {
    this.path = path;
    this.size = size;
    this.#file = file;
    this.#scratchPath = scratchPath;
  }

  async hash(interrupted: AbortSignal): Promise<Digest> {
    const sha256 = createHash('sha256');
    let crc = 0;
    // Two buffers by turns: one is read into while the other is hashed.
    const buffers = [Buffer.allocUnsafe(HASH_READ_SIZE), Buffer.allocUnsafe(HASH_READ_SIZE)] as const;
    let ahead = this.#readInto(buffers[0], 0);
    for (let done = 0, turn = 1; ; turn = 1 - turn) {
      const chunk = await ahead;
      interrupted.throwIfAborted();
      if (chunk.length === 0) break;
      done += chunk.length;
      ahead = this.#readInto(buffers[turn as 0 | 1], done);
      sha256.update(chunk);
      crc = crc32(chunk, crc);
    }
    return { sha256: sha256.digest('hex'), crc32: encodeCrc32(crc) };
  }

  async inspect(interrupted: AbortSignal, onProgress: (bytes: number) => void): Promise<DumpInspection> {
    if (this.size === 0) throw new LifeboatError('CORRUPT', `${this.path} is empty (0 bytes)`);
    const compression = await this.#compression();
    const content = readStream(this.#file, this.size, compression, this.path);
    return await inspectDump(content, compression, this.path, (rawBytes) => {
      interrupted.throwIfAborted();
      onProgress(rawBytes);
    });
  }

  async *content(layout: DumpFile | undefined): AsyncGenerator<Buffer> {
    if (layout) yield* readFrames(this.#file, layout, this.path);
    else yield* readStream(this.#file, this.size, await this.#compression(), this.path);
  }

  plainPieces(layout: DumpFile): AsyncIterable<PlainPiece> {
    return takePlainApart(this.content(layout), this.path);
  }

  async *archivePieces(request: UnpackRequest & { layout: DumpFile }): AsyncGenerator<ArchivePiece> {
    const { layout, target, interrupted, onProgress } = request;
    const path = this.#scratchPath(target, 'unpacked');
    await makeFolder(dirname(path));
    yield* takeArchiveApart({
      content: this.content(layout),
      path,
      where: this.path,
      onProgress: (rawBytes) => {
        interrupted.throwIfAborted();
        onProgress(rawBytes);
      },
    });
  }

  async entries({
    layout,
    format,
    interrupted,
    onProgress,
  }: ReadRequest & { format: DumpFormat }): Promise<DumpEntry[]> {
    if (format === 'custom') return await readCustomEntries(this.content(layout), this.path);
    return await readPlainEntries(this.content(layout), (rawBytes) => {
      interrupted.throwIfAborted();
      onProgress(rawBytes);
    });
  }

  selected({
    layout,
    entries,
    selected,
  }: ReadRequest & { entries: readonly DumpEntry[]; selected: readonly number[] }): AsyncIterable<Buffer> {
    return withoutRestriction(selectPlainEntries(this.content(layout), entries, selected));
  }

  async unpack({ layout, target, interrupted, onProgress }: UnpackRequest): Promise<string> {
    const path = this.#scratchPath(target, 'unpacked');
    await makeFolder(dirname(path));
    await unpackArchive(this.content(layout), path, this.path, (rawBytes) => {
      interrupted.throwIfAborted();
      onProgress(rawBytes);
    });
    return path;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #compression(): Promise<ReturnType<typeof sniffCompression>> {
    const head = Buffer.alloc(4);
    await onDisk(`Cannot read ${this.path}`, () => readFully(this.#file, head, 0));
    return sniffCompression(head);
  }

  async #readInto(buffer: Buffer, offset: number): Promise<Buffer> {
    const read = await onDisk(`Cannot read ${this.path}`, () => readFully(this.#file, buffer, offset));
    return buffer.subarray(0, read);
  }
}

async function removeFile(path: string): Promise<void> {
  await onDisk(`Cannot remove ${path}`, () =>
    unlink(path).catch((error: unknown) => {
      if (!isMissing(error)) throw error as Error;
    }),
  );
}
