import { header, type S3Request } from './s3-request.ts';
import { s3Error } from './s3-error.ts';

export interface Authorization {
  readonly algorithm: string;
  readonly accessKeyId: string;
  readonly scope: {
    readonly date: string;
    readonly region: string;
    readonly service: string;
    readonly terminator: string;
  };
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  /** As sent, `20260117T020000Z`, and in milliseconds since the epoch. */
  readonly date: string;
  readonly time: number;
  readonly payloadHash: string;
  readonly inQuery: boolean;
  /** Presigned URLs only. */
  readonly expiresSeconds?: number;
}

const ALGORITHM = 'AWS4-HMAC-SHA256';
const MAX_EXPIRES_SECONDS = 7 * 24 * 3600;

/** @throws S3Error AccessDenied for an anonymous request, AuthorizationHeaderMalformed and the like for a wrong one. */
export function readAuthorization(request: S3Request): Authorization {
  const value = header(request, 'authorization');
  if (value !== undefined) return fromHeader(request, value);
  if (request.query.has('X-Amz-Signature')) return fromQuery(request);
  throw s3Error('AccessDenied', 'Access Denied');
}

function fromHeader(request: S3Request, value: string): Authorization {
  if (!value.startsWith(`${ALGORITHM} `))
    throw s3Error(
      'InvalidRequest',
      'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.',
    );
  const fields = new Map(
    value
      .slice(ALGORITHM.length)
      .split(',')
      .map((field): [string, string] => {
        const [name = '', ...rest] = field.trim().split('=');
        return [name, rest.join('=')];
      }),
  );
  const date = header(request, 'x-amz-date') ?? '';
  const payloadHash = header(request, 'x-amz-content-sha256');
  if (payloadHash === undefined)
    throw s3Error('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
  return {
    algorithm: ALGORITHM,
    ...parseCredential(fields.get('Credential'), 'AuthorizationHeaderMalformed'),
    signedHeaders: (fields.get('SignedHeaders') ?? '').split(';'),
    signature: fields.get('Signature') ?? '',
    date,
    time: parseTime(date),
    payloadHash,
    inQuery: false,
  };
}

function fromQuery(request: S3Request): Authorization {
  const { query } = request;
  const date = query.get('X-Amz-Date') ?? '';
  const expiresSeconds = Number(query.get('X-Amz-Expires') ?? Number.NaN);
  const isValid = expiresSeconds >= 0 && expiresSeconds <= MAX_EXPIRES_SECONDS;
  if (query.get('X-Amz-Algorithm') !== ALGORITHM || !isValid)
    throw s3Error(
      'AuthorizationQueryParametersError',
      'X-Amz-Algorithm must be AWS4-HMAC-SHA256 and X-Amz-Expires between 0 and 604800 seconds',
    );
  return {
    algorithm: ALGORITHM,
    ...parseCredential(query.get('X-Amz-Credential') ?? undefined, 'AuthorizationQueryParametersError'),
    signedHeaders: (query.get('X-Amz-SignedHeaders') ?? '').split(';'),
    signature: query.get('X-Amz-Signature') ?? '',
    date,
    time: parseTime(date),
    payloadHash:
      query.get('X-Amz-Content-Sha256') ?? header(request, 'x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD',
    inQuery: true,
    expiresSeconds,
  };
}

function parseCredential(
  credential: string | undefined,
  code: 'AuthorizationHeaderMalformed' | 'AuthorizationQueryParametersError',
): Pick<Authorization, 'accessKeyId' | 'scope'> {
  const [accessKeyId, date, region, service, terminator, ...rest] = (credential ?? '').split('/');
  if (!accessKeyId || !date || !region || !service || !terminator || rest.length > 0)
    throw s3Error(
      code,
      'The Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
    );
  return { accessKeyId, scope: { date, region, service, terminator } };
}

function parseTime(date: string): number {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date);
  if (match === null)
    throw s3Error('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
  const [, year, month, day, hour, minute, second] = match;
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}
