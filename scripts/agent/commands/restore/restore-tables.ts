import { formatCount } from '../../../../lib/domain/quantities.ts';
import { combineProblems } from '../../../../lib/domain/errors.ts';
import type { BackupFacts } from '../../../../lib/domain/restore/backup-facts.ts';
import { createDatabase } from '../../../../lib/domain/restore/database-statements.ts';
import type { DumpEntry } from '../../../../lib/domain/restore/dump-entries.ts';
import { estimateRestore } from '../../../../lib/domain/restore/estimate.ts';
import { describeBackup, type TableRestorePlan } from '../../../../lib/domain/restore/plan.ts';
import { checkRestore, needsOf } from '../../../../lib/domain/restore/preflight.ts';
import type { DiskNeed, RestoreTools, ServerFacts } from '../../../../lib/domain/restore/preflight-facts.ts';
import { keyOfName, parseTableList } from '../../../../lib/domain/restore/table-names.ts';
import { planTables } from '../../../../lib/domain/restore/table-plan.ts';
import { selectTables, type TableSelection } from '../../../../lib/domain/restore/table-selection.ts';
import type { ReadRequest } from '../../ports/dump-files.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import type { TargetServer } from '../../ports/target-server.ts';
import type { CheckedDump } from './restore-copy.ts';
import type { FoundBackup } from './restore-find.ts';
import type { RestoreRequest, RestoreResult } from './restore.ts';

export interface TableRun {
  readonly request: RestoreRequest;
  readonly found: FoundBackup;
  readonly backup: BackupFacts;
  readonly checked: CheckedDump;
  readonly started: number;
}

interface PreparedTables {
  readonly plan: TableRestorePlan;
  readonly entries: readonly DumpEntry[];
  readonly selection: TableSelection;
  readonly tools: RestoreTools;
}

/**
 * Brings single tables back into the target, in one transaction: either all of them are there with every row, or nothing
 * has changed. A table that is in the way is moved to another schema, with its data.
 *
 * @throws LifeboatError
 */
export async function restoreTables(
  ports: RestorePorts,
  server: TargetServer,
  run: TableRun,
): Promise<RestoreResult> {
  const prepared = await prepare(ports, server, run);
  const { plan } = prepared;
  for (const warning of plan.warnings) ports.log.warn(warning);
  ports.log.info('✅ Prerequisites OK');
  if (run.request.dryRun) return { plan, completed: undefined };
  ports.log.info(
    `Restoring ${formatCount(plan.tables.tables.length, 'table')} of ${plan.backup.label} into ${JSON.stringify(plan.target)}...`,
  );
  let created = false;
  try {
    if (plan.createDatabase !== undefined) {
      await server.execute([plan.createDatabase]);
      created = true;
    }
    await load(ports, server, run, prepared);
  } catch (error) {
    // Best effort: the error that led here is the one to report, and an empty database is all that could be left.
    if (created) await server.dropDatabase(plan.target).catch(() => undefined);
    throw error;
  }
  return { plan, completed: report(ports, run, prepared) };
}

async function prepare(ports: RestorePorts, server: TargetServer, run: TableRun): Promise<PreparedTables> {
  const { request, found, backup, checked } = run;
  const { facts, tools, disk, warnings } = await check(ports, server, run);
  const entries = await checked.dump.entries({ ...readRequest(ports, run), format: backup.format });
  const exists = facts.databases.includes(request.database);
  const present = exists ? await server.presentTables(request.database) : [];
  const wanted = parseTableList(request.tables ?? '');
  const selection = selectTables(entries, wanted, new Set(present.map(keyOfName)));
  const tables = planTables({
    target: request.database,
    selection,
    present,
    counted: backup.tables,
    replace: request.replace,
    now: ports.clock.now(),
  });
  const plan: TableRestorePlan = {
    target: request.database,
    action: 'tables',
    backup: describeBackup(backup),
    copies: found.copies.map(({ where, url, size }) => ({ where, url, size })),
    fetchBytes: 0,
    createDatabase: exists ? undefined : createStatement(request, backup, facts),
    tables,
    jobs: 1,
    disk,
    estimate: estimateRestore(0, backup.rawSize, backup.format, await ports.rates.read()),
    warnings: [...found.warnings, ...warnings, ...tables.warnings],
  };
  return { plan, entries, selection, tools };
}

/** @throws LifeboatError with every problem at once */
async function check(
  ports: RestorePorts,
  server: TargetServer,
  { request, backup }: TableRun,
): Promise<{ facts: ServerFacts; tools: RestoreTools; disk: DiskNeed; warnings: readonly string[] }> {
  // What other tables need is no concern of these: a missing role or type of theirs ends the transaction, unharmed.
  const needed = { ...backup, database: undefined, roles: [], owners: [], extensions: [] };
  const facts = await server.facts(needsOf(needed));
  const tools = await server.tools(backup.format);
  const { folder } = ports.files;
  const disk = {
    folder,
    needed: backup.format === 'custom' ? backup.rawSize : 0,
    free: await ports.host.freeBytes(folder),
  };
  const { problems, warnings } = checkRestore({
    backup: needed,
    target: request.database,
    server: facts,
    targetFacts: undefined,
    tools,
    rolesToCome: [],
    replace: request.replace,
    forceOlder: request.forceOlder,
    disk,
  });
  const problem = combineProblems(problems);
  if (problem) throw problem;
  return { facts, tools, disk, warnings };
}

function createStatement(request: RestoreRequest, { database }: BackupFacts, facts: ServerFacts): string {
  return createDatabase(request.database, database, undefined, facts.versionNumber);
}

async function load(
  ports: RestorePorts,
  server: TargetServer,
  run: TableRun,
  { plan, entries, selection, tools }: PreparedTables,
): Promise<void> {
  const { interrupted } = ports;
  const request = readRequest(ports, run);
  const custom = run.backup.format === 'custom';
  ports.progress.start(custom ? 'Unpacking' : 'Restoring', custom ? run.backup.rawSize : 0);
  try {
    const selected = selection.entries;
    const sql = custom
      ? server.archiveAsSql({
          tools,
          path: await run.checked.dump.unpack({ ...request, target: plan.target }),
          selected,
          interrupted,
        })
      : run.checked.dump.selected({ ...request, entries, selected });
    const content = surround(plan.tables.before, sql, plan.tables.after);
    await server.loadTogether({
      database: plan.target,
      tools,
      interrupted,
      onProgress: request.onProgress,
      content,
    });
  } finally {
    ports.progress.stop();
  }
}

function readRequest(ports: RestorePorts, { found }: TableRun): ReadRequest {
  return {
    layout: found.manifest?.dump,
    interrupted: ports.interrupted,
    onProgress: (bytes) => ports.progress.update(bytes),
  };
}

async function* surround(
  before: readonly string[],
  content: AsyncIterable<Buffer>,
  after: readonly string[],
): AsyncGenerator<Buffer> {
  if (before.length > 0) yield toSql(before);
  yield* content;
  if (after.length > 0) yield toSql(after);
}

function toSql(statements: readonly string[]): Buffer {
  return Buffer.from(`\n${statements.join(';\n')};\n`);
}

function report(
  ports: RestorePorts,
  { backup, checked, started }: TableRun,
  { plan }: PreparedTables,
): NonNullable<RestoreResult['completed']> {
  const keys = new Set(plan.tables.tables.map(keyOfName));
  const counted = (backup.tables ?? []).filter((table) => keys.has(keyOfName(table)));
  const rows = counted.reduce((sum, table) => sum + table.rows, 0);
  const totals = backup.tables && { tables: counted.length, rows };
  if (totals)
    ports.log.info(`✅ Rows verified: ${formatCount(totals.tables, 'table')}, ${formatCount(rows, 'row')}`);
  for (const { schema, name, to } of plan.tables.moved)
    ports.log.info(`The old ${schema}.${name} is kept in the schema ${to}`);
  ports.log.info('✅ Restore completed successfully');
  return {
    database: plan.target,
    source: checked.source,
    checked: totals,
    keptAs: undefined,
    durationMs: ports.clock.monotonic() - started,
    downloadMs: checked.downloaded?.milliseconds ?? 0,
    warnings: plan.warnings,
  };
}
