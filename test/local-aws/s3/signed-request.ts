import { createHash, createHmac } from 'node:crypto';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { LocalS3 } from '../../../scripts/local-aws/s3/server.ts';

/** A Signature Version 4 client of the tests' own, written from AWS's description, that can also be told to do wrong. */

export const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

export interface RawRequest {
  readonly method: string;
  /** Already percent-encoded. */
  readonly path: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | undefined;
  /** The value of x-amz-content-sha256; the body's hash when left out. */
  readonly payloadHash?: string;
}

export interface Signing {
  readonly date?: Date;
  readonly region?: string;
  readonly service?: string;
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  /** Headers that are sent but not signed. */
  readonly unsigned?: readonly string[];
}

export interface Signed {
  readonly headers: Record<string, string>;
  readonly signature: string;
  /** Signs a chunk or a trailer of a body in aws-chunked encoding. */
  sign(kind: 'PAYLOAD' | 'TRAILER', previous: string, ...hashes: readonly string[]): string;
}

const compact = (date: Date): string => date.toISOString().replace(/[-:]|\.\d+/g, '');

export function sign(s3: LocalS3, raw: RawRequest, signing: Signing = {}): Signed {
  const date = compact(signing.date ?? new Date());
  const region = signing.region ?? s3.region;
  const service = signing.service ?? 's3';
  const scope = `${date.slice(0, 8)}/${region}/${service}/aws4_request`;
  const payloadHash = raw.payloadHash ?? sha256(raw.body ?? '');
  const headers: Record<string, string> = {
    host: new URL(s3.endpoint).host,
    'x-amz-date': date,
    'x-amz-content-sha256': payloadHash,
    ...raw.headers,
  };
  const names = Object.keys(headers)
    .filter((name) => signing.unsigned?.includes(name) !== true)
    .sort();
  const canonical = [
    raw.method,
    raw.path,
    (raw.query ?? '')
      .split('&')
      .filter((pair) => pair !== '')
      .map((pair) => (pair.includes('=') ? pair : `${pair}=`))
      .sort()
      .join('&'),
    ...names.map((name) => `${name}:${headers[name] ?? ''}`),
    '',
    names.join(';'),
    payloadHash,
  ].join('\n');
  const secret = signing.secretAccessKey ?? s3.credentials.secretAccessKey;
  const key = [date.slice(0, 8), region, service, 'aws4_request'].reduce<string | Buffer>(
    hmac,
    `AWS4${secret}`,
  );
  const signature = hmac(
    key as Buffer,
    ['AWS4-HMAC-SHA256', date, scope, sha256(canonical)].join('\n'),
  ).toString('hex');
  const accessKeyId = signing.accessKeyId ?? s3.credentials.accessKeyId;
  return {
    headers: {
      ...headers,
      authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`,
    },
    signature,
    sign: (kind, previous, ...hashes) =>
      hmac(key as Buffer, [`AWS4-HMAC-SHA256-${kind}`, date, scope, previous, ...hashes].join('\n')).toString(
        'hex',
      ),
  };
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The `<Code>` of an error, empty when there is none. */
  readonly code: string;
}

/** Sends exactly these headers and bytes. Rejects when the connection is cut. */
export function send(
  s3: LocalS3,
  raw: RawRequest,
  headers: Readonly<Record<string, string>>,
): Promise<RawAnswer> {
  const { hostname, port } = new URL(s3.endpoint);
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      host: hostname,
      port,
      method: raw.method,
      path: raw.query === undefined ? raw.path : `${raw.path}?${raw.query}`,
      headers: {
        ...(raw.body === undefined ? {} : { 'content-length': String(raw.body.length) }),
        ...headers,
      },
      agent: false,
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const body = Buffer.concat(chunks);
        const code = /<Code>([^<]*)<\/Code>/.exec(body.toString('utf8'))?.[1] ?? '';
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body, code });
      });
    });
    request.end(raw.body);
  });
}

export function signAndSend(s3: LocalS3, raw: RawRequest, signing?: Signing): Promise<RawAnswer> {
  return send(s3, raw, sign(s3, raw, signing).headers);
}
