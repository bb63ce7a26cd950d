import { Readable } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';

const PIECE = 256 * 1024;

/**
 * Node's TLS encrypts what it is given at once, whole, after it has put the headers and the body together: each body on its
 * way would be in memory three times. In pieces it is there once, and what is encrypted lies in the processor's cache.
 */
export function sendBodyInPiecesOverTls(client: S3Client): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { protocol: string; body: unknown };
      if (request.protocol !== 'https:' || !Buffer.isBuffer(request.body)) return next(args);
      // Another request: the next try begins with the body as it was.
      const inPieces = Object.assign(Object.create(Object.getPrototypeOf(request) as object), request, {
        body: piecesOf(request.body),
      }) as unknown;
      return next({ ...args, request: inPieces });
    },
    { step: 'deserialize', name: 'sendBodyInPiecesOverTls', priority: 'low' },
  );
}

function piecesOf(body: Buffer): Readable {
  const { length } = body;
  let at = 0;
  return new Readable({
    highWaterMark: PIECE,
    read() {
      // S3 had answered before it had all, the next try brought the body home, and its memory was given back. A body that
      // ended short would leave a connection that takes the next request for the rest of this one; so it stays open, and
      // times out.
      if (body.length !== length) return;
      this.push(at < length ? body.subarray(at, (at += PIECE)) : null);
    },
  });
}
