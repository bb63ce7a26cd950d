import { emptyAnswer, xmlAnswer, type Answer } from '../answer.ts';
import type { BucketSettings, DefaultRetention, StoredDocument } from '../bucket.ts';
import type { BucketCall, Handler } from '../call.ts';
import { malformedXml, s3Error, type S3ErrorCode } from '../s3-error.ts';
import { childOf, leaf, node, parseXml, textOf, xmlDocument, type XmlElement } from '../xml.ts';

export function getBucketVersioning({ bucket }: BucketCall): Answer {
  return xmlAnswer(xmlDocument('VersioningConfiguration', leaf('Status', bucket.settings.versioning)));
}

export async function putBucketVersioning({ bucket, body }: BucketCall): Promise<Answer> {
  const status = textOf(parseXml(await body.document(), 'VersioningConfiguration'), 'Status');
  if (status !== 'Enabled' && status !== 'Suspended') throw malformedXml();
  if (status === 'Suspended' && bucket.settings.objectLock !== undefined)
    throw s3Error(
      'InvalidBucketState',
      'An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.',
    );
  bucket.change({ versioning: status });
  return emptyAnswer(200);
}

export function getObjectLockConfiguration({ bucket }: BucketCall): Answer {
  const { objectLock } = bucket.settings;
  if (objectLock === undefined)
    throw s3Error(
      'ObjectLockConfigurationNotFoundError',
      'Object Lock configuration does not exist for this bucket',
      { fields: { BucketName: bucket.name } },
    );
  const { defaultRetention } = objectLock;
  const rule =
    defaultRetention === undefined
      ? ''
      : node(
          'Rule',
          node('DefaultRetention', leaf('Mode', defaultRetention.mode), leaf('Days', defaultRetention.days)),
        );
  return xmlAnswer(xmlDocument('ObjectLockConfiguration', leaf('ObjectLockEnabled', 'Enabled'), rule));
}

export async function putObjectLockConfiguration({ bucket, body }: BucketCall): Promise<Answer> {
  const document = parseXml(await body.document(), 'ObjectLockConfiguration');
  if (textOf(document, 'ObjectLockEnabled') !== 'Enabled') throw malformedXml();
  if (bucket.settings.versioning !== 'Enabled')
    throw s3Error(
      'InvalidBucketState',
      "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
    );
  const retention = childOf(childOf(document, 'Rule'), 'DefaultRetention');
  bucket.change({
    objectLock: retention === undefined ? {} : { defaultRetention: parseDefaultRetention(retention) },
  });
  return emptyAnswer(200);
}

function parseDefaultRetention(element: XmlElement): DefaultRetention {
  const mode = textOf(element, 'Mode');
  const years = textOf(element, 'Years');
  const days = years === undefined ? Number(textOf(element, 'Days') ?? 0) : Number(years) * 365;
  if ((mode !== 'GOVERNANCE' && mode !== 'COMPLIANCE') || !Number.isInteger(days) || days < 1)
    throw malformedXml();
  return { mode, days };
}

interface DocumentKind {
  readonly name: StoredDocument;
  /** The XML root element; `undefined` for JSON. */
  readonly root: string | undefined;
  readonly missing: readonly [S3ErrorCode, string];
  /** S3's status for a PUT that succeeded. */
  readonly putStatus: 200 | 204;
}

const DOCUMENTS: Readonly<Record<StoredDocument, DocumentKind>> = {
  lifecycle: {
    name: 'lifecycle',
    root: 'LifecycleConfiguration',
    missing: ['NoSuchLifecycleConfiguration', 'The lifecycle configuration does not exist'],
    putStatus: 200,
  },
  policy: {
    name: 'policy',
    root: undefined,
    missing: ['NoSuchBucketPolicy', 'The bucket policy does not exist'],
    putStatus: 204,
  },
  publicAccessBlock: {
    name: 'publicAccessBlock',
    root: 'PublicAccessBlockConfiguration',
    missing: ['NoSuchPublicAccessBlockConfiguration', 'The public access block configuration was not found'],
    putStatus: 200,
  },
  encryption: {
    name: 'encryption',
    root: 'ServerSideEncryptionConfiguration',
    missing: [
      'ServerSideEncryptionConfigurationNotFoundError',
      'The server side encryption configuration was not found',
    ],
    putStatus: 200,
  },
  tagging: {
    name: 'tagging',
    root: 'Tagging',
    missing: ['NoSuchTagSet', 'The TagSet does not exist'],
    putStatus: 204,
  },
};

/** What S3 applies, and says, where nobody configured encryption. */
const DEFAULT_ENCRYPTION = xmlDocument(
  'ServerSideEncryptionConfiguration',
  node(
    'Rule',
    node('ApplyServerSideEncryptionByDefault', leaf('SSEAlgorithm', 'AES256')),
    leaf('BucketKeyEnabled', false),
  ),
);

/** Get, put and delete of a document that is checked for form, kept, and given back as it came. */
export function documentHandlers(
  name: StoredDocument,
): Record<'get' | 'put' | 'remove', Handler<BucketCall>> {
  const kind = DOCUMENTS[name];
  return {
    get: ({ bucket }) => {
      const text = textFor(bucket.settings, kind);
      if (text === undefined)
        throw s3Error(kind.missing[0], kind.missing[1], { fields: { BucketName: bucket.name } });
      return xmlAnswer(text, kind.root === undefined ? { 'content-type': 'application/json' } : {});
    },
    put: async ({ bucket, body }) => {
      const document = await body.document();
      checkForm(document, kind.root);
      bucket.setDocument(name, document.toString('utf8'));
      return emptyAnswer(kind.putStatus);
    },
    remove: ({ bucket }) => {
      bucket.setDocument(name, undefined);
      return emptyAnswer(204);
    },
  };
}

function textFor({ documents }: BucketSettings, { name }: DocumentKind): string | undefined {
  return documents[name] ?? (name === 'encryption' ? DEFAULT_ENCRYPTION : undefined);
}

function checkForm(document: Buffer, root: string | undefined): void {
  if (root !== undefined) {
    parseXml(document, root);
    return;
  }
  try {
    JSON.parse(document.toString('utf8'));
  } catch {
    throw s3Error('MalformedPolicy', 'This policy contains invalid Json');
  }
}
