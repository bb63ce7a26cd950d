import type { Answer } from '../answer.ts';
import { xmlAnswer } from '../answer.ts';
import type { ObjectCall } from '../call.ts';
import { checksumElement } from '../checksums.ts';
import { checkReadConditions } from '../conditions.ts';
import { findVersion } from '../find-version.ts';
import { ARCHIVED_CLASSES, checksumHeaders, objectHeaders, versionHeader } from '../object-attributes.ts';
import type { ObjectVersion } from '../object-record.ts';
import { header, type S3Request } from '../s3-request.ts';
import { invalidArgument, s3Error } from '../s3-error.ts';
import { leaf, node, xmlDocument } from '../xml.ts';

export const getObject = (call: ObjectCall): Answer => readObject(call, true);
export const headObject = (call: ObjectCall): Answer => readObject(call, false);

interface Part {
  readonly start: number;
  readonly length: number;
}

function readObject(call: ObjectCall, withContent: boolean): Answer {
  const { request, bucket } = call;
  const version = findVersion(call);
  checkReadConditions(request, version);
  const part = requestedPart(request, version);
  const headers = {
    ...objectHeaders(bucket, version),
    ...overriddenHeaders(request),
    'x-amz-mp-parts-count': request.query.has('partNumber') ? version.parts?.toString() : undefined,
    ...(part === undefined
      ? { 'content-length': String(version.size) }
      : {
          'content-length': String(part.length),
          'content-range': `bytes ${part.start}-${part.start + part.length - 1}/${version.size}`,
        }),
    // A checksum of the whole says nothing about a part of it.
    ...(part === undefined && header(request, 'x-amz-checksum-mode')?.toUpperCase() === 'ENABLED'
      ? checksumHeaders(version)
      : {}),
  };
  const status = part === undefined ? 200 : 206;
  if (!withContent) return { status, headers };
  if (ARCHIVED_CLASSES.has(version.attributes.storageClass))
    throw s3Error('InvalidObjectState', "The operation is not valid for the object's storage class", {
      fields: { StorageClass: version.attributes.storageClass },
    });
  const { start, length } = part ?? { start: 0, length: version.size };
  return { status, headers, content: { data: bucket.data, segments: version.segments, start, length } };
}

function requestedPart(request: S3Request, version: ObjectVersion): Part | undefined {
  const partNumber = request.query.get('partNumber');
  if (partNumber !== null) return numberedPart(Number(partNumber), version);
  const range = header(request, 'range');
  return range === undefined ? undefined : parseRange(range, version.size);
}

/** The bytes of a Range header; `undefined` for one that S3 ignores. @throws S3Error InvalidRange */
function parseRange(range: string, size: number): Part | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(range.trim());
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined;
  if (start >= size || end < start)
    throw s3Error('InvalidRange', 'The requested range is not satisfiable', {
      fields: { RangeRequested: range, ActualObjectSize: String(size) },
      headers: { 'content-range': `bytes */${size}` },
    });
  return { start, length: end - start + 1 };
}

function numberedPart(partNumber: number, version: ObjectVersion): Part | undefined {
  const count = version.segments.length;
  if (!Number.isInteger(partNumber) || partNumber < 1)
    throw invalidArgument('partNumber', String(partNumber), 'Part number must be an integer of at least 1');
  if (partNumber > count)
    throw s3Error('InvalidRange', 'The requested partnumber is not satisfiable', {
      fields: { ActualPartCount: String(count), PartNumberRequested: String(partNumber) },
    });
  if (version.size === 0) return undefined;
  const sizes = version.segments.map(({ size }) => size);
  return {
    start: sizes.slice(0, partNumber - 1).reduce((sum, size) => sum + size, 0),
    length: sizes[partNumber - 1] ?? 0,
  };
}

const OVERRIDES = [
  'content-type',
  'content-language',
  'expires',
  'cache-control',
  'content-disposition',
  'content-encoding',
];

/** `?response-content-type=…` and the like. */
function overriddenHeaders({ query }: S3Request): Record<string, string> {
  return Object.fromEntries(
    OVERRIDES.flatMap((name): [string, string][] => {
      const value = query.get(`response-${name}`);
      return value === null ? [] : [[name, value]];
    }),
  );
}

/** GetObjectAttributes; without the list of parts. */
export function getObjectAttributes(call: ObjectCall): Answer {
  const version = findVersion(call);
  const wanted = new Set(
    (header(call.request, 'x-amz-object-attributes') ?? '').split(',').map((each) => each.trim()),
  );
  const { checksum } = version;
  const elements: Readonly<Record<string, string>> = {
    ETag: leaf('ETag', version.etag),
    Checksum:
      checksum === undefined
        ? ''
        : node(
            'Checksum',
            leaf(checksumElement(checksum.algorithm), checksum.value),
            leaf('ChecksumType', checksum.type),
          ),
    ObjectParts: version.parts === undefined ? '' : node('ObjectParts', leaf('PartsCount', version.parts)),
    StorageClass: leaf('StorageClass', version.attributes.storageClass),
    ObjectSize: leaf('ObjectSize', version.size),
  };
  const chosen = Object.entries(elements).flatMap(([name, xml]) => (wanted.has(name) ? [xml] : []));
  return xmlAnswer(xmlDocument('GetObjectAttributesResponse', ...chosen), {
    'last-modified': new Date(version.modifiedAt).toUTCString(),
    ...versionHeader(call.bucket, version.versionId),
  });
}
