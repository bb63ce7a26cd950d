import { LifeboatError, type ErrorCode } from '../../../lib/domain/errors.ts';
import { ENV } from '../../../lib/domain/names.ts';

/** What was asked of S3, in the words of an IAM policy. */
export interface S3Request {
  /** As in `s3:PutObject`. */
  readonly action: string;
  /** As in `s3://bucket/prefix/key`. */
  readonly url: string;
}

/** A LifeboatError that also keeps S3's own word for it, on which a conditional write decides. */
export class S3Error extends LifeboatError {
  /** As in `NoSuchUpload`; the name of a network error otherwise. */
  readonly answer: string;
  readonly status: number | undefined;

  constructor(code: ErrorCode, message: string, fault: Fault, hint: string | undefined) {
    // The SDK's error carries the whole request, session token included: it must not travel on as the cause.
    super(code, message, hint === undefined ? {} : { hint });
    this.name = 'S3Error';
    this.answer = fault.name;
    this.status = fault.status;
  }
}

interface Fault {
  readonly name: string;
  readonly message: string;
  /** Node's, as in `ECONNRESET`. */
  readonly code: string | undefined;
  readonly status: number | undefined;
  readonly region: string | undefined;
  readonly attempts: number | undefined;
}

interface Rule {
  readonly code: ErrorCode;
  readonly says: string;
  readonly hint?: string | ((fault: Fault) => string);
}

const CHECK_KEYS =
  'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile or the instance role: aws sts get-caller-identity';

const REGION: Rule = {
  code: 'S3_FAILED',
  says: 'refused the region of',
  hint: ({ region }) =>
    region
      ? `The bucket lies in ${region}: export AWS_REGION=${region}`
      : 'Set AWS_REGION to the bucket’s region: aws s3api get-bucket-location --bucket <bucket>',
};
const NO_CREDENTIALS: Rule = { code: 'S3_DENIED', says: 'was given no credentials for', hint: CHECK_KEYS };
const EXPIRED: Rule = {
  code: 'S3_DENIED',
  says: 'refused the expired or invalid session of',
  hint: 'Renew the session (aws sso login), or set AWS_SESSION_TOKEN together with its keys, then run the command again.',
};
const DENIED: Rule = { code: 'S3_DENIED', says: 'denied' };
const UNAVAILABLE: Rule = { code: 'S3_UNAVAILABLE', says: 'did not answer' };
const MANGLED: Rule = {
  code: 'S3_FAILED',
  says: 'received other bytes than were sent by',
  hint: 'Something between here and S3 changes bytes: check the network, a proxy and this machine’s memory.',
};
const EXISTS: Rule = { code: 'OBJECT_EXISTS', says: 'holds another object already, so it refused' };

const RULES: Readonly<Record<string, Rule>> = {
  NoSuchBucket: { code: 'S3_NO_BUCKET', says: 'has no such bucket for' },
  NoSuchKey: { code: 'BACKUP_NOT_FOUND', says: 'has no such object for' },
  InvalidRange: { code: 'CORRUPT', says: 'holds fewer bytes than were asked for by' },
  InvalidAccessKeyId: { code: 'S3_DENIED', says: 'does not know the access key of', hint: CHECK_KEYS },
  SignatureDoesNotMatch: {
    code: 'S3_DENIED',
    says: 'refused the signature of',
    hint: `The secret key does not fit the access key. ${CHECK_KEYS}`,
  },
  CredentialsProviderError: NO_CREDENTIALS,
  TokenProviderError: NO_CREDENTIALS,
  ExpiredToken: EXPIRED,
  InvalidToken: EXPIRED,
  TokenRefreshRequired: EXPIRED,
  RequestTimeTooSkewed: {
    code: 'S3_DENIED',
    says: 'refused the time of',
    hint: 'This machine’s clock is wrong by more than 15 minutes: timedatectl status',
  },
  PermanentRedirect: REGION,
  AuthorizationHeaderMalformed: REGION,
  IllegalLocationConstraintException: REGION,
  InvalidStorageClass: { code: 'S3_FAILED', says: 'does not know the storage class of' },
  BadDigest: MANGLED,
  InvalidDigest: MANGLED,
  XAmzContentSHA256Mismatch: MANGLED,
  XAmzContentChecksumMismatch: MANGLED,
  IncompleteBody: MANGLED,
  TimeoutError: UNAVAILABLE,
  RequestTimeout: UNAVAILABLE,
  SlowDown: UNAVAILABLE,
  PreconditionFailed: EXISTS,
  ConditionalRequestConflict: EXISTS,
  AbortError: { code: 'S3_FAILED', says: 'was no longer asked for' },
};

/** S3's answers that another try may mend although the SDK does not try again by itself: bytes that changed on the way. */
export const PASSING_ANSWERS: ReadonlySet<string> = new Set([
  'BadDigest',
  'XAmzContentSHA256Mismatch',
  'XAmzContentChecksumMismatch',
  'IncompleteBody',
  'ConditionalRequestConflict',
  'OperationAborted',
]);

/** Whatever a call threw, as what the user can act on. What is neither S3's nor the network's answer is a defect. */
export function s3Error(thrown: unknown, request: S3Request): LifeboatError {
  if (thrown instanceof LifeboatError) return thrown;
  const fault = describeFault(thrown);
  const rule = ruleFor(fault);
  if (!rule) {
    return new LifeboatError('BUG', `${request.action} on ${request.url}: ${fault.name}: ${fault.message}`);
  }
  const status = fault.status === undefined ? '' : `, HTTP ${fault.status}`;
  const tries = (fault.attempts ?? 1) > 1 ? `, ${fault.attempts} tries` : '';
  const message = `S3 ${rule.says} ${request.action} on ${request.url}: ${fault.message} (${fault.name}${status}${tries})`;
  return new S3Error(rule.code, message, fault, hintOf(rule, fault));
}

function hintOf({ code, hint }: Rule, fault: Fault): string | undefined {
  if (code === 'S3_UNAVAILABLE' && isCertificateProblem(fault)) {
    return 'The server’s certificate is not trusted: name its authority’s file in NODE_EXTRA_CA_CERTS.';
  }
  if (fault.code === 'ENOTFOUND') {
    return `The name does not resolve: check AWS_REGION, AWS_ENDPOINT_URL_S3, ${ENV.s3Bucket} and the DNS.`;
  }
  return typeof hint === 'function' ? hint(fault) : hint;
}

function ruleFor(fault: Fault): Rule | undefined {
  const { name, status, code } = fault;
  const named = Object.hasOwn(RULES, name) ? RULES[name] : undefined;
  if (named) return named;
  if (code !== undefined) return UNAVAILABLE;
  if (status === undefined) return undefined;
  return ruleForStatus(status);
}

/** HEAD answers have no body, so no word: the status alone tells. */
function ruleForStatus(status: number): Rule {
  if (status === 301) return REGION;
  if (status === 403 || status === 401) return DENIED;
  if (status === 404) return RULES['NoSuchKey'] as Rule;
  if (status === 409 || status === 412) return EXISTS;
  if (status === 429 || status >= 500) return UNAVAILABLE;
  return { code: 'S3_FAILED', says: 'refused' };
}

function isCertificateProblem({ code }: Fault): boolean {
  return code !== undefined && /CERT|SIGNATURE|SELF_SIGNED|ERR_TLS|ERR_SSL/.test(code);
}

interface SdkError extends Error {
  readonly code?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
  readonly Region?: unknown;
}

function describeFault(thrown: unknown): Fault {
  const error = (isErrorLike(thrown) ? thrown : new Error(String(thrown))) as SdkError;
  const { code, $metadata: metadata, $response: response } = error;
  const region = error.Region ?? response?.headers?.['x-amz-bucket-region'];
  const message = error.message || (typeof code === 'string' ? code : 'no message');
  return {
    name: error.name === 'Error' && typeof code === 'string' ? code : error.name,
    message: message.replaceAll(/\s+/g, ' ').trim(),
    code: typeof code === 'string' && !isNodeDefect(code) ? code : undefined,
    status: metadata?.httpStatusCode,
    region: typeof region === 'string' && /^[a-z0-9-]+$/.test(region) ? region : undefined,
    attempts: metadata?.attempts,
  };
}

/** Errors of node:net may stem from another realm, where `instanceof` says no. */
function isErrorLike(thrown: unknown): thrown is Error {
  return typeof thrown === 'object' && thrown !== null && 'name' in thrown && 'message' in thrown;
}

/** Node's codes for wrong arguments and states: a defect of ours, not the network's. */
function isNodeDefect(code: string): boolean {
  return code.startsWith('ERR_INVALID') || code.startsWith('ERR_OUT_OF_RANGE') || code === 'MODULE_NOT_FOUND';
}
