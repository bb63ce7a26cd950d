import { z } from 'zod';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { OBJECT_METADATA } from '../../../lib/domain/names.ts';
import type { RunRequest } from '../../../lib/domain/run/request.ts';
import { runKey } from '../../../lib/domain/run/run-keys.ts';
import type { Environment } from '../environment.ts';
import type { RunResults } from '../ports/run.ts';
import type { ObjectStore } from '../ports/store.ts';
import { openS3Store } from './s3-store.ts';

/** Before the work, nobody waits long for an answer that only makes surer. */
const LOOK = { attempts: '2', milliseconds: 10_000 } as const;
/** After it: enough for a minute of throttling. */
const WRITE_MS = 60_000;
/** Results have 64 KB at most. */
const LARGEST_RESULT = 128 * 1024;
/** After SIGTERM: SIGKILL is near. */
const WRITE_INTERRUPTED_MS = 10_000;

/** `result.json` of one run in the state bucket. A signal does not end the writing: the result is to tell of it. */
export function openRunResults(
  request: RunRequest,
  options: { environment: Environment; interrupted: AbortSignal },
): RunResults {
  const { storage, runId, series } = request;
  const environment = { ...options.environment, AWS_REGION: storage.region };
  const key = runKey(storage.statePrefix, runId, 'result');
  const open = (env: Environment, interrupted: AbortSignal): ObjectStore => {
    const { stateBucket, kmsKeyArn } = storage;
    const settings = { bucket: stateBucket, prefix: '', stateBucket, kmsKeyId: kmsKeyArn };
    return openS3Store(settings, { environment: env, interrupted });
  };
  return {
    find: () =>
      within(LOOK.milliseconds, storage.stateBucket, async (signal) => {
        const store = open({ ...environment, AWS_MAX_ATTEMPTS: LOOK.attempts }, signal);
        try {
          const found = await store.head(key);
          if (!found) return 'none';
          if (found.size > LARGEST_RESULT) return 'foreign';
          return isOwn(await store.read(key), request) ? 'own' : 'foreign';
        } finally {
          store.close();
        }
      }),
    put: (result) => {
      const limit = options.interrupted.aborted ? WRITE_INTERRUPTED_MS : WRITE_MS;
      return within(limit, storage.stateBucket, async (signal) => {
        const store = open(environment, signal);
        try {
          await store.putOnce(key, Buffer.from(`${JSON.stringify(result, null, 1)}\n`), {
            contentType: 'application/json',
            metadata: { [OBJECT_METADATA.app]: series.app, [OBJECT_METADATA.runId]: runId },
          });
        } finally {
          store.close();
        }
      });
    },
  };
}

/** Any version's: of a result only that it knows the nonce counts here. */
const claimSchema = z.object({ runId: z.string(), nonce: z.string() });

function isOwn(body: Buffer, { runId, nonce }: RunRequest): boolean {
  try {
    const claim = claimSchema.parse(JSON.parse(body.toString('utf8')));
    return claim.runId === runId && claim.nonce === nonce;
  } catch {
    return false; // no result at all
  }
}

async function within<T>(
  milliseconds: number,
  bucket: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => {
    const message = `s3://${bucket} did not answer within ${milliseconds / 1000} seconds`;
    late.abort(new LifeboatError('S3_UNAVAILABLE', message));
  }, milliseconds);
  try {
    return await work(late.signal);
  } finally {
    clearTimeout(timer);
  }
}
