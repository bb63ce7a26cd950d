import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { combineCrc32 } from './crc32-combine.ts';
import { s3Error } from './s3-error.ts';

export type ChecksumAlgorithm = 'CRC32' | 'SHA1' | 'SHA256';
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE';

export interface Checksum {
  readonly algorithm: ChecksumAlgorithm;
  readonly type: ChecksumType;
  /** base64; a composite one ends in `-<parts>`. */
  readonly value: string;
}

const BYTES: Readonly<Record<ChecksumAlgorithm, number>> = { CRC32: 4, SHA1: 20, SHA256: 32 };
const HEADER_PREFIX = 'x-amz-checksum-';
/** S3 knows these too; the SDKs use them only when told to, and they are not native in Node. */
const UNSUPPORTED = new Set(['CRC32C', 'CRC64NVME', 'SHA512', 'MD5', 'XXHASH64', 'XXHASH3', 'XXHASH128']);

export const checksumHeader = (algorithm: ChecksumAlgorithm): string =>
  HEADER_PREFIX + algorithm.toLowerCase();
/** The element that carries it in XML, e.g. `ChecksumCRC32`. */
export const checksumElement = (algorithm: ChecksumAlgorithm): string => `Checksum${algorithm}`;

/** @throws S3Error NotImplemented for algorithms that this server cannot compute, InvalidRequest for unknown ones. */
export function parseAlgorithm(name: string): ChecksumAlgorithm {
  const upper = name.toUpperCase();
  if (upper in BYTES) return upper as ChecksumAlgorithm;
  if (UNSUPPORTED.has(upper))
    throw s3Error('NotImplemented', `The local S3 does not compute ${upper} checksums.`);
  throw s3Error('InvalidRequest', `Checksum algorithm provided is unsupported: ${name}`);
}

/** One of the digests that a body can be asked for; fed chunk by chunk. */
export interface Digest {
  update(chunk: Buffer): void;
  /** Ends it. */
  digest(): Buffer;
}

class Crc32Digest implements Digest {
  #value = 0;
  update(chunk: Buffer): void {
    this.#value = crc32(chunk, this.#value);
  }
  digest(): Buffer {
    return crc32Bytes(this.#value);
  }
}

function crc32Bytes(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function createDigest(algorithm: ChecksumAlgorithm | 'MD5'): Digest {
  if (algorithm === 'CRC32') return new Crc32Digest();
  const hash: Hash = createHash(algorithm.toLowerCase());
  return { update: (chunk) => void hash.update(chunk), digest: () => hash.digest() };
}

/** A checksum that the client promised: with its value in a header, or to follow in a trailer. */
export interface DeclaredChecksum {
  readonly algorithm: ChecksumAlgorithm;
  readonly value: string | undefined;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** What the request says about its body's checksum. @throws S3Error InvalidRequest when it says so badly. */
export function declaredChecksum(headers: Headers): DeclaredChecksum | undefined {
  const names = Object.keys(headers).filter(
    (name) => name.startsWith(HEADER_PREFIX) && !/-(algorithm|type|mode)$/.test(name),
  );
  const trailer = trailerName(headers);
  if (names.length + (trailer === undefined ? 0 : 1) > 1)
    throw s3Error(
      'InvalidRequest',
      'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
    );
  const [name] = names;
  if (name !== undefined) {
    const algorithm = parseAlgorithm(name.slice(HEADER_PREFIX.length));
    return { algorithm, value: checkedValue(algorithm, String(headers[name])) };
  }
  if (trailer !== undefined)
    return { algorithm: parseAlgorithm(trailer.slice(HEADER_PREFIX.length)), value: undefined };
  if (headers['x-amz-sdk-checksum-algorithm'] === undefined) return undefined;
  throw s3Error(
    'InvalidRequest',
    'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.',
  );
}

function trailerName(headers: Headers): string | undefined {
  const trailer = headers['x-amz-trailer'];
  if (trailer === undefined) return undefined;
  const name = String(trailer).trim().toLowerCase();
  if (name.startsWith(HEADER_PREFIX)) return name;
  throw s3Error('InvalidRequest', 'The value specified in the x-amz-trailer header is not supported');
}

/** @throws S3Error InvalidRequest unless `value` is the base64 of as many bytes as the algorithm gives. */
export function checkedValue(algorithm: ChecksumAlgorithm, value: string): string {
  const bytes = Buffer.from(value, 'base64');
  if (bytes.length === BYTES[algorithm] && bytes.toString('base64') === value) return value;
  throw s3Error('InvalidRequest', `Value for ${checksumHeader(algorithm)} header is invalid.`);
}

/** The checksum of checksums, as S3 computes it over the parts' raw digests. */
export function compositeChecksum(algorithm: ChecksumAlgorithm, parts: readonly string[]): Checksum {
  const digest = createDigest(algorithm);
  for (const part of parts) digest.update(Buffer.from(part, 'base64'));
  return {
    algorithm,
    type: 'COMPOSITE',
    value: `${digest.digest().toString('base64')}-${parts.length}`,
  };
}

/** The CRC-32 of all parts one after another, from each one's CRC-32 (base64) and size in bytes. */
export function fullObjectCrc32(parts: readonly { checksum: string; size: number }[]): Checksum {
  let value = 0;
  for (const { checksum, size } of parts)
    value = combineCrc32(value, Buffer.from(checksum, 'base64').readUInt32BE(), size);
  return { algorithm: 'CRC32', type: 'FULL_OBJECT', value: crc32Bytes(value).toString('base64') };
}
