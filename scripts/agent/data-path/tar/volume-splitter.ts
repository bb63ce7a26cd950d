import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { TAR_TRAILER, type TarMember } from './tar-header.ts';
import { TarReader } from './tar-reader.ts';

/** `base`: the data directory; `ts-<oid>`: a tablespace; `wal`: what of pg_wal the backup carries. */
export type VolumeSeries = 'base' | 'wal' | `ts-${number}`;

export interface VolumeSummary {
  readonly members: number;
  /** Bytes of tar. */
  readonly rawSize: number;
}

/** Where one volume's bytes go. */
export interface VolumeWriter {
  /** A promise while there is no room; `bytes` may be used again once it has resolved, or at once where there is none. */
  write(bytes: Buffer): Promise<void> | undefined;
  /** Nothing more comes. What it returns is waited for before the next volume begins. */
  end(volume: VolumeSummary): Promise<void> | undefined;
}

export interface VolumeSplitterOptions {
  /** @param number counts from 1 within the series */
  readonly startVolume: (series: VolumeSeries, number: number) => VolumeWriter | Promise<VolumeWriter>;
  /** A volume that holds so many bytes takes no further member. */
  readonly fullAt?: number;
}

const VOLUME_FULL_AT = 256 * 1024 * 1024;

/** What of a base backup's stream concerns the archives. */
export type ArchivePiece =
  /** @property oid of the tablespace; `null` for the data directory */
  | { readonly kind: 'archive'; readonly oid: number | null }
  | { readonly kind: 'data'; readonly bytes: Buffer };

interface OpenVolume {
  readonly number: number;
  readonly writer: VolumeWriter;
  members: number;
  rawSize: number;
}

/**
 * Cuts a base backup into volumes that end only between tar members, so that each can be unpacked on its own; the
 * concatenation of a series is one valid tar: what ends an archive stands only at the end of a series' last volume.
 * Every byte is passed on as it came.
 */
export class VolumeSplitter {
  readonly #options: VolumeSplitterOptions;
  readonly #fullAt: number;
  readonly #open = new Map<VolumeSeries, OpenVolume>();
  readonly #finished = new Set<VolumeSeries>();
  #archive: { readonly series: VolumeSeries; readonly reader: TarReader } | undefined;
  #current: OpenVolume | undefined;

  constructor(options: VolumeSplitterOptions) {
    this.#options = options;
    this.#fullAt = options.fullAt ?? VOLUME_FULL_AT;
  }

  /**
   * The next is to be pushed once the promise has resolved.
   * @throws LifeboatError CORRUPT when the stream is no tar; what a volume's writer threw
   */
  async push(piece: ArchivePiece): Promise<void> {
    if (piece.kind === 'archive') {
      await this.#endArchive();
      const series = piece.oid === null ? 'base' : (`ts-${piece.oid}` as const);
      if (this.#finished.has(series)) {
        throw new LifeboatError('CORRUPT', `The base backup sends the archive ${series} twice`);
      }
      this.#archive = { series, reader: new TarReader(`The base backup’s archive ${series}`) };
      return;
    }
    if (!this.#archive) throw new LifeboatError('CORRUPT', 'The base backup sends data before any archive');
    await this.#pushData(this.#archive.series, this.#archive.reader, piece.bytes);
  }

  /** After the last piece. */
  async finish(): Promise<void> {
    await this.#endArchive();
  }

  async #pushData(series: VolumeSeries, reader: TarReader, bytes: Buffer): Promise<void> {
    for (const event of reader.push(bytes)) {
      if (event.kind === 'member-end') continue;
      if (event.kind === 'member') {
        this.#current = await this.#volumeFor(series, event.member);
        this.#current.members += 1;
      }
      const busy = write(this.#current!, event.kind === 'member' ? event.header : event.bytes);
      if (busy) await busy;
    }
  }

  /** The server appends the WAL that the backup needs to the archive of the data directory. */
  async #volumeFor(archive: VolumeSeries, member: TarMember): Promise<OpenVolume> {
    const isWal = archive === 'base' && member.type === 'file' && /^(\.\/)?pg_wal\//.test(member.name);
    const series = isWal ? 'wal' : archive;
    const open = this.#open.get(series);
    if (open && open.rawSize < this.#fullAt) return open;
    if (open) await end(open);
    return this.#start(series, (open?.number ?? 0) + 1);
  }

  async #start(series: VolumeSeries, number: number): Promise<OpenVolume> {
    const writer = await this.#options.startVolume(series, number);
    const volume = { number, writer, members: 0, rawSize: 0 };
    this.#open.set(series, volume);
    return volume;
  }

  async #endArchive(): Promise<void> {
    if (!this.#archive) return;
    const { series, reader } = this.#archive;
    reader.finish();
    if (!this.#open.has(series)) await this.#start(series, 1);
    for (const [name, volume] of this.#open) {
      await write(volume, TAR_TRAILER);
      await end(volume);
      this.#finished.add(name);
    }
    this.#open.clear();
    this.#archive = undefined;
    this.#current = undefined;
  }
}

function write(volume: OpenVolume, bytes: Buffer): Promise<void> | undefined {
  volume.rawSize += bytes.length;
  return volume.writer.write(bytes);
}

async function end({ writer, members, rawSize }: OpenVolume): Promise<void> {
  await writer.end({ members, rawSize });
}
