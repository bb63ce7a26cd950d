import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { DefaultRetention } from './bucket.ts';
import { Faults } from './faults.ts';
import { RequestHandler, type AuthorizeS3, type RecordedRequest } from './request-handler.ts';
import { SignatureVerifier, type Credentials } from './signature.ts';
import { Store } from './store.ts';

export interface LocalS3Options {
  /** Where everything is kept; a server started again on the same folder has what the one before had. */
  readonly folder: string;
  /** 0 or nothing: any free port. */
  readonly port?: number;
  readonly region?: string;
  readonly credentials?: readonly Credentials[];
  /** `random` saves the MD5 of every body (1.3 CPU seconds per GiB); S3 does not promise that ETags are MD5 sums either. */
  readonly etags?: 'md5' | 'random';
  /** PEM; then the endpoint is https. */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** The server's clock, milliseconds since the epoch: signatures, retention, dates. */
  readonly now?: () => number;
  /** Asked for every verified request; without it, whoever has a key may do everything. */
  readonly authorize?: AuthorizeS3;
}

interface NewBucket {
  readonly versioned?: boolean;
  /** Turns object lock (and so versioning) on, with this default retention. */
  readonly objectLockDays?: number;
  readonly objectLockMode?: DefaultRetention['mode'];
}

export interface LocalS3 {
  /** `http://127.0.0.1:PORT`, path style; `http://BUCKET.localhost:PORT` works too. */
  readonly endpoint: string;
  readonly region: string;
  /** The first of the credentials that it accepts. */
  readonly credentials: Credentials;
  readonly faults: Faults;
  /** Every request so far, oldest first. */
  readonly requests: readonly RecordedRequest[];
  /** @throws S3Error when there is one of that name */
  createBucket(name: string, options?: NewBucket): Promise<void>;
  /** The same, but content with one that is there already, whatever its settings. */
  ensureBucket(name: string, options?: NewBucket): Promise<void>;
  /** Cuts open connections. */
  close(): Promise<void>;
}

const DEFAULT_CREDENTIALS: Credentials = {
  accessKeyId: 'LOCALAWSACCESSKEY000',
  secretAccessKey: 'local-aws-secret-key',
};
const DEFAULT_REGION = 'us-east-1';
const LOOPBACK = '127.0.0.1';
/** Longer than any client keeps an idle connection, so that it is never the server that closes one just being used. */
const KEEP_ALIVE_MILLISECONDS = 65_000;

/** Starts an S3 on loopback. It speaks the same protocol as S3, verifies what S3 verifies, and fails on demand. */
export async function startLocalS3(options: LocalS3Options): Promise<LocalS3> {
  const region = options.region ?? DEFAULT_REGION;
  const credentials = options.credentials ?? [DEFAULT_CREDENTIALS];
  const [firstCredentials] = credentials;
  if (firstCredentials === undefined) throw new Error('the local S3 needs at least one pair of credentials');
  const now = options.now ?? Date.now;
  const store = new Store(options.folder);
  const handler = new RequestHandler({
    store,
    region,
    now,
    faults: new Faults(),
    verifier: new SignatureVerifier(region, credentials, now),
    md5Etags: options.etags !== 'random',
    authorize: options.authorize,
  });
  const inFlight = new Set<Promise<void>>();
  const server = createHttpServer(handler, inFlight, options.tls);
  const port = await listen(server, options.port ?? 0);
  return {
    endpoint: `${options.tls === undefined ? 'http' : 'https'}://${LOOPBACK}:${port}`,
    region,
    credentials: firstCredentials,
    faults: handler.faults,
    requests: handler.requests,
    createBucket: async (name, bucket = {}) => createBucket(store, name, bucket),
    ensureBucket: async (name, bucket = {}) => {
      if (store.find(name) === undefined) createBucket(store, name, bucket);
    },
    close: () => close(server, inFlight),
  };
}

function createHttpServer(
  handler: RequestHandler,
  inFlight: Set<Promise<void>>,
  tls: LocalS3Options['tls'],
): Server {
  const onRequest =
    (expectsContinue: boolean) =>
    (message: IncomingMessage, response: ServerResponse): void => {
      const handled = handler.handle(message, response, expectsContinue);
      inFlight.add(handled);
      void handled.finally(() => inFlight.delete(handled));
    };
  const server: Server =
    tls === undefined ? createServer(onRequest(false)) : createTlsServer(tls, onRequest(false));
  server.on('checkContinue', onRequest(true));
  server.keepAliveTimeout = KEEP_ALIVE_MILLISECONDS;
  // A slow body of 5 GB is not an attack.
  server.requestTimeout = 0;
  return server;
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, LOOPBACK, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** Once it resolves, nothing is written to the folder any more. */
async function close(server: Server, inFlight: ReadonlySet<Promise<void>>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
  await Promise.all(inFlight);
}

function createBucket(store: Store, name: string, options: NewBucket): void {
  const { objectLockDays: days, objectLockMode: mode = 'GOVERNANCE', versioned = false } = options;
  const isVersioned = versioned || days !== undefined;
  store.create(name, {
    ...(isVersioned ? { versioning: 'Enabled' as const } : {}),
    ...(days === undefined ? {} : { objectLock: { defaultRetention: { mode, days } } }),
  });
}
