import type { Checksum, ChecksumAlgorithm, ChecksumType } from './checksums.ts';

/** Bytes on disk; an object is its segments one after another (a multipart upload's parts are never copied together). */
export interface Segment {
  /** Name in the bucket's data folder. */
  readonly file: string;
  readonly size: number;
}

export interface Encryption {
  readonly algorithm: 'AES256' | 'aws:kms' | 'aws:kms:dsse';
  readonly keyId?: string | undefined;
  readonly bucketKey?: boolean | undefined;
}

/** What a client says about an object when it writes it, and gets back when it reads it. */
export interface ObjectAttributes {
  /** Content-Type, Cache-Control and the like, by lower-case header name. */
  readonly headers: Readonly<Record<string, string>>;
  /** `x-amz-meta-…`, without the prefix. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly storageClass: string;
  readonly encryption: Encryption;
}

export interface Retention {
  readonly mode: 'GOVERNANCE' | 'COMPLIANCE';
  /** Milliseconds since the epoch. */
  readonly until: number;
}

export interface ObjectVersion {
  /** `null` (the word) when written without versioning. */
  readonly versionId: string;
  readonly deleteMarker: boolean;
  /** Milliseconds since the epoch, whole seconds as in S3. */
  readonly modifiedAt: number;
  /** Without quotes. */
  readonly etag: string;
  readonly size: number;
  readonly segments: readonly Segment[];
  /** How many parts it was uploaded in; `undefined` when it was put whole. */
  readonly parts?: number | undefined;
  readonly checksum?: Checksum | undefined;
  readonly attributes: ObjectAttributes;
  readonly tags: Readonly<Record<string, string>>;
  readonly retention?: Retention | undefined;
  readonly legalHold?: boolean | undefined;
}

/** Everything under one key, newest first. */
export interface KeyRecord {
  readonly key: string;
  readonly versions: readonly ObjectVersion[];
}

export interface PartRecord {
  readonly partNumber: number;
  readonly etag: string;
  readonly size: number;
  readonly file: string;
  /** base64, of the upload's algorithm. */
  readonly checksum?: string | undefined;
  readonly modifiedAt: number;
}

export interface UploadRecord {
  readonly uploadId: string;
  readonly key: string;
  readonly initiatedAt: number;
  readonly checksumAlgorithm?: ChecksumAlgorithm | undefined;
  readonly checksumType?: ChecksumType | undefined;
  readonly attributes: ObjectAttributes;
  readonly tags: Readonly<Record<string, string>>;
  readonly retention?: Retention | undefined;
  readonly legalHold?: boolean | undefined;
}

export const NULL_VERSION = 'null';

/** S3 keeps times to the second. */
export const wholeSeconds = (milliseconds: number): number => Math.floor(milliseconds / 1000) * 1000;

const ATTRIBUTES_OF_A_MARKER: ObjectAttributes = {
  headers: {},
  metadata: {},
  storageClass: 'STANDARD',
  encryption: { algorithm: 'AES256' },
};

export function deleteMarker(versionId: string, now: number): ObjectVersion {
  return {
    versionId,
    deleteMarker: true,
    modifiedAt: wholeSeconds(now),
    etag: '',
    size: 0,
    segments: [],
    attributes: ATTRIBUTES_OF_A_MARKER,
    tags: {},
  };
}
