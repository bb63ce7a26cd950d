import { emptyAnswer, xmlAnswer, type Answer } from '../answer.ts';
import type { Call, ObjectCall } from '../call.ts';
import { findVersion } from '../find-version.ts';
import { parseRetention, requireExtension } from '../object-lock.ts';
import { versionHeader } from '../object-attributes.ts';
import type { ObjectVersion } from '../object-record.ts';
import { malformedXml, s3Error } from '../s3-error.ts';
import { tagSetXml, tagsOfDocument } from '../tags.ts';
import { leaf, parseXml, textOf, xmlDocument } from '../xml.ts';

/** What can be changed about an object that is already there: tags, retention, legal hold. */

export function getObjectTagging(call: ObjectCall): Answer {
  const version = findVersion(call);
  return xmlAnswer(
    xmlDocument('Tagging', tagSetXml(version.tags)),
    versionHeader(call.bucket, version.versionId),
  );
}

export async function putObjectTagging(call: ObjectCall): Promise<Answer> {
  const tags = tagsOfDocument(await call.body.document());
  return change(call, (version) => ({ ...version, tags }), 200);
}

export function deleteObjectTagging(call: ObjectCall): Answer {
  return change(call, (version) => ({ ...version, tags: {} }), 204);
}

export function getObjectRetention(call: ObjectCall): Answer {
  requireLockSupport(call);
  const { retention } = findVersion(call);
  if (retention === undefined) throw noLockSettings();
  return xmlAnswer(
    xmlDocument(
      'Retention',
      leaf('Mode', retention.mode),
      leaf('RetainUntilDate', new Date(retention.until).toISOString()),
    ),
  );
}

export async function putObjectRetention(call: ObjectCall): Promise<Answer> {
  requireLockSupport(call);
  const document = parseXml(await call.body.document(), 'Retention');
  const mode = textOf(document, 'Mode');
  const until = textOf(document, 'RetainUntilDate');
  if ((mode === undefined) !== (until === undefined)) throw malformedXml();
  const retention =
    mode === undefined || until === undefined ? undefined : parseRetention(mode, until, call.now);
  return change(
    call,
    (version) => {
      requireExtension(call.request, version.retention, retention, call.now);
      return { ...version, retention };
    },
    200,
  );
}

export function getObjectLegalHold(call: ObjectCall): Answer {
  requireLockSupport(call);
  const { legalHold } = findVersion(call);
  if (legalHold === undefined) throw noLockSettings();
  return xmlAnswer(xmlDocument('LegalHold', leaf('Status', legalHold ? 'ON' : 'OFF')));
}

export async function putObjectLegalHold(call: ObjectCall): Promise<Answer> {
  requireLockSupport(call);
  const status = textOf(parseXml(await call.body.document(), 'LegalHold'), 'Status');
  if (status !== 'ON' && status !== 'OFF') throw malformedXml();
  return change(call, (version) => ({ ...version, legalHold: status === 'ON' }), 200);
}

function change(
  call: ObjectCall,
  make: (version: ObjectVersion) => ObjectVersion,
  status: 200 | 204,
): Answer {
  const version = findVersion(call);
  call.bucket.keys.replace(call.key, make(version));
  return emptyAnswer(status, versionHeader(call.bucket, version.versionId));
}

const noLockSettings = (): Error =>
  s3Error('NoSuchObjectLockConfiguration', 'The specified object does not have a ObjectLock configuration');

function requireLockSupport({ bucket }: Call & Pick<ObjectCall, 'bucket'>): void {
  if (bucket.settings.objectLock === undefined)
    throw s3Error('InvalidRequest', 'Bucket is missing Object Lock Configuration');
}
