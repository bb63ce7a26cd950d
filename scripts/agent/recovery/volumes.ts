import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import type { BaseManifest, BaseVolume } from '../../../lib/domain/base/base-manifest.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import {
  TarExtraction,
  type TarExtractionOptions,
  type VolumeExtractor,
} from '../data-path/tar/tar-extractor.ts';
import type { ObjectStore } from '../ports/store.ts';

const decompress = promisify(zstdDecompress);
/** Room beyond a frame's length, so that zlib sees the frame's end without asking for a second output buffer. */
const SPARE = 1024;
/** With the frames ahead of each, what is in memory at a time: some 100 MB with frames of 8 MiB. */
const VOLUMES_AT_ONCE = 3;
const FRAMES_AHEAD = 2;

export interface VolumesToUnpack {
  readonly store: ObjectStore;
  /** Of the backup's own folder. */
  readonly prefix: string;
  readonly manifest: BaseManifest;
  readonly dataDir: string;
  /** There already. */
  readonly tablespaceDirs: ReadonlyMap<number, string>;
  readonly owner: TarExtractionOptions['owner'];
  readonly interrupted: AbortSignal;
  /** @param rawBytes of all volumes so far */
  readonly onProgress: (rawBytes: number) => void;
}

/**
 * Fetches the volumes of a base backup, decompresses, checks and unpacks them, several at a time, each frame by a ranged
 * read of its own. The configuration from outside of the data directory is left where it is.
 * @throws LifeboatError CORRUPT for a volume that is not what the manifest says, S3_…, DISK_FULL, DISK_FAILED
 */
export async function unpackVolumes(work: VolumesToUnpack): Promise<void> {
  const extractions = openExtractions(work);
  const waiting = work.manifest.volumes.filter(({ series }) => series !== 'config');
  let failure: unknown;
  let done = 0;
  const worker = async (): Promise<void> => {
    for (let volume = waiting.shift(); volume && failure === undefined; volume = waiting.shift()) {
      const extraction = extractions(volume);
      try {
        await unpackVolume(work, volume, extraction, (bytes) => {
          if (failure !== undefined) throw failure as Error;
          done += bytes;
          work.onProgress(done);
        });
      } catch (error) {
        failure ??= error;
      }
    }
  };
  // All of them, before what they write to is removed.
  await Promise.all(Array.from({ length: VOLUMES_AT_ONCE }, worker));
  if (failure !== undefined) throw failure as Error;
}

function openExtractions({
  dataDir,
  tablespaceDirs,
  owner,
  manifest,
}: VolumesToUnpack): (volume: BaseVolume) => TarExtraction {
  const common = owner ? { owner } : {};
  const main = new TarExtraction({
    ...common,
    folder: dataDir,
    // Written anew: the source's would lead into live tablespaces.
    keep: ['tablespace_map'],
    onTablespaceLink: () => undefined,
  });
  const others = new Map(
    [...tablespaceDirs].map(([oid, folder]) => [`ts-${oid}`, new TarExtraction({ ...common, folder })]),
  );
  return ({ series }) => {
    const extraction = series.startsWith('ts-') ? others.get(series) : main;
    if (extraction) return extraction;
    throw new LifeboatError(
      'CORRUPT',
      `The manifest of ${manifest.label} has volumes of ${series}, but no such tablespace`,
    );
  };
}

async function unpackVolume(
  work: VolumesToUnpack,
  volume: BaseVolume,
  extraction: TarExtraction,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const where = work.store.urlOf(work.prefix + volume.key);
  const extractor = extraction.volume(where);
  try {
    const found = await unpackFrames(work, volume, extractor, onBytes);
    extractor.finish();
    if (found !== volume.sha256) {
      throw new LifeboatError(
        'CORRUPT',
        `${where} has the SHA-256 ${found}; its manifest says ${volume.sha256}`,
      );
    }
  } catch (error) {
    await extractor.abort();
    throw error;
  }
}

/** @returns the SHA-256 of the volume as it was read */
async function unpackFrames(
  work: VolumesToUnpack,
  volume: BaseVolume,
  extractor: VolumeExtractor,
  onBytes: (bytes: number) => void,
): Promise<string> {
  const sha256 = createHash('sha256');
  for await (const { stored, raw } of readFrames(work, volume)) {
    work.interrupted.throwIfAborted();
    sha256.update(stored);
    await extractor.push(raw);
    onBytes(raw.length);
    free(stored);
    free(raw);
  }
  return sha256.digest('hex');
}

interface Frame {
  readonly stored: Buffer;
  readonly raw: Buffer;
}

async function* readFrames(work: VolumesToUnpack, volume: BaseVolume): AsyncGenerator<Frame> {
  const pending: Promise<Frame>[] = [];
  let offset = 0;
  let next = 0;
  const startNext = (): void => {
    const length = volume.frameSizes[next];
    if (length === undefined) return;
    const frame = readFrame(work, volume, next, { offset, length });
    // Awaited in its turn; until then a failure must not count as unhandled.
    frame.catch(() => undefined);
    pending.push(frame);
    offset += length;
    next += 1;
  };
  for (let count = 0; count < FRAMES_AHEAD; count += 1) startNext();
  try {
    for (let frame = pending.shift(); frame; frame = pending.shift()) {
      const bytes = await frame;
      startNext();
      yield bytes;
    }
  } finally {
    await Promise.allSettled(pending);
  }
}

async function readFrame(
  { store, prefix }: VolumesToUnpack,
  { key, rawSize, rawFrameSize, frameSizes }: BaseVolume,
  index: number,
  range: { readonly offset: number; readonly length: number },
): Promise<Frame> {
  const where = `Frame ${index + 1} of ${frameSizes.length} of ${store.urlOf(prefix + key)}`;
  const expected = index < frameSizes.length - 1 ? rawFrameSize : rawSize - index * rawFrameSize;
  const stored = await store.read(prefix + key, range);
  let raw: Buffer;
  try {
    raw = await decompress(stored, {
      chunkSize: Math.max(64, expected + SPARE),
      maxOutputLength: expected + SPARE,
    });
  } catch (cause) {
    throw new LifeboatError('CORRUPT', `${where} does not decompress: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (raw.length === expected) return { stored, raw };
  throw new LifeboatError('CORRUPT', `${where} holds ${raw.length} bytes instead of ${expected}`);
}

/** Smaller buffers may share their memory with others; see Buffer.poolSize. */
const OWN_MEMORY = 1024 * 1024;

/** Left to the garbage collector, hundreds of megabytes would pile up. */
function free({ buffer }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= OWN_MEMORY) buffer.transfer(0);
}
