import { CRC32C_START, updateCrc32c } from './crc32c.ts';
import { bytesNeeded, kindOfRecord, RECORD_HEADER, type RecordKind } from './wal-record.ts';

/** A record that goes beyond the page, or beyond what was at hand when it began. */
export class OpenRecord {
  /** `undefined` for the rest of a record that began before the scan did. */
  readonly start: number | undefined;
  #length: number;
  #received = 0;
  #kept: Buffer;
  kind: RecordKind | undefined;
  /** Of what came after the header. */
  bodyCrc = CRC32C_START;

  private constructor(start: number | undefined, length: number) {
    this.start = start;
    this.#length = length;
    this.#kept = Buffer.alloc(start === undefined ? 0 : RECORD_HEADER);
  }

  static startingAt(start: number): OpenRecord {
    return new OpenRecord(start, 0);
  }

  static restOf(remaining: number): OpenRecord {
    return new OpenRecord(undefined, remaining);
  }

  /** Its header and as much of what follows as its kind needs. */
  get kept(): Buffer {
    return this.#kept;
  }

  /** 0 as long as its first four bytes have not come. */
  get length(): number {
    if (this.#length === 0 && this.#received >= 4) this.#length = this.#kept.readUInt32LE(0);
    return this.#length;
  }

  get remaining(): number {
    return this.length - this.#received;
  }

  /** Zeros where a length should be: no record at all. */
  get isNothing(): boolean {
    return this.#received >= 4 && this.length === 0;
  }

  get headerMissing(): boolean {
    return this.start !== undefined && this.#received < RECORD_HEADER;
  }

  /** @returns how far it got */
  takeHeader(bytes: Buffer, at: number, limit: number): number {
    const copied = bytes.copy(
      this.#kept,
      this.#received,
      at,
      Math.min(limit, at + RECORD_HEADER - this.#received),
    );
    this.#received += copied;
    return at + copied;
  }

  /** To be called once the header is there and was checked. */
  prepareBody(isHeard: (kind: RecordKind) => boolean): void {
    this.kind = kindOfRecord(this.#kept[17]!, this.#kept[16]!);
    if (!this.kind || !isHeard(this.kind)) return;
    const header = this.#kept;
    this.#kept = Buffer.allocUnsafe(bytesNeeded(this.kind, this.length));
    header.copy(this.#kept);
  }

  /** @returns how far it got */
  takeBody(bytes: Buffer, at: number, limit: number, checksum: boolean): number {
    const end = Math.min(limit, at + this.remaining);
    if (this.#received < this.#kept.length) bytes.copy(this.#kept, this.#received, at, end);
    if (checksum) this.bodyCrc = updateCrc32c(this.bodyCrc, bytes, at, end);
    this.#received += end - at;
    return end;
  }
}
