import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { s3Error } from './s3-error.ts';

/** A request as S3 reads it: what bucket, what key, what sub-resource. */
export interface S3Request {
  readonly method: string;
  /** The path and the query as they were sent, for the signature. */
  readonly rawPath: string;
  readonly rawQuery: string;
  readonly bucket: string | undefined;
  readonly key: string | undefined;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly requestId: string;
}

const MAX_KEY_BYTES = 1024;

/** @throws S3Error InvalidURI, KeyTooLongError */
export function parseRequest(message: IncomingMessage, requestId: string): S3Request {
  const target = message.url ?? '/';
  const mark = target.indexOf('?');
  const rawPath = mark < 0 ? target : target.slice(0, mark);
  const rawQuery = mark < 0 ? '' : target.slice(mark + 1);
  const hosted = bucketOfHost(message.headers.host ?? '');
  const path = decodeUri(rawPath).slice(1);
  const slash = path.indexOf('/');
  const first = slash < 0 ? path : path.slice(0, slash);
  const rest = slash < 0 ? '' : path.slice(slash + 1);
  const key = hosted === undefined ? rest : path;
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) throw s3Error('KeyTooLongError', 'Your key is too long');
  return {
    method: message.method ?? 'GET',
    rawPath,
    rawQuery,
    bucket: hosted ?? (first === '' ? undefined : first),
    key: key === '' ? undefined : key,
    query: new URLSearchParams(rawQuery),
    headers: message.headers,
    requestId,
  };
}

/** `bucket.localhost` and `bucket.s3.localhost` are virtual-host style; an address or `localhost` is path style. */
function bucketOfHost(host: string): string | undefined {
  return /^(.+?)(?:\.s3)?\.localhost(?::\d+)?$/.exec(host)?.[1];
}

/** @throws S3Error InvalidURI */
export function decodeUri(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw s3Error('InvalidURI', "Couldn't parse the specified URI.", { fields: { URI: text } });
  }
}

/** A header as one string, `undefined` when absent. Names are lower case. */
export function header(request: Pick<S3Request, 'headers'>, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(',') : value;
}
