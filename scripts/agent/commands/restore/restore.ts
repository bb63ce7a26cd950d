import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatCount, formatDuration } from '../../../../lib/domain/quantities.ts';
import { requireTargetName } from '../../../../lib/domain/restore/database-names.ts';
import { updateRates } from '../../../../lib/domain/restore/estimate.ts';
import type { RestorePlan, TableRestorePlan } from '../../../../lib/domain/restore/plan.ts';
import { compareRows, type RowTotals } from '../../../../lib/domain/restore/row-counts.ts';
import { parseRestoreSource } from '../../../../lib/domain/restore/source.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import type { TargetServer } from '../../ports/target-server.ts';
import { openCheckedDump, type CheckedDump } from './restore-copy.ts';
import { findBackup, type FoundBackup } from './restore-find.ts';
import { loadAndCount } from './restore-loading.ts';
import { dropLeftover, inShell, removeHalfMade, tidyUp } from './restore-removal.ts';
import { restoreTables } from './restore-tables.ts';
import { lookInto, prepareRestore, type PreparedRestore } from './restore-prepare.ts';

export interface RestoreRequest {
  /** `latest`, an id, a path or an `s3://` URL. */
  readonly source: string;
  /** The database to restore into. */
  readonly database: string;
  /** Over a database that holds data, which is kept under another name. */
  readonly replace: boolean;
  /** Roles too. */
  readonly globals: boolean;
  /** Only these tables, a list quoted as in SQL. */
  readonly tables: string | undefined;
  readonly jobs: number | undefined;
  /** To a server of an older major version than the backup's. */
  readonly forceOlder: boolean;
  readonly dryRun: boolean;
  readonly runId: string;
  /** On the monotonic clock: when what led to this restore began; now when left out. */
  readonly began?: number;
}

export interface RestoreResult {
  readonly plan: RestorePlan | TableRestorePlan;
  /** `undefined` after a dry run. */
  readonly completed: CompletedRestore | undefined;
}

interface CompletedRestore {
  readonly database: string;
  /** The copy that was restored from. */
  readonly source: string;
  /** `undefined`: the backup does not say how many rows there must be. */
  readonly checked: RowTotals | undefined;
  /** The name under which the replaced database is kept. */
  readonly keptAs: string | undefined;
  /** From the command's start to the database's being in place: the recovery time. */
  readonly durationMs: number;
  readonly downloadMs: number;
  readonly warnings: readonly string[];
}

/**
 * Restores beside, checks, then swaps by rename. Whatever goes wrong before the swap leaves the target as it was, and the
 * half-made database is removed; one that lacks only the rename is kept. What fails after the swap is a warning.
 *
 * @throws LifeboatError
 */
export async function restore(ports: RestorePorts, request: RestoreRequest): Promise<RestoreResult> {
  const target = requireTargetName(request.database);
  const source = parseRestoreSource(request.source);
  const started = request.began ?? ports.clock.monotonic();
  const { runId } = request;
  // A dry run of single tables reads the dump, and so may have to download it.
  const touches = !request.dryRun || request.tables !== undefined;
  const lock = touches ? await ports.host.lock(`restore-${target}`, `restore, run ${runId}`) : undefined;
  let server: TargetServer | undefined;
  let checked: CheckedDump | undefined;
  try {
    // What a killed run left would be in the way of this one's, and takes the room that is measured.
    if (touches) await ports.files.removeScratch(target);
    ports.log.info('Checking prerequisites...');
    server = await ports.connectServer(target);
    if (touches) await server.claim();
    const found = await findBackup(ports, source);
    const lookedInto = await lookInto(ports, found, request);
    checked = lookedInto.checked;
    if (request.tables !== undefined) {
      checked ??= await openCheckedDump(ports, target, found);
      return await restoreTables(ports, server, {
        request,
        found,
        backup: lookedInto.backup,
        checked,
        started,
      });
    }
    const prepared = await prepareRestore(ports, server, { request, found, lookedInto, runId });
    // The plan that a dry run prints has the warnings in it.
    if (!request.dryRun) for (const warning of prepared.plan.warnings) ports.log.warn(warning);
    ports.log.info('✅ Prerequisites OK');
    if (request.dryRun) return { plan: prepared.plan, completed: undefined };

    checked ??= await openCheckedDump(ports, target, found);
    const run = { prepared, checked, found, started };
    return { plan: prepared.plan, completed: await execute(ports, server, run) };
  } finally {
    await tidyUp(ports, [
      async () => await checked?.dump.close(),
      async () => touches && (await ports.files.removeScratch(target)),
      async () => await server?.close(),
      async () => await lock?.release(),
    ]);
  }
}

/** A plan on its way to its end. */
export interface RestoreRun {
  readonly prepared: PreparedRestore;
  readonly checked: CheckedDump;
  readonly found: FoundBackup;
  readonly started: number;
}

async function execute(
  ports: RestorePorts,
  server: TargetServer,
  run: RestoreRun,
): Promise<CompletedRestore> {
  const { plan, backup, globals } = run.prepared;
  const warnings = [...plan.warnings];
  for (const name of plan.leftovers) {
    ports.log.info(`Removing ${name}, which a killed restore left`);
    await dropLeftover(ports, server, name, warnings);
  }
  if (globals && globals.statements.length > 0) {
    await server.executeTogether(globals.statements);
    ports.log.info(`✅ Roles created: ${globals.created.join(', ')}`);
  }
  ports.log.info(`Restoring ${plan.backup.label} into ${JSON.stringify(plan.target)}...`);
  let half: string | undefined;
  try {
    ports.interrupted.throwIfAborted();
    half = plan.restoringInto;
    await createDatabase(server, plan);
    const { loadMs, found } = await loadAndCount(ports, server, run);
    const checked = compareRows(backup, found, plan.target);
    if (checked)
      ports.log.info(
        `✅ Rows verified: ${formatCount(checked.tables, 'table')}, ${formatCount(checked.rows, 'row')}`,
      );
    await server.executeTogether(plan.statements.properties);
    await grantAsBefore(ports, server, plan, warnings);
    ports.interrupted.throwIfAborted();
    await swapIn(server, plan, () => {
      half = undefined;
    });
    const keptAs = await settleOld(ports, server, plan, warnings);
    await recordRates(ports, run, loadMs);
    return report(ports, run, { checked, keptAs, warnings });
  } catch (error) {
    throw half === undefined ? error : await removeHalfMade(ports, server, half, error);
  }
}

/** What somebody granted in the empty target; what the backup needs is not among it. */
async function grantAsBefore(
  ports: RestorePorts,
  server: TargetServer,
  plan: RestorePlan,
  warnings: string[],
): Promise<void> {
  const { publicGrants } = plan.statements;
  if (publicGrants.length === 0) return;
  try {
    await server.executeTogether(publicGrants, plan.restoringInto);
  } catch (error) {
    // No reason to throw away what was loaded for hours: they can be given by hand.
    const warning = `What the empty ${plan.target} granted could not be granted again (${(error as Error).message}): ${publicGrants.join('; ')};`;
    ports.log.warn(warning);
    warnings.push(warning);
  }
}

/** @param settled called when the restored database is no half-made one any more: in place, or kept for a later rename */
async function swapIn(server: TargetServer, plan: RestorePlan, settled: () => void): Promise<void> {
  const { target, restoringInto, action } = plan;
  // Where there was no target, one that somebody made meanwhile is theirs, and so are its sessions.
  const vacated = action === 'create' ? [restoringInto] : [target, restoringInto];
  try {
    await server.swap({ statements: plan.statements.swap, vacated, restored: restoringInto });
  } catch (error) {
    if (error instanceof LifeboatError && error.code === 'RESTORE_FAILED') settled();
    throw error;
  }
  settled();
}

async function createDatabase(server: TargetServer, { statements }: RestorePlan): Promise<void> {
  try {
    await server.execute([statements.create]);
  } catch (error) {
    const message = (error as Error).message;
    if (!/locale|collation|encoding/i.test(message)) throw error;
    throw new LifeboatError('RESTORE_FAILED', message, {
      hint: 'The server’s host lacks the backup’s locale: install it (sudo dpkg-reconfigure locales, or locale-gen), restart PostgreSQL, then run the restore again.',
      cause: error,
    });
  }
  await server.execute([statements.mark]);
  await server.rehearse([...statements.owner, ...statements.properties]);
  await server.execute(statements.owner);
}

/** An empty database that was in the way is dropped, unless somebody has put something into it meanwhile. */
async function settleOld(
  ports: RestorePorts,
  server: TargetServer,
  plan: RestorePlan,
  warnings: string[],
): Promise<string | undefined> {
  const { keptAs, target } = plan;
  if (keptAs === undefined) return undefined;
  if (plan.action === 'fill') {
    try {
      if ((await server.contentsOf(keptAs)) === undefined) {
        await server.execute(plan.statements.dropEmpty);
        return undefined;
      }
    } catch (error) {
      // The restore itself is done and in place; what is left is an empty database under a telling name.
      warnings.push(
        `The empty database that was in the way could not be removed: ${(error as Error).message}`,
      );
    }
  }
  ports.log.info(
    `The old ${JSON.stringify(target)} is kept as ${JSON.stringify(keptAs)}; drop it when it is not needed any more`,
  );
  return keptAs;
}

async function recordRates(
  ports: RestorePorts,
  { prepared, checked }: RestoreRun,
  loadMs: number,
): Promise<void> {
  const { format, rawSize } = prepared.plan.backup;
  const measured = [{ rate: format, bytes: rawSize, milliseconds: loadMs } as const];
  const downloaded = checked.downloaded ? [{ rate: 'download', ...checked.downloaded } as const] : [];
  await ports.rates.record(updateRates(await ports.rates.read(), [...measured, ...downloaded]));
}

function report(
  ports: RestorePorts,
  { prepared, checked, started }: RestoreRun,
  outcome: Pick<CompletedRestore, 'checked' | 'keptAs' | 'warnings'>,
): CompletedRestore {
  const durationMs = ports.clock.monotonic() - started;
  ports.log.info('✅ Restore completed successfully');
  ports.log.info(`Recovery time (RTO): ${formatDuration(durationMs)}`);
  ports.log.info(
    `Queries may be slow until PostgreSQL has new statistics; now: vacuumdb --analyze-in-stages --dbname=${inShell(prepared.plan.target)}`,
  );
  return {
    database: prepared.plan.target,
    source: checked.source,
    durationMs,
    downloadMs: checked.downloaded?.milliseconds ?? 0,
    ...outcome,
  };
}
