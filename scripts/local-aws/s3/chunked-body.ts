import { createHash } from 'node:crypto';
import { ByteReader } from './byte-reader.ts';
import { equalInConstantTime, type ChunkSigner } from './signature.ts';
import { s3Error } from './s3-error.ts';

export interface ChunkedOptions {
  /** Verifies each chunk's signature; `undefined` for STREAMING-UNSIGNED-PAYLOAD-TRAILER. */
  readonly signer: ChunkSigner | undefined;
  readonly hasTrailer: boolean;
  /** Sees each piece of payload before it is verified; may change it in place. */
  readonly onPayload: (piece: Buffer) => void;
  /** Receives the trailing headers, names in lower case. */
  readonly onTrailers: (trailers: ReadonlyMap<string, string>) => void;
}

const EMPTY_HASH = createHash('sha256').digest('hex');
const MAX_LINE = 4096;
/** S3 takes smaller ones only as the last before the end. */
const MIN_CHUNK = 8192;

/**
 * The payload of a body in `aws-chunked` encoding
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and sigv4-streaming-trailers.html).
 * A chunk is yielded before its signature is known, so the caller must drop what it got when this throws.
 *
 * @throws S3Error IncompleteBody, SignatureDoesNotMatch, InvalidChunkSizeError, MalformedTrailerError
 */
export async function* decodeChunks(
  source: AsyncIterable<Buffer>,
  options: ChunkedOptions,
): AsyncGenerator<Buffer> {
  const reader = new ByteReader(source);
  let signature = options.signer?.seed ?? '';
  let lastSize = MIN_CHUNK;
  for (;;) {
    const chunk = parseChunkHeader(await reader.line(MAX_LINE));
    if (chunk.size > 0 && lastSize < MIN_CHUNK)
      throw s3Error(
        'InvalidChunkSizeError',
        'Only the last chunk is allowed to have a size less than 8192 bytes',
      );
    lastSize = chunk.size;
    const hash = options.signer === undefined ? undefined : createHash('sha256');
    for (let rest = chunk.size; rest > 0;) {
      const piece = await reader.upTo(rest);
      rest -= piece.length;
      options.onPayload(piece);
      hash?.update(piece);
      yield piece;
    }
    if (options.signer !== undefined && hash !== undefined) {
      signature = options.signer.sign('PAYLOAD', signature, EMPTY_HASH, hash.digest('hex'));
      requireSignature(signature, chunk.signature);
    }
    if (chunk.size === 0) break;
    if ((await reader.line(0)) !== '') throw incompleteBody();
  }
  const trailers = await readTrailers(reader);
  if (options.hasTrailer) checkTrailers(trailers, options.signer, signature);
  options.onTrailers(trailers);
}

function parseChunkHeader(line: string): { size: number; signature: string } {
  const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]+))?$/.exec(line);
  if (match === null) throw incompleteBody();
  return { size: Number.parseInt(match[1] ?? '', 16), signature: match[2] ?? '' };
}

function requireSignature(expected: string, given: string): void {
  if (!equalInConstantTime(expected, given))
    throw s3Error(
      'SignatureDoesNotMatch',
      'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
    );
}

async function readTrailers(reader: ByteReader): Promise<Map<string, string>> {
  const trailers = new Map<string, string>();
  for (;;) {
    const line = await reader.line(MAX_LINE);
    if (line === '') return trailers;
    const colon = line.indexOf(':');
    if (colon < 1)
      throw s3Error('MalformedTrailerError', 'The request contained trailing data that was not well-formed.');
    trailers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
}

const TRAILER_SIGNATURE = 'x-amz-trailer-signature';

function checkTrailers(
  trailers: Map<string, string>,
  signer: ChunkSigner | undefined,
  previous: string,
): void {
  const given = trailers.get(TRAILER_SIGNATURE) ?? '';
  trailers.delete(TRAILER_SIGNATURE);
  if (signer === undefined) return;
  const canonical = [...trailers].map(([name, value]) => `${name}:${value}\n`).join('');
  const hash = createHash('sha256').update(canonical).digest('hex');
  requireSignature(signer.sign('TRAILER', previous, hash), given);
}

export const incompleteBody = (): Error =>
  s3Error(
    'IncompleteBody',
    'You did not provide the number of bytes specified by the Content-Length HTTP header',
  );
