import type { LifeboatError } from '../../../lib/domain/errors.ts';
import type { RunOperation, RunRequest } from '../../../lib/domain/run/request.ts';
import { requireRestore } from '../../../lib/domain/run/request-settings.ts';
import type { RunOutcome } from '../../../lib/domain/run/result.ts';
import { list } from '../commands/catalog/list.ts';
import { isUntouched, restoreAndTell } from '../commands/restore/restore-and-tell.ts';
import { retention } from '../commands/catalog/retention.ts';
import { status } from '../commands/catalog/status.ts';
import { verify } from '../commands/catalog/verify.ts';
import { openVerdicts } from '../catalog/verdicts.ts';
import type { Context } from '../context.ts';
import { openDumpFiles } from '../data-path/archive-files.ts';
import { digestReader } from '../data-path/digest.ts';
import { baseVerifier } from '../data-path/volumes/base-verifier.ts';
import { listAsJson, renderList } from '../render/list.ts';
import { renderRetention, retentionAsJson } from '../render/retention.ts';
import { renderStatus, statusAsJson } from '../render/status.ts';
import { renderVerify, verifyAsJson } from '../render/verify.ts';
import { runBackup } from './backup.ts';
import { openRestorePorts } from '../restore-ports.ts';
import { runRecovery } from './recovery.ts';
import { openWalStores } from '../wal-stores.ts';

/** How an operation of a request ended. */
export interface OperationEnd {
  readonly outcome: RunOutcome | null;
  readonly warnings: readonly string[];
  readonly failure: LifeboatError | undefined;
  /** Of a failed restore. */
  readonly targetUntouched?: boolean;
}

type Operation = (context: Context, request: RunRequest) => Promise<OperationEnd>;

const OPERATIONS: Readonly<Record<RunOperation, Operation>> = {
  backup: runBackup,
  restore: runRestore,
  verify: runVerify,
  status: runStatus,
  list: runList,
  retention: runRetention,
};

/** The same commands as a person would type. @throws LifeboatError when the operation could not even be begun */
export async function doOperation(context: Context, request: RunRequest): Promise<OperationEnd> {
  return await OPERATIONS[request.operation](context, request);
}

async function runRestore(context: Context, request: RunRequest): Promise<OperationEnd> {
  const wish = requireRestore(request);
  const { source, database, replace, globals, recovery } = wish;
  if (recovery) return await runRecovery(context, { ...wish, recovery });
  const ports = { ...context, ...openRestorePorts(context) };
  const { result, failure } = await restoreAndTell(ports, {
    source,
    database,
    replace,
    globals,
    tables: undefined,
    jobs: undefined,
    forceOlder: false,
    dryRun: false,
    runId: request.runId,
  });
  if (failure) return { outcome: null, warnings: [], failure, targetUntouched: isUntouched(failure) };
  const completed = result?.completed;
  const outcome: RunOutcome = {
    kind: 'restore',
    source: result?.plan.backup.label ?? source,
    database,
    checked: completed?.checked ?? null,
    keptAs: completed?.keptAs ?? null,
  };
  return { outcome, warnings: completed?.warnings ?? [], failure: undefined };
}

async function runVerify(context: Context, { backupId, runId }: RunRequest): Promise<OperationEnd> {
  const { settings } = context;
  const files = openDumpFiles(settings.backupDir);
  const wal = openWalStores(context);
  const verdicts = wal && openVerdicts({ ...context, state: wal.state });
  const ports = { ...context, digests: digestReader, bases: baseVerifier, files, verdicts };
  const all = backupId === undefined ? ('dumps' as const) : false;
  const request = { app: settings.app, id: backupId, all, runId };
  const result = await verify(ports, request);
  return report(renderVerify(result), verifyAsJson(result), result.failure);
}

const HOUR_MS = 60 * 60 * 1000;

async function runStatus(context: Context): Promise<OperationEnd> {
  const { app, maxBackupAgeHours } = context.settings;
  const result = await status(
    { ...context, wal: openWalStores(context) },
    { app, maxAgeMs: maxBackupAgeHours * HOUR_MS },
  );
  return report(renderStatus(result), statusAsJson(result), result.failure);
}

async function runList(context: Context): Promise<OperationEnd> {
  const { app, localRetentionDays, s3RetentionDays } = context.settings;
  const result = await list(context, { app, localDays: localRetentionDays, s3Days: s3RetentionDays });
  return report(renderList(app, result, context.clock.now()), listAsJson(result), result.failure);
}

/** Only tells: in S3 the watcher tags, and here every backup removes what has expired. */
async function runRetention(context: Context): Promise<OperationEnd> {
  const { app, localRetentionDays, s3RetentionDays } = context.settings;
  const result = await retention(
    { ...context, wal: openWalStores(context) },
    {
      app,
      localDays: localRetentionDays,
      s3Days: s3RetentionDays,
      dryRun: true,
      s3: 'leave',
    },
  );
  return report(renderRetention(result), retentionAsJson(result), undefined);
}

function report(lines: string[], json: unknown, failure: LifeboatError | undefined): OperationEnd {
  for (const line of lines) process.stderr.write(`${line}\n`);
  return { outcome: { kind: 'report', lines, json: plain(json) }, warnings: [], failure };
}

/** As it is after the pipe: dates are text. */
function plain(json: unknown): unknown {
  return JSON.parse(JSON.stringify(json));
}
