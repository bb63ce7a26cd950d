import type { Bucket } from './bucket.ts';
import type { ObjectVersion } from './object-record.ts';
import { header, type S3Request } from './s3-request.ts';
import { s3Error } from './s3-error.ts';

const preconditionFailed = (condition: string): Error =>
  s3Error('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold', {
    fields: { Condition: condition },
  });

const unquoted = (etag: string): string =>
  etag
    .trim()
    .replace(/^W\//, '')
    .replace(/^"(.*)"$/, '$1');

const matchesEtag = (list: string, etag: string): boolean =>
  list.split(',').some((each) => each.trim() === '*' || unquoted(each) === etag);

/** Conditions of GET and HEAD. @throws S3Error PreconditionFailed, NotModified */
export function checkReadConditions(request: S3Request, version: ObjectVersion): void {
  const ifMatch = header(request, 'if-match');
  const ifNoneMatch = header(request, 'if-none-match');
  const modifiedSince = Date.parse(header(request, 'if-modified-since') ?? '');
  const unmodifiedSince = Date.parse(header(request, 'if-unmodified-since') ?? '');
  if (ifMatch !== undefined) {
    if (!matchesEtag(ifMatch, version.etag)) throw preconditionFailed('If-Match');
  } else if (version.modifiedAt > unmodifiedSince) throw preconditionFailed('If-Unmodified-Since');
  const isUnchanged =
    ifNoneMatch === undefined ? version.modifiedAt <= modifiedSince : matchesEtag(ifNoneMatch, version.etag);
  if (isUnchanged)
    throw s3Error('NotModified', 'Not Modified', {
      headers: { etag: `"${version.etag}"`, 'last-modified': new Date(version.modifiedAt).toUTCString() },
    });
}

/**
 * The condition of a write, checked before its body is read and once more, synchronously with the commit: of several
 * writers that wait for their bodies only the first finds the key free.
 */
export class WriteCondition {
  readonly #bucket: Bucket;
  readonly #key: string;
  readonly #ifNoneMatch: boolean;
  readonly #ifMatch: string | undefined;
  readonly #removalsAtStart: number;

  /** @throws S3Error NotImplemented for an If-None-Match other than `*`. */
  constructor(request: S3Request, bucket: Bucket, key: string) {
    const ifNoneMatch = header(request, 'if-none-match');
    if (ifNoneMatch !== undefined && ifNoneMatch.trim() !== '*')
      throw s3Error('NotImplemented', 'A header you provided implies functionality that is not implemented', {
        fields: { Header: 'If-None-Match' },
      });
    this.#bucket = bucket;
    this.#key = key;
    this.#ifNoneMatch = ifNoneMatch !== undefined;
    this.#ifMatch = header(request, 'if-match');
    this.#removalsAtStart = bucket.keys.removalCount;
  }

  /** @throws S3Error PreconditionFailed, ConditionalRequestConflict, NoSuchKey */
  check(): void {
    if (!this.#ifNoneMatch && this.#ifMatch === undefined) return;
    const current = this.#bucket.keys.current(this.#key);
    if (this.#ifNoneMatch && current !== undefined) throw preconditionFailed('If-None-Match');
    if (this.#bucket.keys.wasRemovedSince(this.#key, this.#removalsAtStart))
      throw s3Error(
        'ConditionalRequestConflict',
        'The conditional request cannot succeed due to a conflicting operation against this resource.',
        { fields: { Condition: this.#ifNoneMatch ? 'If-None-Match' : 'If-Match', Key: this.#key } },
      );
    if (this.#ifMatch === undefined) return;
    if (current === undefined)
      throw s3Error('NoSuchKey', 'The specified key does not exist.', { fields: { Key: this.#key } });
    if (!matchesEtag(this.#ifMatch, current.etag)) throw preconditionFailed('If-Match');
  }
}
