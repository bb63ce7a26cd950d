import { isIP } from 'node:net';
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { ENV } from '../../../lib/domain/names.ts';
import { credentialsFrom } from '../aws/credentials.ts';
import { exportAwsVariables, type Environment } from '../environment.ts';
import { sendBodyInPiecesOverTls } from './body-in-pieces.ts';
import { findRegion } from './region.ts';
import { PASSING_ANSWERS } from './s3-error.ts';

export type S3Sdk = typeof import('@aws-sdk/client-s3');

/** Node waits for ever on a peer that went silent; these end it, and a retry follows. */
const CONNECT_TIMEOUT_MS = 5_000;
const IDLE_TIMEOUT_MS = 60_000;

/** Rides out about a minute of 503s; AWS_MAX_ATTEMPTS changes it. */
const DEFAULT_MAX_ATTEMPTS = 10;

export interface S3Connection {
  readonly sdk: S3Sdk;
  readonly client: S3Client;
  readonly maxAttempts: number;
}

/**
 * Loads the SDK (75 ms, so only when S3 is really used) and sets it up from the agent's environment, in which AWS'
 * variables keep their meaning wherever they stand.
 * @throws LifeboatError SETTINGS_INVALID
 */
export async function connect(
  environment: Environment,
  overrides: Partial<S3ClientConfig>,
): Promise<S3Connection> {
  const maxAttempts = readMaxAttempts(environment);
  exportAwsVariables(environment);
  const sdk = await import('@aws-sdk/client-s3');
  const base = { ...configFrom(environment), maxAttempts, ...overrides };
  const endpoint = endpointOf(environment);
  const region = base.region ?? (await findRegion(environment, endpoint, () => regionOfProfile(sdk, base)));
  const client = new sdk.S3Client({ ...base, region });
  leaveBodyUnsignedOverTls(client);
  sendBodyInPiecesOverTls(client);
  retryPassingAnswers(client);
  return { sdk, client, maxAttempts };
}

function configFrom(environment: Environment): S3ClientConfig {
  const endpoint = endpointOf(environment);
  const credentials = credentialsFrom(environment);
  const profile = environment['AWS_PROFILE'];
  return {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    ...(profile === undefined ? {} : { profile }),
    forcePathStyle: isPathStyle(environment, endpoint),
    // Every body that needs a checksum is given its own, so nothing is summed twice and no trailer is sent, which S3
    // look-alikes (radosgw 16) refuse.
    requestChecksumCalculation: checksumCalculation(environment),
    responseChecksumValidation: 'WHEN_REQUIRED',
    // "Expect: 100-continue" makes the SDK open a new connection, TLS and all, for every part.
    expectContinueHeader: false,
    requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, socketTimeout: IDLE_TIMEOUT_MS },
  };
}

function endpointOf(environment: Environment): string | undefined {
  return environment['AWS_ENDPOINT_URL_S3'] || environment['AWS_ENDPOINT_URL'] || undefined;
}

/** A server known by address or by a bare host name has no `<bucket>.<host>` names in any DNS. */
function isPathStyle(environment: Environment, endpoint: string | undefined): boolean {
  const forced = environment[ENV.s3ForcePathStyle];
  if (forced) return /^(?:1|true|yes|on)$/i.test(forced);
  if (endpoint === undefined) return false;
  const host = parseEndpoint(endpoint).hostname.replace(/^\[|\]$/g, '');
  return isIP(host) !== 0 || !host.includes('.') || host.endsWith('.localhost');
}

function parseEndpoint(endpoint: string): URL {
  if (URL.canParse(endpoint) && /^https?:/.test(endpoint)) return new URL(endpoint);
  throw new LifeboatError('SETTINGS_INVALID', `AWS_ENDPOINT_URL_S3 ${JSON.stringify(endpoint)} is no URL`, {
    hint: 'Write it with its scheme, as in: export AWS_ENDPOINT_URL_S3=https://s3.example.com',
  });
}

function checksumCalculation(environment: Environment): 'WHEN_REQUIRED' | 'WHEN_SUPPORTED' {
  const wanted = environment['AWS_REQUEST_CHECKSUM_CALCULATION']?.toUpperCase();
  return wanted === 'WHEN_SUPPORTED' ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED';
}

function readMaxAttempts(environment: Environment): number {
  const given = environment['AWS_MAX_ATTEMPTS'];
  if (!given) return DEFAULT_MAX_ATTEMPTS;
  if (/^[1-9]\d{0,2}$/.test(given)) return Number(given);
  throw new LifeboatError(
    'SETTINGS_INVALID',
    `AWS_MAX_ATTEMPTS ${JSON.stringify(given)} is no number from 1 to 999`,
  );
}

/** The region of AWS_PROFILE or of the default profile, as the SDK finds it. */
async function regionOfProfile(sdk: S3Sdk, config: S3ClientConfig): Promise<string | undefined> {
  const probe = new sdk.S3Client(config);
  try {
    return await probe.config.region();
  } catch {
    // "Region is missing": the next source is asked, and the last one's silence is reported.
    return undefined;
  } finally {
    probe.destroy();
  }
}

/**
 * Over TLS the CRC-32 of each body is sent and checked by S3, so hashing it with SHA-256 for the signature as well only
 * costs: it halves the rate. Over plain http the signature stays over every byte.
 */
function leaveBodyUnsignedOverTls(client: S3Client): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { protocol: string; headers: Record<string, string> };
      if (request.protocol === 'https:') request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
      return next(args);
    },
    { step: 'build', name: 'leaveBodyUnsignedOverTls', priority: 'low' },
  );
}

/** A byte that flipped on the way is S3's 400, which the SDK takes for our fault; the next try sends the same bytes. */
function retryPassingAnswers(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args);
      } catch (error) {
        if (error instanceof Error && PASSING_ANSWERS.has(error.name)) {
          Object.assign(error, { $retryable: { throttling: false } });
        }
        throw error;
      }
    },
    { step: 'finalizeRequest', name: 'retryPassingAnswers', priority: 'low' },
  );
}
