import { emptyAnswer, type Answer } from '../answer.ts';
import { etagOf, newVersionId, type ObjectCall } from '../call.ts';
import { WriteCondition } from '../conditions.ts';
import type { IncomingFile } from '../data-folder.ts';
import { lockOf, requireChecksumForLock } from '../object-lock.ts';
import { attributesOf, checksumHeaders, encryptionHeaders, versionHeader } from '../object-attributes.ts';
import { wholeSeconds, type ObjectVersion } from '../object-record.ts';
import type { Received } from '../request-body.ts';
import { tagsOfHeader } from '../tags.ts';

/** Receives a body into a file of the bucket's; removes the file again when anything about the body is wrong. */
export async function receiveFile(
  call: ObjectCall,
  also?: 'CRC32' | 'SHA1' | 'SHA256',
): Promise<{ file: IncomingFile; received: Received }> {
  const file = await call.bucket.data.createIncoming();
  try {
    const received = await call.body.receive((chunk) => file.write(chunk), { md5: call.md5Etags, also });
    await file.close();
    return { file, received };
  } catch (error) {
    await file.discard();
    throw error;
  }
}

export async function putObject(call: ObjectCall): Promise<Answer> {
  const { request, bucket, key, now } = call;
  const condition = new WriteCondition(request, bucket, key);
  condition.check();
  const attributes = attributesOf(request, bucket, call.region);
  const lock = lockOf(request, bucket, now);
  requireChecksumForLock(lock, call.body.hasContentMd5 || call.body.declared !== undefined, 'Object');
  const tags = tagsOfHeader(request);
  const { file, received } = await receiveFile(call);
  try {
    condition.check();
  } catch (error) {
    await file.discard();
    throw error;
  }
  // From the check to here nothing is awaited: see state-files.ts.
  const version: ObjectVersion = {
    versionId: newVersionId(bucket),
    deleteMarker: false,
    modifiedAt: wholeSeconds(now),
    etag: etagOf(received.md5),
    size: received.size,
    segments: [{ file: bucket.data.keep(file), size: received.size }],
    checksum: received.checksum === undefined ? undefined : { ...received.checksum, type: 'FULL_OBJECT' },
    attributes,
    tags,
    ...lock,
  };
  bucket.keys.add(key, version);
  return emptyAnswer(200, {
    etag: `"${version.etag}"`,
    ...checksumHeaders(version),
    ...encryptionHeaders(attributes.encryption),
    ...versionHeader(bucket, version.versionId),
  });
}
