import { basename, dirname, resolve } from 'node:path';
import type { Answer } from '../answer.ts';
import { readBases } from '../catalog/bases.ts';
import { openVerdicts } from '../catalog/verdicts.ts';
import { pushWal } from '../commands/wal/wal-push.ts';
import { walStatus, type WalStatusResult } from '../commands/wal/wal-status.ts';
import { describeEnd, streamWalToS3 } from '../commands/wal/wal-stream.ts';
import { verifyWal } from '../commands/wal/wal-verify.ts';
import { openContext, type Context } from '../context.ts';
import { readEnvironment } from '../environment.ts';
import { renderWalStatus, renderWalVerify, walStatusAsJson, walVerifyAsJson } from '../render/wal.ts';
import { connectReplication } from '../replication/connect.ts';
import { openBaseBackups } from '../wal-archive/base-backup-child.ts';
import { watchCommits } from '../wal-archive/commit-watch.ts';
import { findLocalWal } from '../wal-archive/local-wal.ts';
import { openWalArchive, openWalClusters } from '../wal-archive/s3-wal-archive.ts';
import { openWalFiles } from '../wal-archive/wal-files.ts';
import { openWalReader } from '../wal-archive/wal-reader.ts';
import { openWalServer, walSenderName } from '../wal-archive/wal-server.ts';
import { openWalStoresAnew, requireWalStores } from '../wal-stores.ts';

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
  const stores = openWalStoresAnew(settings.s3, { environment: patience, interrupted: deadline });
  const server = openWalServer(database, environment);
  const end = await streamWalToS3(
    {
      host,
      clock,
      log,
      interrupted,
      deadline,
      server,
      findLocalWal: (systemIdentifier) => findLocalWal(server, systemIdentifier),
      clusters: openWalClusters(stores, app),
      baseBackups: openBaseBackups({ agent: ourselves(), environment, clock, log, interrupted }),
      connect: () =>
        connectReplication(database, environment, {
          applicationName: walSenderName(wal.slot),
          interrupted: deadline,
        }),
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
  const result = await lookAtWal(context);
  return { lines: renderWalStatus(result), json: walStatusAsJson(result), failure: result.failure };
}

/** The earliest and the latest instant of the cluster that can be recovered to; `null`: none. */
export async function readRestorable(
  context: Context,
): Promise<{ earliest: string; latest: string; holes: number } | null> {
  const { window } = await lookAtWal(context);
  if (!window?.earliest || !window.latest) return null;
  return { earliest: window.earliest.time, latest: window.latest.time, holes: window.holes.length };
}

async function lookAtWal(context: Context): Promise<WalStatusResult> {
  const { app, wal, database, environment } = context.settings;
  const ports = {
    stores: requireWalStores(context),
    server: openWalServer(database, environment),
    clock: context.clock,
  };
  return await walStatus(ports, { app, slot: wal.slot, maxLagMs: wal.maxLagSeconds * 1000 });
}

export async function runWalVerify(options: Options): Promise<Answer> {
  const context = openContext({ json: options['json'] === true });
  const stores = requireWalStores(context);
  const { settings, host } = context;
  const { environment } = settings;
  // What was found is written down after Ctrl-C as well.
  const lasting = openWalStoresAnew(settings.s3, { environment, interrupted: deadlineAfter(context) });
  const verdicts = openVerdicts({ ...context, state: lasting.state });
  const result = await verifyWal(
    { ...context, stores, reader: openWalReader(stores), verdicts },
    { app: settings.app, runId: settings.runId ?? host.newRunId() },
  );
  return { lines: renderWalVerify(result), json: walVerifyAsJson(result), failure: result.failure };
}

/** What went along needs no line: PostgreSQL's log would get one for each file. */
export async function runWalPush(options: Options, path: string): Promise<Answer> {
  const file = options['envFile'];
  const context = openContext({
    json: true,
    ...(typeof file === 'string' && { environment: readEnvironment(file) }),
  });
  const { settings, host, log } = context;
  const { app } = settings;
  const stores = requireWalStores(context);
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

/** How this process was started, without the command. */
function ourselves(): readonly [string, ...string[]] {
  return [process.execPath, ...process.execArgv, process.argv[1] ?? ''];
}
