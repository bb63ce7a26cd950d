import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { decodeUri, header, type S3Request } from './s3-request.ts';
import { s3Error } from './s3-error.ts';
import { readAuthorization, type Authorization } from './authorization.ts';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** What the signed chunks of a body are verified with: each signature covers the one before it. */
export interface ChunkSigner {
  readonly seed: string;
  sign(kind: 'PAYLOAD' | 'TRAILER', previous: string, ...hashes: readonly string[]): string;
}

export interface Verified {
  readonly accessKeyId: string;
  /** The value of x-amz-content-sha256; UNSIGNED-PAYLOAD for a presigned URL. */
  readonly payloadHash: string;
  readonly chunkSigner: ChunkSigner;
}

const MAX_SKEW_MILLISECONDS = 15 * 60 * 1000;

const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

/**
 * Verifies Signature Version 4 as S3 does: in the Authorization header or in the query of a presigned URL
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
 */
export class SignatureVerifier {
  readonly #region: string;
  readonly #credentials: ReadonlyMap<string, Credentials>;
  readonly #now: () => number;
  readonly #service: string;
  readonly #signingKeys = new Map<string, Buffer>();

  /** @param service whose signatures: the other services of the local AWS sign in the same way */
  constructor(region: string, credentials: readonly Credentials[], now: () => number, service = 's3') {
    this.#region = region;
    this.#service = service;
    this.#credentials = new Map(credentials.map((each) => [each.accessKeyId, each]));
    this.#now = now;
  }

  /** @throws S3Error with S3's own code for each way in which a signature can be wrong. */
  verify(request: S3Request): Verified {
    const authorization = readAuthorization(request);
    this.#checkTime(authorization);
    this.#checkScope(authorization);
    const credentials = this.#findCredentials(request, authorization);
    checkSignedHeaders(request, authorization);
    const key = this.#signingKey(authorization, credentials.secretAccessKey);
    const canonical = canonicalRequest(request, authorization);
    const expected = hmac(key, stringToSign(authorization, canonical)).toString('hex');
    if (!equalInConstantTime(expected, authorization.signature))
      throw s3Error(
        'SignatureDoesNotMatch',
        'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
        { fields: { AWSAccessKeyId: credentials.accessKeyId, CanonicalRequest: canonical } },
      );
    return {
      accessKeyId: credentials.accessKeyId,
      payloadHash: authorization.payloadHash,
      chunkSigner: chunkSigner(authorization, key),
    };
  }

  #checkTime({ time, date, expiresSeconds }: Authorization): void {
    const now = this.#now();
    if (expiresSeconds !== undefined && now > time + expiresSeconds * 1000)
      throw s3Error('AccessDenied', 'Request has expired');
    const early = time - now > MAX_SKEW_MILLISECONDS;
    if (early || (expiresSeconds === undefined && now - time > MAX_SKEW_MILLISECONDS))
      throw s3Error(
        'RequestTimeTooSkewed',
        'The difference between the request time and the current time is too large.',
        {
          fields: {
            RequestTime: date,
            ServerTime: new Date(now).toISOString(),
            MaxAllowedSkewMilliseconds: String(MAX_SKEW_MILLISECONDS),
          },
        },
      );
  }

  #checkScope({ scope, date, inQuery }: Authorization): void {
    const code = inQuery ? 'AuthorizationQueryParametersError' : 'AuthorizationHeaderMalformed';
    const malformed = (reason: string, fields: Record<string, string> = {}): Error =>
      s3Error(code, `The authorization header is malformed; ${reason}`, { fields });
    if (scope.service !== this.#service || scope.terminator !== 'aws4_request')
      throw malformed(`incorrect service "${scope.service}". This endpoint belongs to "${this.#service}".`);
    if (scope.region !== this.#region)
      throw malformed(`the region '${scope.region}' is wrong; expecting '${this.#region}'`, {
        Region: this.#region,
      });
    if (!date.startsWith(scope.date))
      throw malformed(`Invalid credential date "${scope.date}". This date is not the same as X-Amz-Date.`);
  }

  #findCredentials(request: S3Request, { accessKeyId }: Authorization): Credentials {
    const found = this.#credentials.get(accessKeyId);
    if (found === undefined)
      throw s3Error(
        'InvalidAccessKeyId',
        'The AWS Access Key Id you provided does not exist in our records.',
        { fields: { AWSAccessKeyId: accessKeyId } },
      );
    const token = header(request, 'x-amz-security-token') ?? request.query.get('X-Amz-Security-Token');
    if ((token ?? '') !== (found.sessionToken ?? ''))
      throw s3Error('InvalidToken', 'The provided token is malformed or otherwise invalid.');
    return found;
  }

  /** Kept per day: deriving it takes four HMACs, a request one. */
  #signingKey({ scope }: Authorization, secret: string): Buffer {
    const id = `${scope.date}/${secret}`;
    const known = this.#signingKeys.get(id);
    if (known !== undefined) return known;
    const key = [scope.date, scope.region, scope.service, scope.terminator].reduce<string | Buffer>(
      hmac,
      `AWS4${secret}`,
    ) as Buffer;
    this.#signingKeys.set(id, key);
    return key;
  }
}

/** S3 refuses what could have been added on the way: every x-amz- header must be signed. */
function checkSignedHeaders(request: S3Request, { signedHeaders, inQuery }: Authorization): void {
  const required = Object.keys(request.headers).filter(
    (name) => name === 'host' || (name.startsWith('x-amz-') && !inQuery),
  );
  const missing = required.filter((name) => !signedHeaders.includes(name));
  if (missing.length > 0)
    throw s3Error('AccessDenied', 'There were headers present in the request which were not signed', {
      fields: { HeadersNotSigned: missing.join(', ') },
    });
}

function stringToSign({ algorithm, date, scope }: Authorization, canonical: string): string {
  // Header values arrive as Latin-1; hashing them as such gives back the bytes that were sent.
  const hash = createHash('sha256').update(canonical, 'latin1').digest('hex');
  return [algorithm, date, scopePath(scope), hash].join('\n');
}

const scopePath = ({ date, region, service, terminator }: Authorization['scope']): string =>
  [date, region, service, terminator].join('/');

function canonicalRequest(request: S3Request, authorization: Authorization): string {
  const headers = authorization.signedHeaders.map(
    (name) => `${name}:${(header(request, name) ?? '').trim().replace(/ +/g, ' ')}\n`,
  );
  return [
    request.method,
    request.rawPath.split('/').map(canonicalEncoding).join('/'),
    canonicalQuery(request.rawQuery),
    headers.join(''),
    authorization.signedHeaders.join(';'),
    authorization.payloadHash,
  ].join('\n');
}

function canonicalQuery(rawQuery: string): string {
  if (rawQuery === '') return '';
  const pairs = rawQuery.split('&').map((pair): [string, string] => {
    const equals = pair.indexOf('=');
    const [name, value] = equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
    return [canonicalEncoding(name), canonicalEncoding(value.replaceAll('+', '%20'))];
  });
  return pairs
    .filter(([name]) => name !== 'X-Amz-Signature')
    .sort((a, b) => (a[0] === b[0] ? compareAscii(a[1], b[1]) : compareAscii(a[0], b[0])))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

const compareAscii = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Whatever the client chose to escape, the signature covers the RFC 3986 form. */
function canonicalEncoding(text: string): string {
  return encodeURIComponent(decodeUri(text)).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function chunkSigner({ date, scope, signature }: Authorization, key: Buffer): ChunkSigner {
  return {
    seed: signature,
    sign: (kind, previous, ...hashes) =>
      hmac(
        key,
        [`AWS4-HMAC-SHA256-${kind}`, date, scopePath(scope), previous, ...hashes].join('\n'),
      ).toString('hex'),
  };
}

export function equalInConstantTime(expected: string, given: string): boolean {
  const left = Buffer.from(expected);
  const right = Buffer.from(given);
  return left.length === right.length && timingSafeEqual(left, right);
}
