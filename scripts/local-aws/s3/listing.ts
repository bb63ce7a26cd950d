import { compareKeys } from './key-order.ts';
import type { S3Request } from './s3-request.ts';
import { invalidArgument } from './s3-error.ts';
import { leaf, node } from './xml.ts';

/** What every listing may be asked for. */
export interface ListingQuery {
  readonly prefix: string;
  /** Empty: none. */
  readonly delimiter: string;
  readonly limit: number;
  /** Writes a key as it is, or percent-encoded with `encoding-type=url` (for those that XML cannot hold). */
  readonly encode: (key: string) => string;
  /** The elements that repeat the question, without the limit. */
  readonly echo: readonly string[];
}

export interface ListingOptions<T extends Listed> extends ListingQuery {
  /** Whether an entry comes after the place where the listing starts. */
  readonly isAfter: (entry: T) => boolean;
  /** A common prefix that an earlier page ended with. */
  readonly afterPrefix?: string | undefined;
}

export interface Listed {
  readonly key: string;
}

export interface Page<T extends Listed> {
  readonly entries: readonly T[];
  readonly commonPrefixes: readonly string[];
  readonly isTruncated: boolean;
  /** What the page ended with: an entry or a common prefix. */
  readonly last: { readonly entry?: T; readonly prefix?: string } | undefined;
}

/** One page of sorted entries, those that share a prefix up to the delimiter rolled into one. */
export function pageOf<T extends Listed>(sorted: readonly T[], options: ListingOptions<T>): Page<T> {
  const entries: T[] = [];
  const commonPrefixes: string[] = [];
  let last: Page<T>['last'];
  let lastPrefix = options.afterPrefix;
  for (const entry of sorted) {
    if (!entry.key.startsWith(options.prefix) || !options.isAfter(entry)) continue;
    const prefix = commonPrefixOf(entry.key, options);
    if (prefix !== undefined && prefix === lastPrefix) continue;
    if (entries.length + commonPrefixes.length === options.limit)
      return { entries, commonPrefixes, isTruncated: options.limit > 0, last };
    if (prefix === undefined) {
      entries.push(entry);
      last = { entry };
    } else {
      commonPrefixes.push(prefix);
      lastPrefix = prefix;
      last = { prefix };
    }
  }
  return { entries, commonPrefixes, isTruncated: false, last };
}

function commonPrefixOf(key: string, { prefix, delimiter }: ListingQuery): string | undefined {
  if (delimiter === '') return undefined;
  const end = key.indexOf(delimiter, prefix.length);
  return end < 0 ? undefined : key.slice(0, end + delimiter.length);
}

const MAX_KEYS = 1000;

/** `max-keys` and the like: a thousand at most. @throws S3Error InvalidArgument */
export function limitOf({ query }: S3Request, name: string): number {
  const value = query.get(name);
  if (value === null) return MAX_KEYS;
  const limit = Number(value);
  if (!/^\d+$/.test(value) || limit > 2 ** 31 - 1)
    throw invalidArgument(name, value, `Argument ${name} must be an integer between 0 and 2147483647`);
  return Math.min(limit, MAX_KEYS);
}

/** @param limitName `max-keys`, or `max-uploads`. @throws S3Error InvalidArgument */
export function listingQuery(request: S3Request, limitName: string): ListingQuery {
  const { query } = request;
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const encoding = query.get('encoding-type');
  if (encoding !== null && encoding !== 'url')
    throw invalidArgument('encoding-type', encoding, 'Invalid Encoding Method specified in Request');
  const encode = (key: string): string =>
    encoding === null ? key : encodeURIComponent(key).replaceAll('%2F', '/');
  return {
    prefix,
    delimiter,
    limit: limitOf(request, limitName),
    encode,
    echo: [
      leaf('Prefix', encode(prefix)),
      leaf('Delimiter', delimiter === '' ? undefined : encode(delimiter)),
      leaf('EncodingType', encoding ?? undefined),
    ],
  };
}

/** Where a listing of things that share keys (versions, uploads) goes on: after a key, or after one thing of that key. */
export interface Marker {
  readonly key: string;
  /** A version id or an upload id; empty: all of that key are done. */
  readonly id: string;
}

export interface ListedWithId extends Listed {
  readonly id: string;
}

/** @param sorted all entries in order. */
export function pageAfter<T extends ListedWithId>(
  sorted: readonly T[],
  query: ListingQuery,
  marker: Marker,
): Page<T> {
  const place = sorted.findIndex(({ key, id }) => key === marker.key && id === marker.id);
  const rest = place < 0 ? sorted : sorted.slice(place + 1);
  return pageOf(rest, {
    ...query,
    isAfter: ({ key }) => {
      const order = marker.key === '' ? 1 : compareKeys(key, marker.key);
      return order > 0 || (order === 0 && place >= 0);
    },
    afterPrefix: endsInDelimiter(marker.key, query) ? marker.key : undefined,
  });
}

/** Then the marker is a common prefix that a page ended with, and so is done. */
export const endsInDelimiter = (marker: string, { delimiter }: ListingQuery): boolean =>
  delimiter !== '' && marker.endsWith(delimiter);

/** The elements that tell where the next page starts. */
export function nextMarkerXml<T extends ListedWithId>(
  page: Page<T>,
  { encode }: ListingQuery,
  idElement: string,
): string {
  const { isTruncated, last } = page;
  if (!isTruncated || last === undefined) return leaf('IsTruncated', isTruncated);
  return [
    leaf('IsTruncated', isTruncated),
    leaf('NextKeyMarker', encode(last.prefix ?? last.entry?.key ?? '')),
    leaf(idElement, last.entry?.id),
  ].join('');
}

export const commonPrefixesXml = (prefixes: readonly string[], encode: (key: string) => string): string =>
  prefixes.map((prefix) => node('CommonPrefixes', leaf('Prefix', encode(prefix)))).join('');

const OWNER_ID = '0'.repeat(64);
export const ownerXml = (name: 'Owner' | 'Initiator' = 'Owner'): string =>
  node(name, leaf('ID', OWNER_ID), leaf('DisplayName', 'local'));
