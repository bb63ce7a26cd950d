import type { BaseManifest, BaseVolume } from '../../../lib/domain/base/base-manifest.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { WrittenDigests } from '../data-path/tar/written-digests.ts';
import { TarExtraction, type TarExtractionOptions } from '../data-path/tar/tar-extractor.ts';
import type { ObjectStore } from '../ports/store.ts';
import { Turns, unpackFrames } from './volume-unpacking.ts';

/** One waits for the disk, or writes small files, while another is decompressed. */
const VOLUMES_AT_ONCE = 2;
/** Of all of them together; with those ahead of each, and what is gathered for the disk, some 50 MB are in memory. */
const FRAMES_AT_ONCE = 3;

/** One base backup's, and where to. */
export interface VolumesToUnpack {
  /** Of the backup's own folder. */
  readonly prefix: string;
  readonly manifest: BaseManifest;
  readonly volumes: readonly BaseVolume[];
  readonly dataDir: string;
  /** There already. */
  readonly tablespaceDirs: ReadonlyMap<number, string>;
  /** Takes the checksums of its files while they are written. */
  readonly digests?: WrittenDigests;
  /** All its files are read again at once, not only its WAL. */
  readonly readAgain?: boolean;
  /** What to do about a damaged one; `undefined`: as ever. */
  readonly hint?: string;
}

export interface UnpackingGround {
  readonly store: ObjectStore;
  readonly owner: TarExtractionOptions['owner'];
  readonly interrupted: AbortSignal;
  /** @param rawBytes of all volumes so far */
  readonly onProgress: (rawBytes: number) => void;
}

/** A volume on its way. */
interface Work extends UnpackingGround {
  readonly hint: string | undefined;
  readonly prefix: string;
  readonly volume: BaseVolume;
  readonly extraction: TarExtraction;
  readonly turns: Turns;
}

/**
 * Fetches the volumes of base backups, decompresses, checks and unpacks them, several at a time, each frame by a ranged
 * read of its own.
 * @throws LifeboatError CORRUPT for a volume that is not what the manifest says, S3_…, DISK_FULL, DISK_FAILED
 */
export async function unpackVolumes(
  ground: UnpackingGround,
  backups: readonly VolumesToUnpack[],
): Promise<void> {
  const turns = new Turns(FRAMES_AT_ONCE);
  const waiting = backups.flatMap((backup) => {
    const extractions = openExtractions(backup, ground);
    return backup.volumes.map((volume): Work => {
      const { prefix, hint } = backup;
      return { ...ground, prefix, hint, volume, extraction: extractions(volume), turns };
    });
  });
  let failure: unknown;
  let done = 0;
  const worker = async (): Promise<void> => {
    for (let work = waiting.shift(); work && failure === undefined; work = waiting.shift()) {
      try {
        await unpackVolume(work, (bytes) => {
          if (failure !== undefined) throw failure as Error;
          done += bytes;
          ground.onProgress(done);
        });
      } catch (error) {
        failure ??= withHint(error, work.hint);
      }
    }
  };
  // All of them, before what they write to is removed.
  await Promise.all(Array.from({ length: VOLUMES_AT_ONCE }, worker));
  if (failure !== undefined) throw failure as Error;
}

function withHint(error: unknown, hint: string | undefined): unknown {
  if (hint === undefined || !(error instanceof LifeboatError) || error.code !== 'CORRUPT') return error;
  return new LifeboatError('CORRUPT', error.message, { cause: error, hint });
}

function openExtractions(
  { dataDir, tablespaceDirs, manifest, digests, readAgain = false }: VolumesToUnpack,
  { owner }: UnpackingGround,
): (volume: BaseVolume) => TarExtraction {
  // A recovery verifies and replays the backup's own WAL next.
  const isReadAgain = (name: string): boolean => readAgain || name.startsWith('pg_wal/');
  const common = { readAgain: isReadAgain, ...(owner && { owner }) };
  const main = new TarExtraction({
    ...common,
    ...digests?.below(''),
    folder: dataDir,
    // Written anew: the source's would lead into live tablespaces.
    keep: ['tablespace_map'],
    onTablespaceLink: () => undefined,
  });
  const others = new Map(
    [...tablespaceDirs].map(([oid, folder]) => {
      const own = digests?.below(`pg_tblspc/${oid}/`);
      return [`ts-${oid}`, new TarExtraction({ ...common, ...own, folder })];
    }),
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

async function unpackVolume(work: Work, onBytes: (bytes: number) => void): Promise<void> {
  const { volume, extraction } = work;
  const where = work.store.urlOf(work.prefix + volume.key);
  const extractor = extraction.volume(where);
  try {
    const onPiece = (bytes: number): void => {
      work.interrupted.throwIfAborted();
      onBytes(bytes);
    };
    const found = await unpackFrames({ ...work, extractor, onPiece });
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
