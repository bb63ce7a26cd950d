import { setTimeout as sleep } from 'node:timers/promises';
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { ByteRange } from '../ports/store.ts';
import type { S3Api } from './s3-api.ts';
import { s3Error } from './s3-error.ts';

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;

/**
 * One object or range, whole in memory. The SDK tries a request again but not the body that follows its answer, so a
 * connection cut midway, and bytes that do not fit S3's checksum, are tried again here.
 */
export async function readObject(api: S3Api, key: string, range: ByteRange | undefined): Promise<Buffer> {
  for (let attempt = 1; ; attempt++) {
    const answer = await api.get(key, range);
    const length = checkLength(api, key, range, answer);
    try {
      return await api.untilInterrupted(collectBody(answer, length));
    } catch (error) {
      api.throwIfInterrupted();
      if (attempt >= api.maxAttempts) throw bodyError(api, key, error, attempt);
      await sleep(Math.random() * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt));
    }
  }
}

/** Bytes to come. @throws LifeboatError CORRUPT when S3 holds less than was asked for. */
function checkLength(
  api: S3Api,
  key: string,
  range: ByteRange | undefined,
  { ContentLength: length }: GetObjectCommandOutput,
): number {
  if (length !== undefined && (!range || length === range.length)) return length;
  throw new LifeboatError(
    'CORRUPT',
    `${api.urlOf(key)} is too short: S3 sent ${length ?? 'an unknown number of'} bytes from byte ${range?.offset ?? 0}, expected ${range?.length ?? 'a length'}`,
  );
}

async function collectBody({ Body: body }: GetObjectCommandOutput, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let filled = 0;
  for await (const chunk of (body ?? []) as AsyncIterable<Buffer>) {
    filled += chunk.copy(bytes, filled);
  }
  if (filled !== length) throw new Error(`the connection ended after ${filled} of ${length} bytes`);
  return bytes;
}

/** @param error the stream's: the SDK compares the checksum while the body passes, and says so in words only */
function bodyError(api: S3Api, key: string, error: unknown, attempts: number): LifeboatError {
  const reason = error instanceof Error ? error.message : String(error);
  if (/checksum mismatch/i.test(reason)) {
    return new LifeboatError('CORRUPT', `${api.urlOf(key)}, read ${attempts} times: ${reason}`);
  }
  const cut = Object.assign(new Error(reason), { name: 'TimeoutError', $metadata: { attempts } });
  return s3Error(cut, { action: 's3:GetObject', url: api.urlOf(key) });
}
