import { volumeName } from '../../../../lib/domain/wal/keys.ts';
import type { BaseVolume } from '../../../../lib/domain/base/base-manifest.ts';
import type { Upload } from '../../ports/store.ts';
import { FrameBuffers, RAW_FRAME_SIZE } from '../frame-buffers.ts';
import { DEFAULT_LEVEL, FrameWriter } from '../frame-writer.ts';
import { OutputDigest } from '../output-digest.ts';
import type { VolumeSummary, VolumeWriter } from '../tar/volume-splitter.ts';

export interface VolumeUploadsOptions {
  /** @param name as of `volumeName` */
  readonly open: (name: string) => Promise<Upload>;
  /** zstd's; 1 when left out. */
  readonly level: number | undefined;
  readonly onVolume?: (volume: BaseVolume) => void;
}

/** Each is in the midst of its last parts, which are memory, while the next volume fills. */
const MOST_COMPLETING = 1;

type Series = Parameters<typeof volumeName>[0];

/**
 * The volumes of one backup: each is compressed and hashed as its bytes come, and uploaded as it fills. While one is being
 * completed the next fills already; all of them share the buffers of one.
 */
export class VolumeUploads {
  readonly #options: VolumeUploadsOptions;
  readonly #buffers = new FrameBuffers();
  readonly #open = new Set<Upload>();
  readonly #completing = new Set<Promise<unknown>>();
  readonly #written: BaseVolume[] = [];
  #failure: unknown;

  constructor(options: VolumeUploadsOptions) {
    this.#options = options;
  }

  /** @throws what an earlier volume failed with */
  async start(series: Series, number: number): Promise<VolumeWriter> {
    this.#throwFailure();
    const key = volumeName(series, number);
    const upload = await this.#options.open(key);
    this.#open.add(upload);
    const digest = new OutputDigest();
    const frames = new FrameWriter({
      compression: 'zstd',
      level: this.#options.level ?? DEFAULT_LEVEL.zstd,
      pages: true,
      buffers: this.#buffers,
      emit: async (frame) => {
        digest.update(frame);
        await upload.write(frame);
      },
    });
    return {
      write: (bytes) => {
        this.#throwFailure();
        return frames.write(bytes);
      },
      end: (summary) => this.#complete({ series, key, summary, upload, digest, frames }),
    };
  }

  /** Waits for the volumes that are still being completed. @returns all of them, by series and number */
  async finished(): Promise<readonly BaseVolume[]> {
    await Promise.all(this.#completing);
    this.#throwFailure();
    return this.#written.toSorted((one, other) => (one.key < other.key ? -1 : 1));
  }

  /** Gives up what is not complete; never throws. */
  async abort(): Promise<void> {
    this.#failure ??= new Error('given up');
    await Promise.all([...this.#open].map((upload) => upload.abort()));
    await Promise.all(this.#completing);
  }

  /** @returns a promise while as many as may be are being completed */
  #complete(volume: EndedVolume): Promise<void> | undefined {
    const completing: Promise<unknown> = complete(volume)
      .then((written) => {
        this.#open.delete(volume.upload);
        this.#written.push(written);
        this.#options.onVolume?.(written);
      })
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => this.#completing.delete(completing));
    this.#completing.add(completing);
    return this.#completing.size > MOST_COMPLETING ? this.#untilOneIsComplete() : undefined;
  }

  async #untilOneIsComplete(): Promise<void> {
    await Promise.race(this.#completing);
    this.#throwFailure();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure as Error;
  }
}

interface EndedVolume {
  readonly series: Series;
  readonly key: string;
  readonly summary: VolumeSummary;
  readonly upload: Upload;
  readonly digest: OutputDigest;
  readonly frames: FrameWriter;
}

async function complete(volume: EndedVolume): Promise<BaseVolume> {
  const { series, key, summary, upload, digest, frames } = volume;
  await frames.end();
  const { size, sha256, crc32 } = digest.result();
  await upload.complete({ size, crc32 });
  return {
    series,
    key,
    size,
    sha256,
    crc32,
    rawSize: summary.rawSize,
    rawFrameSize: RAW_FRAME_SIZE,
    frameSizes: frames.frameSizes,
    members: summary.members,
  };
}
