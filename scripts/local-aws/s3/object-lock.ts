import type { Bucket } from './bucket.ts';
import type { ObjectVersion, Retention } from './object-record.ts';
import { header, type S3Request } from './s3-request.ts';
import { invalidArgument, s3Error } from './s3-error.ts';

const DAY_MILLISECONDS = 24 * 3600 * 1000;

export interface Lock {
  readonly retention?: Retention | undefined;
  readonly legalHold?: boolean | undefined;
}

/** The lock that a new object gets: from the request, else from the bucket's default. */
export function lockOf(request: S3Request, bucket: Bucket, now: number): Lock {
  const mode = header(request, 'x-amz-object-lock-mode');
  const until = header(request, 'x-amz-object-lock-retain-until-date');
  const hold = header(request, 'x-amz-object-lock-legal-hold');
  if (
    (mode !== undefined || until !== undefined || hold !== undefined) &&
    bucket.settings.objectLock === undefined
  )
    throw s3Error('InvalidRequest', 'Bucket is missing Object Lock Configuration');
  if ((mode === undefined) !== (until === undefined))
    throw invalidArgument(
      'x-amz-object-lock-retain-until-date',
      until ?? '',
      'x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied',
    );
  const legalHold = hold === undefined ? {} : { legalHold: hold === 'ON' };
  if (mode !== undefined && until !== undefined)
    return { retention: parseRetention(mode, until, now), ...legalHold };
  const fallback = bucket.settings.objectLock?.defaultRetention;
  if (fallback === undefined) return legalHold;
  return { retention: { mode: fallback.mode, until: now + fallback.days * DAY_MILLISECONDS }, ...legalHold };
}

/** @throws S3Error InvalidArgument */
export function parseRetention(mode: string, until: string, now: number): Retention {
  if (mode !== 'GOVERNANCE' && mode !== 'COMPLIANCE')
    throw invalidArgument('x-amz-object-lock-mode', mode, 'Unknown wormMode directive.');
  const time = Date.parse(until);
  if (Number.isNaN(time) || time <= now)
    throw invalidArgument(
      'x-amz-object-lock-retain-until-date',
      until,
      'The retain until date must be in the future!',
    );
  return { mode, until: time };
}

/** S3 takes a body that is to be locked only with a checksum. @throws S3Error InvalidRequest */
export function requireChecksumForLock(lock: Lock, hasChecksum: boolean, what: 'Object' | 'Part'): void {
  const isLocked = lock.retention !== undefined || lock.legalHold === true;
  if (isLocked && !hasChecksum)
    throw s3Error(
      'InvalidRequest',
      `Content-MD5 OR x-amz-checksum- HTTP header is required for Put ${what} requests with Object Lock parameters`,
    );
}

const isBypassed = (request: S3Request): boolean =>
  header(request, 'x-amz-bypass-governance-retention')?.toLowerCase() === 'true';

/** @throws S3Error AccessDenied while a version may not be removed. */
export function requireRemovable(request: S3Request, version: ObjectVersion, now: number): void {
  const { retention } = version;
  const isRetained =
    retention !== undefined &&
    retention.until > now &&
    !(retention.mode === 'GOVERNANCE' && isBypassed(request));
  if (isRetained || version.legalHold === true)
    throw s3Error('AccessDenied', 'Access Denied because object protected by object lock.');
}

/** A retention may be made longer; shorter or softer only with the right to bypass it. */
export function requireExtension(
  request: S3Request,
  before: Retention | undefined,
  after: Retention | undefined,
  now: number,
): void {
  if (before === undefined || before.until <= now) return;
  const isSofter = before.mode === 'COMPLIANCE' && after?.mode !== 'COMPLIANCE';
  const isShorter = (after?.until ?? 0) < before.until;
  if (!isSofter && !isShorter) return;
  if (before.mode === 'COMPLIANCE' || !isBypassed(request))
    throw s3Error('AccessDenied', 'Access Denied because object protected by object lock.');
}
