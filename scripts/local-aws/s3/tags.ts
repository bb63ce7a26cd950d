import { header, type S3Request } from './s3-request.ts';
import { malformedXml, s3Error } from './s3-error.ts';
import { childOf, childrenOf, leaf, node, parseXml, textOf } from './xml.ts';

const MAX_TAGS = 10;

type Tags = Readonly<Record<string, string>>;

/** From `x-amz-tagging: a=1&b=2`. @throws S3Error InvalidTag */
export function tagsOfHeader(request: S3Request): Tags {
  const value = header(request, 'x-amz-tagging');
  return value === undefined ? {} : checked([...new URLSearchParams(value)]);
}

/** From a Tagging document. @throws S3Error MalformedXML, InvalidTag */
export function tagsOfDocument(body: Buffer): Tags {
  const set = childOf(parseXml(body, 'Tagging'), 'TagSet');
  const pairs = childrenOf(set, 'Tag').map((tag): [string, string] => {
    const key = textOf(tag, 'Key');
    const value = textOf(tag, 'Value');
    if (key === undefined || value === undefined) throw malformedXml();
    return [key, value];
  });
  return checked(pairs);
}

function checked(pairs: readonly (readonly [string, string])[]): Tags {
  if (pairs.length > MAX_TAGS) throw s3Error('InvalidTag', 'Object tags cannot be greater than 10');
  if (new Set(pairs.map(([key]) => key)).size < pairs.length)
    throw s3Error('InvalidTag', 'Cannot provide multiple Tags with the same key');
  for (const [key, value] of pairs) {
    if (key.length < 1 || key.length > 128)
      throw s3Error('InvalidTag', 'The TagKey you have provided is invalid');
    if (value.length > 256) throw s3Error('InvalidTag', 'The TagValue you have provided is invalid');
  }
  return Object.fromEntries(pairs);
}

export const tagSetXml = (tags: Tags): string =>
  node(
    'TagSet',
    ...Object.entries(tags).map(([key, value]) => node('Tag', leaf('Key', key), leaf('Value', value))),
  );
