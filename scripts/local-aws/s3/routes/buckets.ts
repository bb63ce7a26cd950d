import { emptyAnswer, xmlAnswer, type Answer } from '../answer.ts';
import type { BucketCall, Call } from '../call.ts';
import { ownerXml } from '../listing.ts';
import { header } from '../s3-request.ts';
import { s3Error } from '../s3-error.ts';
import { leaf, node, parseXml, textOf, xmlDocument } from '../xml.ts';

export function listBuckets({ store, region }: Call): Answer {
  const buckets = store
    .buckets()
    .map(({ name, settings }) =>
      node(
        'Bucket',
        leaf('Name', name),
        leaf('CreationDate', new Date(settings.createdAt).toISOString()),
        leaf('BucketRegion', region),
      ),
    );
  return xmlAnswer(xmlDocument('ListAllMyBucketsResult', ownerXml(), node('Buckets', ...buckets)));
}

/** The region whose name S3 leaves out. */
const NAMELESS_REGION = 'us-east-1';

export async function createBucket(call: Call): Promise<Answer> {
  const { request, store, region } = call;
  const body = await call.body.document();
  const wanted =
    body.length === 0
      ? NAMELESS_REGION
      : (textOf(parseXml(body, 'CreateBucketConfiguration'), 'LocationConstraint') ?? NAMELESS_REGION);
  if (wanted !== region)
    throw s3Error(
      'InvalidLocationConstraint',
      `The ${wanted} location constraint is incompatible for the region specific endpoint this request was sent to.`,
    );
  const isLocked = header(request, 'x-amz-bucket-object-lock-enabled')?.toLowerCase() === 'true';
  const name = request.bucket ?? '';
  store.create(name, isLocked ? { versioning: 'Enabled', objectLock: {} } : {});
  return emptyAnswer(200, { location: `/${name}` });
}

export const headBucket = ({ region }: BucketCall): Answer =>
  emptyAnswer(200, { 'x-amz-bucket-region': region, 'x-amz-access-point-alias': 'false' });

export function deleteBucket({ store, bucket }: BucketCall): Answer {
  store.delete(bucket.name);
  return emptyAnswer(204);
}

export function getBucketLocation({ region }: BucketCall): Answer {
  const name = region === NAMELESS_REGION ? '' : region;
  return xmlAnswer(xmlDocument('LocationConstraint', name));
}
