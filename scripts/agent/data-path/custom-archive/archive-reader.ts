import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { decodeUtf8, encodingOf, findDecoder, type DecodeText } from '../text-encoding.ts';

/**
 * The head of a pg_dump custom-format archive: header and table of contents, versions 1.12 (PostgreSQL 9.x) to 1.16
 * (17 and 18). PostgreSQL documents the format only in its source: src/bin/pg_dump/pg_backup_archiver.c (ReadHead,
 * ReadToc) and pg_backup_custom.c.
 */
export interface ArchiveHead {
  /** As `1.16.0`. */
  readonly version: string;
  readonly serverVersion: string;
  readonly dumpVersion: string;
  readonly database: string;
  /** pg_dump compressed each data block by itself; its rows cannot be counted without decompressing it. */
  readonly compressed: boolean;
  /** Of names and data, as `UTF8`. */
  readonly encoding: string | undefined;
  readonly integerSize: number;
  readonly offsetSize: number;
  readonly entries: readonly ArchiveEntry[];
  /** Bytes of header and table of contents: where the first data block begins. */
  readonly length: number;
}

export interface ArchiveEntry {
  readonly dumpId: number;
  /** True when a data block belongs to it. */
  readonly hasData: boolean;
  readonly tag: string;
  /** `TABLE`, `TABLE DATA`, `INDEX`, `FK CONSTRAINT`, … */
  readonly description: string;
  /** 1: none of its own, 2: before the data, 3: data, 4: after the data (teSection of pg_backup_archiver.h). */
  readonly section: number;
  readonly definition: string;
  readonly copyStatement: string;
  /** The same as the archive has it: not every encoding can be written back. */
  readonly copyBytes: Buffer;
  readonly schema: string;
  readonly owner: string;
  /** dumpIds of the entries that this one needs. */
  readonly dependencies: readonly number[];
  /** Where in the archive the entry's data state (one byte) and data offset (`offsetSize` bytes, little endian) lie. */
  readonly offsetPosition: number;
}

const MAGIC = Buffer.from('PGDMP');
const CUSTOM = 1;
const OLDEST = version(1, 12);
const NEWEST = version(1, 16);

/**
 * @param bytes the archive's beginning
 * @returns `undefined` when the table of contents is longer than `bytes`: try again with more
 * @throws LifeboatError CORRUPT when it is no custom-format archive, or of an unknown version
 */
export function readArchiveHead(bytes: Buffer): ArchiveHead | undefined {
  try {
    const head = readHead(new ArchiveBytes(bytes, decodeUtf8));
    const decode = head.encoding === undefined ? decodeUtf8 : findDecoder(head.encoding);
    return decode === decodeUtf8 ? head : readHead(new ArchiveBytes(bytes, decode));
  } catch (error) {
    if (error instanceof MoreBytesNeeded) return undefined;
    throw error;
  }
}

function readHead(reader: ArchiveBytes): ArchiveHead {
  if (!reader.take(MAGIC.length).equals(MAGIC))
    throw new LifeboatError('CORRUPT', 'The dump does not begin with PGDMP: it is no custom-format archive');
  const [major, minor, revision] = [reader.byte(), reader.byte(), reader.byte()];
  const format = version(major, minor);
  if (format < OLDEST || format > NEWEST) {
    throw new LifeboatError(
      'CORRUPT',
      `The archive has format version ${major}.${minor}; this Lifeboat reads 1.12 to 1.16`,
    );
  }
  reader.integerSize = reader.byte();
  const offsetSize = reader.byte();
  if (reader.byte() !== CUSTOM) throw new LifeboatError('CORRUPT', 'The archive is not in the custom format');
  const compressed = (format >= version(1, 15) ? reader.byte() : reader.integer()) !== 0;
  for (let part = 0; part < 7; part += 1) reader.integer(); // creation time, sec … isdst
  const [database, serverVersion, dumpVersion] = [reader.text(), reader.text(), reader.text()];
  const count = reader.integer();
  const entries = Array.from({ length: count }, () => readEntry(reader, format, offsetSize));
  return {
    version: `${major}.${minor}.${revision}`,
    serverVersion,
    dumpVersion,
    database,
    compressed,
    encoding: encodingOf(entries.find(({ description }) => description === 'ENCODING')?.definition ?? ''),
    integerSize: reader.integerSize,
    offsetSize,
    entries,
    length: reader.position,
  };
}

function readEntry(reader: ArchiveBytes, format: number, offsetSize: number): ArchiveEntry {
  const dumpId = reader.integer();
  const hasData = reader.integer() !== 0;
  reader.text(); // catalog oid of the entry’s class
  reader.text(); // oid
  const [tag, description] = [reader.text(), reader.text()];
  const section = reader.integer();
  const definition = reader.text();
  reader.text(); // drop statement
  const copyBytes = reader.nullableBytes() ?? Buffer.alloc(0);
  const schema = reader.text();
  reader.text(); // tablespace
  if (format >= version(1, 14)) reader.text(); // table access method
  if (format >= version(1, 16)) reader.integer(); // relation kind
  const owner = reader.text();
  reader.text(); // WITH OIDS
  const dependencies = readDependencies(reader);
  const offsetPosition = reader.position;
  reader.take(1 + offsetSize);
  return {
    dumpId,
    hasData,
    tag,
    description,
    section,
    definition,
    copyStatement: reader.decode(copyBytes),
    copyBytes,
    schema,
    owner,
    dependencies,
    offsetPosition,
  };
}

function readDependencies(reader: ArchiveBytes): number[] {
  const ids: number[] = [];
  for (let text = reader.nullableText(); text !== undefined; text = reader.nullableText())
    ids.push(Number(text));
  return ids;
}

function version(major: number, minor: number): number {
  return major * 256 + minor;
}

class MoreBytesNeeded extends Error {}

class ArchiveBytes {
  readonly #bytes: Buffer;
  readonly decode: DecodeText;
  position = 0;
  integerSize = 4;

  constructor(bytes: Buffer, decode: DecodeText) {
    this.#bytes = bytes;
    this.decode = decode;
  }

  take(length: number): Buffer {
    if (this.position + length > this.#bytes.length) throw new MoreBytesNeeded();
    this.position += length;
    return this.#bytes.subarray(this.position - length, this.position);
  }

  byte(): number {
    return this.take(1)[0]!;
  }

  /** A sign byte, then `integerSize` bytes, little endian. */
  integer(): number {
    const negative = this.byte() !== 0;
    const value = this.take(this.integerSize).readUIntLE(0, Math.min(6, this.integerSize));
    return negative ? -value : value;
  }

  /** `undefined` for the archive's NULL. */
  nullableBytes(): Buffer | undefined {
    const length = this.integer();
    return length < 0 ? undefined : this.take(length);
  }

  nullableText(): string | undefined {
    const bytes = this.nullableBytes();
    return bytes && this.decode(bytes);
  }

  text(): string {
    return this.nullableText() ?? '';
  }
}
