import { basename, dirname, resolve } from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import { readBases } from '../catalog/bases.ts';
import { pushWal } from '../commands/wal-push.ts';
import { walStatus } from '../commands/wal-status.ts';
import { describeEnd, streamWalToS3 } from '../commands/wal-stream.ts';
import { verifyWal } from '../commands/wal-verify.ts';
import { openContext, type Context } from '../context.ts';
import { readEnvironment } from '../environment.ts';
import { renderWalStatus, renderWalVerify, walStatusAsJson, walVerifyAsJson } from '../render/wal.ts';
import { connectReplication } from '../replication/connect.ts';
import { openS3Store } from '../s3/s3-store.ts';
import type { S3Settings, Settings } from '../settings.ts';
import { openBaseBackups } from '../wal-archive/base-backup-child.ts';
import { watchCommits } from '../wal-archive/commit-watch.ts';
import { openWalArchive, openWalClusters } from '../wal-archive/s3-wal-archive.ts';
import { openWalFiles } from '../wal-archive/wal-files.ts';
import { openWalReader } from '../wal-archive/wal-reader.ts';
import { openWalServer } from '../wal-archive/wal-server.ts';
import type { WalStores } from '../catalog/wal.ts';

type Options = Readonly<Record<string, unknown>>;

/** From the signal to the end: what S3 has not taken by then, the slot keeps. */
const WIND_DOWN_MS = 3_500;
/** Of each write; the stream itself tries for ever, and wants to tell of trouble sooner. */
const S3_ATTEMPTS = '3';

export async function runWalStream(options: Options): Promise<Answer> {
  const context = openContext({ json: options['json'] === true });
  const { settings, host, clock, log, interrupted } = context;
  const { app, wal, database, environment } = settings;
  const runId = settings.runId ?? host.newRunId();
  const deadline = deadlineAfter(context);
  const attempts = environment['AWS_MAX_ATTEMPTS'] || S3_ATTEMPTS;
  const patience = { ...environment, AWS_MAX_ATTEMPTS: attempts };
  const stores = openStores({ ...settings, environment: patience }, deadline);
  const end = await streamWalToS3(
    {
      host,
      clock,
      log,
      interrupted,
      deadline,
      server: openWalServer(database, environment),
      clusters: openWalClusters(stores, app),
      baseBackups: openBaseBackups({ agent: ourselves(), environment, clock, log, interrupted }),
      connect: () => connectReplication(database, environment, { interrupted: deadline }),
      openArchive: (systemIdentifier) => openWalArchive(stores, { app, systemIdentifier }, runId),
      bases: () => readBases(app, stores.backups),
      watchCommits: (from, segmentSize) =>
        watchCommits(from, segmentSize, (error) =>
          log.warn(`The times of commits are not known from here on: ${error.message}`),
        ),
    },
    {
      app,
      runId,
      slot: wal.slot,
      journalMs: wal.journalSeconds * 1000,
      heartbeatMs: wal.heartbeatSeconds * 1000,
      slotCapBytes: wal.slotCapBytes,
      adoptSeries: options['adoptSeries'] === true,
    },
  );
  log.info(describeEnd(end));
  return {
    lines: [],
    json: { operation: 'wal stream', succeeded: true, ...end, safe: end.safe?.toString() },
  };
}

export async function runWalStatus(): Promise<Answer> {
  const context = openContext({ json: true });
  const { settings, clock, interrupted } = context;
  const { app, wal, database, environment } = settings;
  const server = openWalServer(database, environment);
  const stores = openStores(settings, interrupted);
  const result = await walStatus(
    { stores, server, clock },
    { app, slot: wal.slot, maxLagMs: wal.maxLagSeconds * 1000 },
  );
  return { lines: renderWalStatus(result), json: walStatusAsJson(result), failure: result.failure };
}

/** The earliest and the latest instant of the cluster that can be recovered to; `null`: none. */
export async function readRestorable({
  settings,
  clock,
  interrupted,
}: Context): Promise<{ earliest: string; latest: string; holes: number } | null> {
  const { app, wal, database, environment } = settings;
  const ports = {
    stores: openStores(settings, interrupted),
    server: openWalServer(database, environment),
    clock,
  };
  const { window } = await walStatus(ports, { app, slot: wal.slot, maxLagMs: wal.maxLagSeconds * 1000 });
  if (!window?.earliest || !window.latest) return null;
  return { earliest: window.earliest.time, latest: window.latest.time, holes: window.holes.length };
}

export async function runWalVerify(options: Options): Promise<Answer> {
  const context = openContext({ json: options['json'] === true });
  const { settings, interrupted } = context;
  const stores = openStores(settings, interrupted);
  const result = await verifyWal({ ...context, stores, reader: openWalReader(stores) }, settings.app);
  return { lines: renderWalVerify(result), json: walVerifyAsJson(result), failure: result.failure };
}

/** What went along needs no line: PostgreSQL's log would get one for each file. */
export async function runWalPush(options: Options, path: string): Promise<Answer> {
  const file = options['envFile'];
  const context = openContext({
    json: true,
    ...(typeof file === 'string' && { environment: readEnvironment(file) }),
  });
  const { settings, host, interrupted, log } = context;
  const { app } = settings;
  const stores = openStores(settings, interrupted);
  const runId = settings.runId ?? host.newRunId();
  const absolute = resolve(path);
  await pushWal(
    {
      files: openWalFiles(dirname(absolute)),
      openArchive: (systemIdentifier) => openWalArchive(stores, { app, systemIdentifier }, runId),
      watchCommits: (from, segmentSize) =>
        watchCommits(from, segmentSize, ({ message }) => log.warn(message)),
    },
    basename(absolute),
  );
  return { lines: [], json: { operation: 'wal push', succeeded: true } };
}

/** Aborted a while after the signal. */
function deadlineAfter({ interrupted, clock }: Context): AbortSignal {
  const controller = new AbortController();
  interrupted.addEventListener(
    'abort',
    () => void clock.sleep(WIND_DOWN_MS).then(() => controller.abort(interrupted.reason)),
    { once: true },
  );
  return controller.signal;
}

function openStores({ s3: given, environment }: Settings, interrupted: AbortSignal): WalStores {
  const s3 = requireS3(given);
  const options = { environment, interrupted };
  const backups = openS3Store(s3, options);
  const state =
    s3.stateBucket === s3.bucket ? backups : openS3Store({ ...s3, bucket: s3.stateBucket }, options);
  return { backups, state };
}

function requireS3(s3: S3Settings | undefined): S3Settings {
  if (s3) return s3;
  throw new LifeboatError('SETTINGS_INVALID', 'S3_BUCKET is not set: WAL is kept in S3 alone', {
    hint: 'Set it in the environment or in .env, as in: export S3_BUCKET=hostmaster-backups',
  });
}

/** How this process was started, without the command. */
function ourselves(): readonly [string, ...string[]] {
  return [process.execPath, ...process.execArgv, process.argv[1] ?? ''];
}
