import { emptyAnswer, xmlAnswer, type Answer } from '../answer.ts';
import { newVersionId, type BucketCall, type ObjectCall } from '../call.ts';
import { requireRemovable } from '../object-lock.ts';
import { deleteMarker, NULL_VERSION } from '../object-record.ts';
import { malformedXml, S3Error, s3Error } from '../s3-error.ts';
import { childrenOf, leaf, node, parseXml, textOf, xmlDocument } from '../xml.ts';

interface Deleted {
  /** The version that was removed, or the marker that was made. */
  readonly versionId?: string;
  readonly isMarker: boolean;
}

/** Synchronous, so that nothing comes between the check of a lock and the removal. */
function deleteOne(call: BucketCall, key: string, versionId: string | undefined): Deleted {
  const { bucket, request, now } = call;
  if (versionId !== undefined) {
    const version = bucket.keys.versions(key).find((each) => each.versionId === versionId);
    if (version === undefined) return { versionId, isMarker: false };
    requireRemovable(request, version, now);
    bucket.keys.remove(key, versionId);
    return { versionId, isMarker: version.deleteMarker };
  }
  if (bucket.settings.versioning === undefined) {
    if (bucket.keys.versions(key).length > 0) bucket.keys.remove(key, NULL_VERSION);
    return { isMarker: false };
  }
  const marker = deleteMarker(newVersionId(bucket), now);
  bucket.keys.add(key, marker);
  return { versionId: marker.versionId, isMarker: true };
}

export function deleteObject(call: ObjectCall): Answer {
  const { versionId, isMarker } = deleteOne(call, call.key, call.request.query.get('versionId') ?? undefined);
  return emptyAnswer(204, {
    'x-amz-version-id': versionId,
    'x-amz-delete-marker': isMarker ? 'true' : undefined,
  });
}

const MAX_KEYS = 1000;

/** DeleteObjects: up to a thousand at once, each with its own verdict. */
export async function deleteObjects(call: BucketCall): Promise<Answer> {
  if (!call.body.hasContentMd5 && call.body.declared === undefined)
    throw s3Error(
      'InvalidRequest',
      'Missing required header for this request: Content-MD5 OR x-amz-checksum-*',
    );
  const document = parseXml(await call.body.document(), 'Delete');
  const objects = childrenOf(document, 'Object');
  if (objects.length === 0 || objects.length > MAX_KEYS) throw malformedXml();
  const isQuiet = textOf(document, 'Quiet') === 'true';
  const results = objects.map((object) => {
    const key = textOf(object, 'Key');
    if (key === undefined || key === '') throw malformedXml();
    return resultOf(call, key, textOf(object, 'VersionId'), isQuiet);
  });
  return xmlAnswer(xmlDocument('DeleteResult', ...results));
}

function resultOf(call: BucketCall, key: string, versionId: string | undefined, isQuiet: boolean): string {
  const asked = leaf('Key', key) + leaf('VersionId', versionId);
  try {
    const deleted = deleteOne(call, key, versionId);
    if (isQuiet) return '';
    const marker = deleted.isMarker
      ? leaf('DeleteMarker', true) + leaf('DeleteMarkerVersionId', deleted.versionId)
      : '';
    return node('Deleted', asked, marker);
  } catch (error) {
    if (!(error instanceof S3Error)) throw error;
    return node('Error', asked, leaf('Code', error.code), leaf('Message', error.message));
  }
}
