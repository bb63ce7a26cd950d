import { combineProblems, LifeboatError } from '../../../../lib/domain/errors.ts';
import {
  factsOfInspection,
  factsOfManifest,
  factsOfName,
  type BackupFacts,
} from '../../../../lib/domain/restore/backup-facts.ts';
import { chooseDatabaseNames } from '../../../../lib/domain/restore/database-names.ts';
import { estimateRestore } from '../../../../lib/domain/restore/estimate.ts';
import { planGlobals, type GlobalsPlan } from '../../../../lib/domain/restore/globals.ts';
import { planRestore, type RestorePlan } from '../../../../lib/domain/restore/plan.ts';
import type { DiskNeed, RestoreTools, TargetFacts } from '../../../../lib/domain/restore/preflight-facts.ts';
import { propertiesWarnings } from '../../../../lib/domain/restore/preflight-target.ts';
import { checkRestore, needsOf } from '../../../../lib/domain/restore/preflight.ts';
import { parseDumpSuffix } from '../../../../lib/domain/backup/keys.ts';
import type { DatabaseDescription } from '../../../../lib/domain/backup/manifest.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import type { TargetServer } from '../../ports/target-server.ts';
import { openCheckedDump, type CheckedDump } from './restore-copy.ts';
import type { FoundBackup } from './restore-find.ts';
import type { RestoreRequest } from './restore.ts';

/** A plan with what its execution needs beside it. */
export interface PreparedRestore {
  readonly plan: RestorePlan;
  readonly backup: BackupFacts;
  readonly tools: RestoreTools;
  /** Holds password verifiers, so it is no part of the plan. */
  readonly globals: GlobalsPlan | undefined;
}

/** What is known of the backup; a dump without a manifest had to be fetched and read for it. */
export interface LookedInto {
  readonly backup: BackupFacts;
  readonly checked: CheckedDump | undefined;
}

/**
 * A manifest tells everything. A dump without one is read whole first, so that nothing damaged, incomplete or foreign is
 * found out about halfway through a restore.
 *
 * @throws LifeboatError CORRUPT, RESTORE_REFUSED
 */
export async function lookInto(
  ports: RestorePorts,
  found: FoundBackup,
  request: RestoreRequest,
): Promise<LookedInto> {
  if (found.manifest) return { backup: factsOfManifest(found.manifest), checked: undefined };
  const copy = found.copies[0];
  if (request.dryRun && request.tables === undefined && copy?.where === 's3') {
    const format = parseDumpSuffix(found.label)?.format ?? 'plain';
    return { backup: factsOfName(found.label, copy.size, format), checked: undefined };
  }
  const checked = await openCheckedDump(ports, request.database, found);
  ports.log.info(`${found.label} has no manifest: reading all of it first...`);
  ports.progress.start('Checking', 0);
  try {
    const inspection = await checked.dump.inspect(ports.interrupted, (bytes) => ports.progress.update(bytes));
    return { backup: factsOfInspection(found.label, inspection), checked };
  } catch (error) {
    await checked.dump.close();
    throw error;
  } finally {
    ports.progress.stop();
  }
}

export interface PrepareInput {
  readonly request: RestoreRequest;
  readonly found: FoundBackup;
  readonly lookedInto: LookedInto;
  readonly runId: string;
}

/** @throws LifeboatError PREFLIGHT_FAILED, or the one problem that was found */
export async function prepareRestore(
  ports: RestorePorts,
  server: TargetServer,
  { request, found, lookedInto, runId }: PrepareInput,
): Promise<PreparedRestore> {
  const { backup, checked } = lookedInto;
  const targetFacts = await server.describeTarget();
  const facts = await server.facts(needsOf({ ...backup, database: backup.database ?? ownOf(targetFacts) }));
  const globals = await readGlobals(found, request, facts);
  const tools = await findTools(server, backup);
  // What was downloaded already takes no more room, and no more time.
  const fetchBytes = !checked && found.copies[0]?.where === 's3' ? found.copies[0].size : 0;
  const disk = await measureDisk(ports, fetchBytes + scratchBytes(found, backup));
  const { problems, warnings } = checkRestore({
    backup,
    target: request.database,
    server: facts,
    targetFacts,
    tools: 'problem' in tools ? undefined : tools,
    rolesToCome: globals?.created ?? [],
    replace: request.replace,
    forceOlder: request.forceOlder,
    disk,
  });
  const problem = combineProblems('problem' in tools ? [tools.problem, ...problems] : problems);
  if (problem) throw problem;
  const plan = planRestore({
    target: request.database,
    backup,
    copies: found.copies.map(({ where, url, size }) => ({ where, url, size })),
    names: chooseDatabaseNames(request.database, ports.clock.now(), facts.databases),
    server: facts,
    targetFacts,
    leftovers: await server.leftovers(),
    globals,
    jobs: request.jobs ?? ports.jobs,
    runId,
    disk,
    estimate: estimateRestore(fetchBytes, backup.rawSize, backup.format, await ports.rates.read()),
    warnings: [...found.warnings, ...warnings, ...propertiesWarnings(request.database, targetFacts, backup)],
  });
  return { plan, backup, tools: tools as RestoreTools, globals };
}

/** Without the version of its collation: the target cannot differ from itself. */
function ownOf(target: TargetFacts | undefined): DatabaseDescription | undefined {
  return target && { ...target.database, collationVersion: null };
}

async function readGlobals(
  found: FoundBackup,
  request: RestoreRequest,
  facts: { readonly roles: readonly string[]; readonly tablespaces: readonly string[] },
): Promise<GlobalsPlan | undefined> {
  if (!request.globals) return undefined;
  const sql = await found.readGlobals();
  if (sql === undefined) {
    throw new LifeboatError(
      'RESTORE_REFUSED',
      `${found.label} has no manifest, so there is no roles file of it`,
      {
        hint: 'Run the restore without --globals; restore a roles file of your own with psql.',
      },
    );
  }
  return planGlobals(sql, { roles: new Set(facts.roles), tablespaces: new Set(facts.tablespaces) });
}

/** A missing program is one problem among others, not the only one to be told. */
async function findTools(
  server: TargetServer,
  backup: BackupFacts,
): Promise<RestoreTools | { readonly problem: LifeboatError }> {
  try {
    return await server.tools(backup.format);
  } catch (error) {
    if (error instanceof LifeboatError && error.code === 'CLIENT_MISSING') return { problem: error };
    throw error;
  }
}

/**
 * A dump of Lifeboat's own is taken apart as it is read, and all but the rows of tables is written into a file; how much of
 * it is large objects is not known.
 */
function scratchBytes(found: FoundBackup, { format, rawSize, largeObjects }: BackupFacts): number {
  const rowsOnly = found.manifest !== undefined && largeObjects === 0;
  return format === 'plain' || rowsOnly ? 0 : rawSize;
}

async function measureDisk(ports: RestorePorts, needed: number): Promise<DiskNeed> {
  return { folder: ports.files.folder, needed, free: await ports.host.freeBytes(ports.files.folder) };
}
