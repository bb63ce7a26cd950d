import type { BaseVolume } from '../../../../lib/domain/base/base-manifest.ts';
import { BACKUP_MANIFEST } from '../../../../lib/domain/wal/keys.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type {
  BaseWriter,
  BaseWriterOptions,
  ConfigurationFile,
  WrittenBase,
} from '../../ports/base-backup.ts';
import type { BackupPiece, BaseBackupStream } from '../../ports/replication.ts';
import type { Upload } from '../../ports/store.ts';
import { OutputDigest } from '../output-digest.ts';
import { encodeTarHeader, TAR_TRAILER, tarPadding } from '../tar/tar-header.ts';
import { VolumeSplitter, type VolumeWriter } from '../tar/volume-splitter.ts';
import { VolumeUploads } from './volume-uploads.ts';
import { WalInventory } from './wal-inventory.ts';

/** @param fullAt bytes of tar after which a volume takes no further member; VOLUME_FULL_AT when left out */
export function openBaseWriter(fullAt?: number): BaseWriter {
  return {
    write: async (backup, options) => await new BackupInProgress(backup, options, fullAt).write(),
    writeConfiguration,
  };
}

type Manifest = WrittenBase['backupManifest'];

class BackupInProgress {
  readonly #backup: BaseBackupStream;
  readonly #options: BaseWriterOptions;
  readonly #volumes: VolumeUploads;
  readonly #splitter: VolumeSplitter;
  readonly #wal: WalInventory;
  #manifest: { readonly upload: Upload; readonly digest: OutputDigest } | undefined;
  #detail = '';

  constructor(backup: BaseBackupStream, options: BaseWriterOptions, fullAt: number | undefined) {
    this.#backup = backup;
    this.#options = options;
    this.#volumes = new VolumeUploads(options);
    this.#wal = new WalInventory(options.walSegmentSize);
    this.#splitter = new VolumeSplitter({
      startVolume: async (series, number) => {
        const writer = await this.#volumes.start(series, number);
        return series === 'wal' ? this.#noteSegments(writer) : writer;
      },
      ...(fullAt === undefined ? {} : { fullAt }),
    });
  }

  async write(): Promise<WrittenBase> {
    try {
      for await (const piece of this.#backup.pieces()) await this.#take(piece);
      await this.#splitter.finish();
      const [volumes, backupManifest] = [await this.#volumes.finished(), await this.#completeManifest()];
      const end = await this.#backup.finished();
      return { volumes, backupManifest, walSegments: this.#wal.segments, end };
    } catch (error) {
      this.#backup.abort();
      await Promise.all([this.#volumes.abort(), this.#manifest?.upload.abort()]);
      throw error;
    }
  }

  async #take(piece: BackupPiece): Promise<void> {
    switch (piece.kind) {
      case 'archive':
        this.#detail = piece.oid === null ? 'data directory' : `tablespace ${piece.location ?? piece.oid}`;
        return await this.#splitter.push(piece);
      case 'data':
        return await this.#splitter.push(piece);
      case 'manifest':
        return await this.#writeManifest(piece.bytes);
      case 'progress':
        this.#options.interrupted.throwIfAborted();
        this.#options.onProgress?.(piece.doneBytes, this.#detail);
    }
  }

  #noteSegments(writer: VolumeWriter): VolumeWriter {
    return {
      write: (bytes) => {
        this.#wal.push(bytes);
        return writer.write(bytes);
      },
      end: (summary) => writer.end(summary),
    };
  }

  async #writeManifest(bytes: Buffer): Promise<void> {
    this.#manifest ??= {
      upload: await this.#options.open(BACKUP_MANIFEST),
      digest: new OutputDigest(),
    };
    this.#manifest.digest.update(bytes);
    await this.#manifest.upload.write(bytes);
  }

  async #completeManifest(): Promise<Manifest> {
    if (!this.#manifest) throw new LifeboatError('BUG', 'The server sent no backup manifest');
    const { size, sha256, crc32 } = this.#manifest.digest.result();
    await this.#manifest.upload.complete({ size, crc32 });
    return { key: BACKUP_MANIFEST, size, sha256, crc32 };
  }
}

/** Members are named by their absolute paths without the leading slash: `etc/postgresql/15/main/pg_hba.conf`. */
async function writeConfiguration(
  files: readonly ConfigurationFile[],
  options: BaseWriterOptions,
): Promise<BaseVolume> {
  const uploads = new VolumeUploads(options);
  try {
    const volume = await uploads.start('config', 1);
    const pieces = [...files.flatMap(encodeMember), TAR_TRAILER];
    for (const piece of pieces) await volume.write(piece);
    const rawSize = pieces.reduce((sum, { length }) => sum + length, 0);
    await volume.end({ members: files.length, rawSize });
    return (await uploads.finished())[0]!;
  } catch (error) {
    await uploads.abort();
    throw error;
  }
}

function encodeMember({ path, mode, modifiedAt, body }: ConfigurationFile): Buffer[] {
  const header = encodeTarHeader({
    name: path.replace(/^\/+/, ''),
    type: 'file',
    size: body.length,
    mode,
    modifiedAt: modifiedAt.getTime() / 1000,
  });
  return [header, body, tarPadding(body.length)];
}
