import type { IncomingMessage } from 'node:http';
import {
  checkedValue,
  createDigest,
  declaredChecksum,
  type ChecksumAlgorithm,
  type DeclaredChecksum,
  type Digest,
} from './checksums.ts';
import { decodeChunks, incompleteBody } from './chunked-body.ts';
import { crawl, effectOf, type Line } from './faults.ts';
import { invalidArgument, s3Error } from './s3-error.ts';
import { checksumHeader } from './checksums.ts';
import type { Verified } from './signature.ts';

/** A connection that a fault closes: nobody is answered. */
export class ConnectionCut extends Error {}

export interface Received {
  readonly size: number;
  /** Raw, when it was asked for or sent. */
  readonly md5: Buffer | undefined;
  /** The checksum that the client declared: verified. */
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly value: string } | undefined;
  /** base64, of the algorithms that were asked for. */
  readonly computed: ReadonlyMap<ChecksumAlgorithm, string>;
}

export interface ReceiveOptions {
  readonly md5?: boolean;
  readonly also?: ChecksumAlgorithm | undefined;
}

export interface BodyOptions {
  readonly line: Line;
  /** Called before the first byte is read: answers `Expect: 100-continue`. */
  readonly onStart: () => void;
  /** CompleteMultipartUpload: the checksum header is of the object that the parts make, not of the request's body. */
  readonly checksumIsOfObject: boolean;
}

const MAX_BODY = 5 * 1024 ** 3;
const MAX_DOCUMENT = 8 * 1024 ** 2;
const SHA256_HEX = /^[0-9a-f]{64}$/;
const STREAMING = /^STREAMING-(AWS4-HMAC-SHA256-PAYLOAD(?:-TRAILER)?|UNSIGNED-PAYLOAD-TRAILER)$/;

/** The body of one request: decoded, counted, and verified against everything the client said about it. */
export class RequestBody {
  readonly #message: IncomingMessage;
  readonly #verified: Verified;
  readonly #line: Line;
  readonly #onStart: () => void;
  /** What the client says about this body's checksum. */
  readonly declared: DeclaredChecksum | undefined;

  /** @throws S3Error InvalidRequest for contradictory checksum headers. */
  constructor(message: IncomingMessage, verified: Verified, options: BodyOptions) {
    this.#message = message;
    this.#verified = verified;
    this.#line = options.line;
    this.#onStart = options.onStart;
    this.declared = options.checksumIsOfObject ? undefined : declaredChecksum(message.headers);
  }

  get hasContentMd5(): boolean {
    return this.#message.headers['content-md5'] !== undefined;
  }

  /**
   * Feeds the whole body to `write`. What was written must be dropped when this throws.
   * @throws S3Error BadDigest, InvalidDigest, XAmzContentSHA256Mismatch, IncompleteBody, MissingContentLength, …
   */
  async receive(
    write: (chunk: Buffer) => Promise<void> | void,
    options: ReceiveOptions = {},
  ): Promise<Received> {
    const contentMd5 = this.#contentMd5();
    const expected = this.#expectedSize();
    const digests = this.#digests(options, contentMd5 !== undefined);
    let trailers: ReadonlyMap<string, string> = new Map();
    let size = 0;
    this.#onStart();
    for await (const chunk of this.#payload((found) => (trailers = found))) {
      size += chunk.length;
      if (size > expected) throw incompleteBody();
      for (const digest of digests.values()) digest.update(chunk);
      await write(chunk);
    }
    if (size !== expected) throw incompleteBody();
    const results = new Map([...digests].map(([name, digest]) => [name, digest.digest()]));
    this.#checkPayloadHash(results.get('SHA256'));
    if (contentMd5 !== undefined && results.get('MD5')?.equals(contentMd5) !== true)
      throw s3Error('BadDigest', 'The Content-MD5 you specified did not match what we received.');
    return {
      size,
      md5: results.get('MD5'),
      checksum: this.#checkDeclared(results, trailers),
      computed: new Map(
        [...results].flatMap(([name, value]) => (name === 'MD5' ? [] : [[name, value.toString('base64')]])),
      ),
    };
  }

  /** A small XML or JSON body. */
  async document(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let size = 0;
    await this.receive((chunk) => {
      size += chunk.length;
      if (size > MAX_DOCUMENT) throw s3Error('EntityTooLarge', 'The document is too large');
      chunks.push(chunk);
    });
    return Buffer.concat(chunks);
  }

  #contentMd5(): Buffer | undefined {
    const value = this.#message.headers['content-md5'];
    if (value === undefined) return undefined;
    const bytes = Buffer.from(String(value), 'base64');
    if (bytes.length !== 16) throw s3Error('InvalidDigest', 'The Content-MD5 you specified was invalid.');
    return bytes;
  }

  #expectedSize(): number {
    const { headers } = this.#message;
    const isChunked = STREAMING.test(this.#verified.payloadHash);
    const value = isChunked ? headers['x-amz-decoded-content-length'] : headers['content-length'];
    const size = value === undefined ? this.#sizeWithoutLength(isChunked) : Number(value);
    if (!Number.isSafeInteger(size) || size < 0)
      throw invalidArgument('Content-Length', String(value), 'The length is not a number.');
    if (size > MAX_BODY)
      throw s3Error('EntityTooLarge', 'Your proposed upload exceeds the maximum allowed size', {
        fields: { ProposedSize: String(size), MaxSizeAllowed: String(MAX_BODY) },
      });
    return size;
  }

  /** A request without any body may leave the length out; a stream may not. */
  #sizeWithoutLength(isChunked: boolean): number {
    if (!isChunked && this.#message.headers['transfer-encoding'] === undefined) return 0;
    throw s3Error('MissingContentLength', 'You must provide the Content-Length HTTP header.');
  }

  #digests(options: ReceiveOptions, hasMd5: boolean): Map<ChecksumAlgorithm | 'MD5', Digest> {
    const names = new Set<ChecksumAlgorithm | 'MD5'>();
    if (options.md5 === true || hasMd5) names.add('MD5');
    if (options.also !== undefined) names.add(options.also);
    if (this.declared !== undefined) names.add(this.declared.algorithm);
    if (SHA256_HEX.test(this.#verified.payloadHash)) names.add('SHA256');
    return new Map([...names].map((name) => [name, createDigest(name)]));
  }

  #payload(onTrailers: (trailers: ReadonlyMap<string, string>) => void): AsyncIterable<Buffer> {
    const { payloadHash, chunkSigner } = this.#verified;
    const onPayload = flipper(effectOf(this.#line.effects, 'flip-request')?.offset);
    const wire = this.#wire();
    if (STREAMING.test(payloadHash))
      return decodeChunks(wire, {
        signer: payloadHash.startsWith('STREAMING-UNSIGNED') ? undefined : chunkSigner,
        hasTrailer: payloadHash.endsWith('-TRAILER'),
        onPayload,
        onTrailers,
      });
    if (payloadHash !== 'UNSIGNED-PAYLOAD' && !SHA256_HEX.test(payloadHash))
      throw invalidArgument(
        'x-amz-content-sha256',
        payloadHash,
        'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD or a valid sha256 value.',
      );
    return tapped(wire, onPayload);
  }

  /** The bytes as they arrive, with the faults of the line. */
  async *#wire(): AsyncGenerator<Buffer> {
    const cut = effectOf(this.#line.effects, 'cut-request');
    const bandwidth = effectOf(this.#line.effects, 'bandwidth');
    let received = 0;
    // Destroying the request at the first wrong byte would take the connection with it, and the answer.
    const chunks = this.#message.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    for await (const chunk of chunks) {
      received += chunk.length;
      if (cut !== undefined && received >= cut.afterBytes) throw new ConnectionCut('cut while receiving');
      if (bandwidth !== undefined) await crawl(chunk.length, bandwidth.bytesPerSecond, this.#line);
      yield chunk;
    }
    if (cut !== undefined) throw new ConnectionCut('cut after receiving');
  }

  #checkPayloadHash(sha256: Buffer | undefined): void {
    const { payloadHash } = this.#verified;
    if (!SHA256_HEX.test(payloadHash)) return;
    const computed = sha256?.toString('hex') ?? '';
    if (computed !== payloadHash)
      throw s3Error(
        'XAmzContentSHA256Mismatch',
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
        { fields: { ClientComputedContentSHA256: payloadHash, S3ComputedContentSHA256: computed } },
      );
  }

  #checkDeclared(
    results: ReadonlyMap<string, Buffer>,
    trailers: ReadonlyMap<string, string>,
  ): Received['checksum'] {
    if (this.declared === undefined) return undefined;
    const { algorithm } = this.declared;
    const given = this.declared.value ?? trailers.get(checksumHeader(algorithm));
    if (given === undefined)
      throw s3Error(
        'MalformedTrailerError',
        'The request did not contain the trailer named in x-amz-trailer.',
      );
    const value = results.get(algorithm)?.toString('base64') ?? '';
    if (checkedValue(algorithm, given) !== value)
      throw s3Error('BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`);
    return { algorithm, value };
  }
}

async function* tapped(
  source: AsyncIterable<Buffer>,
  onPiece: (piece: Buffer) => void,
): AsyncGenerator<Buffer> {
  for await (const piece of source) {
    onPiece(piece);
    yield piece;
  }
}

/** Inverts the lowest bit of the byte at `offset` of all pieces it sees, in place. */
export function flipper(offset: number | undefined): (piece: Buffer) => void {
  let position = 0;
  return (piece) => {
    const index = offset === undefined ? -1 : offset - position;
    position += piece.length;
    if (index >= 0 && index < piece.length) piece[index] = (piece[index] ?? 0) ^ 1;
  };
}
