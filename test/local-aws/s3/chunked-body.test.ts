import { crc32 } from 'node:zlib';
import { startFixture, type Fixture } from './local-s3-fixture.ts';
import { send, sha256, sign, signAndSend, type RawAnswer } from './signed-request.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startFixture();
});
afterAll(() => fixture.close());

const CHUNK = 64 * 1024;
const payload = Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * 31 + (index >> 8)) % 256));

function crc32Of(data: Buffer): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(data));
  return bytes.toString('base64');
}

interface Wrongs {
  /** Applied to the encoded body, after signing. */
  readonly spoil?: (body: Buffer) => Buffer;
  readonly trailerChecksum?: string;
  readonly trailerSignature?: string;
  readonly decodedLength?: number;
  readonly chunkSize?: number;
  readonly headers?: Record<string, string>;
}

type Mode =
  | 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD'
  | 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER'
  | 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';

/** Puts `payload` in aws-chunked encoding. */
function putChunked(mode: Mode, key: string, wrongs: Wrongs = {}): Promise<RawAnswer> {
  const { s3 } = fixture;
  const isSigned = !mode.includes('UNSIGNED');
  const hasTrailer = mode.endsWith('-TRAILER');
  const raw = {
    method: 'PUT',
    path: `/backups/${key}`,
    payloadHash: mode,
    headers: {
      'content-encoding': 'aws-chunked',
      'x-amz-decoded-content-length': String(wrongs.decodedLength ?? payload.length),
      ...(hasTrailer ? { 'x-amz-trailer': 'x-amz-checksum-crc32' } : {}),
      ...wrongs.headers,
    },
  };
  const signed = sign(s3, raw);
  let previous = signed.signature;
  const chunk = (data: Buffer): Buffer[] => {
    if (isSigned) previous = signed.sign('PAYLOAD', previous, sha256(''), sha256(data));
    const extension = isSigned ? `;chunk-signature=${previous}` : '';
    return [Buffer.from(`${data.length.toString(16)}${extension}\r\n`), data];
  };
  const pieces: Buffer[] = [];
  const size = wrongs.chunkSize ?? CHUNK;
  for (let start = 0; start < payload.length; start += size)
    pieces.push(...chunk(payload.subarray(start, start + size)), Buffer.from('\r\n'));
  pieces.push(...chunk(Buffer.alloc(0)));
  if (hasTrailer) {
    const trailer = `x-amz-checksum-crc32:${wrongs.trailerChecksum ?? crc32Of(payload)}`;
    pieces.push(Buffer.from(`${trailer}\r\n`));
    const signature = wrongs.trailerSignature ?? signed.sign('TRAILER', previous, sha256(`${trailer}\n`));
    if (isSigned) pieces.push(Buffer.from(`x-amz-trailer-signature:${signature}\r\n`));
  }
  pieces.push(Buffer.from('\r\n'));
  const encoded = Buffer.concat(pieces);
  return send(s3, { ...raw, body: wrongs.spoil?.(encoded) ?? encoded }, signed.headers);
}

const stored = (key: string): Promise<RawAnswer> =>
  signAndSend(fixture.s3, {
    method: 'GET',
    path: `/backups/${key}`,
    headers: { 'x-amz-checksum-mode': 'ENABLED' },
  });

/** Flips a bit of the payload itself, well into the second chunk. */
const flipPayload = (body: Buffer): Buffer => {
  const copy = Buffer.from(body);
  copy[CHUNK + 5000] = (copy[CHUNK + 5000] ?? 0) ^ 4;
  return copy;
};

const MODES: readonly Mode[] = [
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
  'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
];

describe.each(MODES)('a body in chunks, %s', (mode) => {
  test('is stored decoded, without aws-chunked in its encoding', async () => {
    expect((await putChunked(mode, mode)).status).toBe(200);
    const answer = await stored(mode);
    expect(answer.body.equals(payload)).toBe(true);
    expect(answer.headers['content-encoding']).toBeUndefined();
  });

  test('keeps its other encoding', async () => {
    await putChunked(mode, mode, { headers: { 'content-encoding': 'gzip,aws-chunked' } });
    expect((await stored(mode)).headers['content-encoding']).toBe('gzip');
  });

  test('is refused when a bit of it was flipped on the way, and nothing is stored', async () => {
    const key = `flipped-${mode}`;
    const answer = await putChunked(mode, key, { spoil: flipPayload });
    expect([answer.status, answer.code]).toEqual(
      mode.includes('UNSIGNED') ? [400, 'BadDigest'] : [403, 'SignatureDoesNotMatch'],
    );
    expect((await stored(key)).status).toBe(404);
  });

  test.each<[string, Wrongs]>([
    ['ends early', { spoil: (body) => body.subarray(0, body.length - 100) }],
    ['is longer than its decoded length', { decodedLength: payload.length - 1 }],
    ['is shorter than its decoded length', { decodedLength: payload.length + 1 }],
    ['has no chunk header', { spoil: () => Buffer.from('just text, and no chunk at all') }],
  ])('is refused when it %s', async (_name, wrongs) => {
    const answer = await putChunked(mode, 'refused', wrongs);
    expect([answer.status, answer.code]).toEqual([400, 'IncompleteBody']);
    expect((await stored('refused')).status).toBe(404);
  });

  test('is refused in chunks below 8 KiB, except the last', async () => {
    expect((await putChunked(mode, 'small', { chunkSize: 8191 })).code).toBe('InvalidChunkSizeError');
    expect((await putChunked(mode, 'small', { chunkSize: 8192 })).status).toBe(200);
  });

  test('is refused without its decoded length', async () => {
    const raw = {
      method: 'PUT',
      path: '/backups/refused',
      payloadHash: mode,
      body: Buffer.from('0\r\n\r\n'),
    };
    const answer = await signAndSend(fixture.s3, raw);
    expect([answer.status, answer.code]).toEqual([411, 'MissingContentLength']);
  });
});

describe('a trailer', () => {
  test.each(MODES.filter((mode) => mode.endsWith('TRAILER')))(
    'of %s gives the object its checksum',
    async (mode) => {
      const answer = await putChunked(mode, 'with-trailer');
      expect(answer.headers['x-amz-checksum-crc32']).toBe(crc32Of(payload));
      const { headers } = await stored('with-trailer');
      expect(headers['x-amz-checksum-crc32']).toBe(crc32Of(payload));
      expect(headers['x-amz-checksum-type']).toBe('FULL_OBJECT');
    },
  );

  test('with another checksum is refused', async () => {
    const wrongs = { trailerChecksum: crc32Of(Buffer.from('else')) };
    const answer = await putChunked('STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'refused', wrongs);
    expect([answer.status, answer.code]).toEqual([400, 'BadDigest']);
  });

  test('with a wrong signature is refused', async () => {
    const wrongs = { trailerSignature: sha256('else') };
    const answer = await putChunked('STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', 'refused', wrongs);
    expect([answer.status, answer.code]).toEqual([403, 'SignatureDoesNotMatch']);
  });
});
