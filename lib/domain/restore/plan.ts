import { formatBytes, formatCount } from '../quantities.ts';
import type { BackupFacts } from './backup-facts.ts';
import { restoringMark, type DatabaseNames } from './database-names.ts';
import {
  commentOnDatabase,
  createDatabase,
  databaseOwner,
  databaseProperties,
  dropDatabase,
  publicSchemaGrants,
  renameDatabase,
} from './database-statements.ts';
import type { RestoreEstimate } from './estimate.ts';
import type { GlobalsPlan } from './globals.ts';
import type { DiskNeed, ServerFacts, TargetFacts } from './preflight-facts.ts';
import { quoteIdentifier, quoteQualified } from './sql.ts';
import type { TablePlan } from './table-plan.ts';

/** Everything that a restore is going to do; `--dry-run` prints it, the real run executes it. Holds no secret. */
export interface RestorePlan {
  readonly target: string;
  /** `create`: there is no such database. `fill`: it is empty. `replace`: it holds data, which is kept aside. */
  readonly action: 'create' | 'fill' | 'replace';
  readonly backup: PlannedBackup;
  /** In the order in which they are tried; the next one serves when a copy turns out to be damaged. */
  readonly copies: readonly PlannedCopy[];
  /** Bytes to download from the first copy. */
  readonly fetchBytes: number;
  readonly restoringInto: string;
  /** The name under which what was there is kept: for good (`replace`), or until it is dropped (`fill`). */
  readonly keptAs: string | undefined;
  readonly leftovers: readonly string[];
  readonly globals: Omit<GlobalsPlan, 'statements'> | undefined;
  readonly statements: PlannedStatements;
  readonly jobs: number;
  readonly disk: DiskNeed;
  readonly estimate: RestoreEstimate;
  readonly warnings: readonly string[];
}

/** The plan of `restore --table`. */
export interface TableRestorePlan extends Omit<
  RestorePlan,
  'action' | 'restoringInto' | 'keptAs' | 'leftovers' | 'globals' | 'statements'
> {
  readonly action: 'tables';
  /** Run first, where the target does not exist. */
  readonly createDatabase: string | undefined;
  readonly tables: TablePlan;
}

export interface PlannedBackup {
  readonly label: string;
  readonly startedAt: string | undefined;
  readonly database: string | undefined;
  readonly format: BackupFacts['format'];
  readonly compression: BackupFacts['compression'];
  readonly rawSize: number;
  readonly rawSizeExact: boolean;
  readonly tables: number | undefined;
  readonly rows: number | undefined;
}

interface PlannedCopy {
  readonly where: 'local' | 's3';
  /** A path or an `s3://` URL. */
  readonly url: string;
  readonly size: number;
}

interface PlannedStatements {
  readonly create: string;
  /** Marks the database as unfinished. */
  readonly mark: string;
  /** Gives it to its owner, before the load. */
  readonly owner: readonly string[];
  /** Tried out before the load, run after it. */
  readonly properties: readonly string[];
  /** In the restored database: what an empty target's schema public granted, on top of the backup's own grants. */
  readonly publicGrants: readonly string[];
  /** In one transaction. */
  readonly swap: readonly string[];
  /** Run only while the old database is still empty. */
  readonly dropEmpty: readonly string[];
}

export interface PlanInput {
  readonly target: string;
  readonly backup: BackupFacts;
  readonly copies: readonly PlannedCopy[];
  readonly names: DatabaseNames;
  readonly server: ServerFacts;
  readonly targetFacts: TargetFacts | undefined;
  readonly leftovers: readonly string[];
  readonly globals: GlobalsPlan | undefined;
  readonly jobs: number;
  readonly runId: string;
  readonly disk: DiskNeed;
  readonly estimate: RestoreEstimate;
  readonly warnings: readonly string[];
}

/** What `--dry-run` prints is what the real run executes. */
export function planRestore(input: PlanInput): RestorePlan {
  const { target, backup, copies, names, targetFacts, globals } = input;
  const first = copies[0];
  return {
    target,
    action: !targetFacts ? 'create' : targetFacts.contents === undefined ? 'fill' : 'replace',
    backup: describeBackup(backup),
    copies,
    fetchBytes: first?.where === 's3' ? first.size : 0,
    restoringInto: names.restoring,
    keptAs: targetFacts ? names.before : undefined,
    leftovers: input.leftovers,
    globals: globals && {
      created: globals.created,
      leftAlone: globals.leftAlone,
      missingTablespaces: globals.missingTablespaces,
    },
    statements: planStatements(input),
    jobs: input.jobs,
    disk: input.disk,
    estimate: input.estimate,
    warnings: [...input.warnings, ...globalsWarnings(globals)],
  };
}

/** What plan and result say of the backup. */
export function describeBackup(backup: BackupFacts): PlannedBackup {
  return {
    label: backup.label,
    startedAt: backup.startedAt,
    database: backup.database?.name,
    format: backup.format,
    compression: backup.compression,
    rawSize: backup.rawSize,
    rawSizeExact: backup.exact,
    tables: backup.tables?.length,
    rows: backup.tables?.reduce((sum, { rows }) => sum + rows, 0),
  };
}

function planStatements({ target, backup, names, server, targetFacts, runId }: PlanInput): PlannedStatements {
  const database = backup.database ?? targetFacts?.database;
  const tablespace =
    database && database.tablespace !== 'pg_default' && server.tablespaces.includes(database.tablespace)
      ? database.tablespace
      : undefined;
  return {
    create: createDatabase(names.restoring, database, tablespace, server.versionNumber),
    mark: commentOnDatabase(names.restoring, restoringMark(target, backup.label, runId)),
    owner: database ? [databaseOwner(names.restoring, database)] : [],
    properties: database
      ? databaseProperties(names.restoring, database, new Set(server.unknownSettings))
      : [],
    publicGrants: publicSchemaGrants(targetFacts?.publicGrants),
    swap: [
      ...(targetFacts ? [renameDatabase(target, names.before)] : []),
      renameDatabase(names.restoring, target),
      commentOnDatabase(target, database?.comment ?? null),
    ],
    // Not WITH (FORCE): whoever is connected may be about to put something into it.
    dropEmpty: targetFacts && targetFacts.contents === undefined ? [dropDatabase(names.before)] : [],
  };
}

function globalsWarnings(globals: GlobalsPlan | undefined): string[] {
  if (!globals) return [];
  const warnings: string[] = [];
  if (globals.leftAlone.length > 0) {
    warnings.push(
      `Roles that exist already were left as they are, passwords included: ${globals.leftAlone.join(', ')}.`,
    );
  }
  if (globals.missingTablespaces.length > 0) {
    warnings.push(
      `Tablespaces are folders of the host and are not restored; missing here: ${globals.missingTablespaces.join(', ')}.`,
    );
  }
  return warnings;
}

/** The plan as numbered lines for people, statements word for word. */
export function planSteps(plan: RestorePlan): string[] {
  const { statements } = plan;
  const steps = plan.leftovers.map((name) => `Remove what a killed restore left: ${dropDatabase(name)}`);
  steps.push(fetchStep(plan));
  if (plan.globals) steps.push(`Create the roles ${plan.globals.created.join(', ') || '(none is missing)'}`);
  steps.push(statements.create, ...statements.owner, loadStep(plan));
  steps.push(
    plan.backup.tables === undefined
      ? 'Compare no rows: how many there must be is not known'
      : `Count the rows of ${formatCount(plan.backup.tables, 'table')} and compare them with the backup’s`,
  );
  steps.push(...statements.properties, ...statements.publicGrants);
  steps.push(['BEGIN', ...statements.swap, 'COMMIT'].join('; '));
  steps.push(...statements.dropEmpty.map((statement) => `${statement}, if it is still empty`));
  return steps;
}

/** The same for `restore --table`. */
export function tablePlanSteps(plan: TableRestorePlan): string[] {
  const { before, after, tables } = plan.tables;
  const names = tables.map(({ schema, name }) => quoteQualified(schema, name)).join(', ');
  return [
    fetchStep(plan),
    ...(plan.createDatabase === undefined ? [] : [plan.createDatabase]),
    'BEGIN',
    ...before,
    `Restore ${names} with psql, with their data, sequences, indexes, constraints, triggers and grants`,
    ...(after.length > 0
      ? [`Count the rows of ${formatCount(after.length, 'table')} and compare them with the backup’s`]
      : []),
    'COMMIT',
  ];
}

function fetchStep({ copies, fetchBytes }: Pick<RestorePlan, 'copies' | 'fetchBytes'>): string {
  const from = copies[0]?.url ?? '';
  return fetchBytes > 0
    ? `Download ${from} (${formatBytes(fetchBytes)}) and check its size and SHA-256`
    : `Check ${from} (${formatBytes(copies[0]?.size ?? 0)})`;
}

function loadStep({ backup, jobs, restoringInto }: RestorePlan): string {
  const size = `${backup.rawSizeExact ? '' : 'about '}${formatBytes(backup.rawSize)}`;
  const into = `into ${quoteIdentifier(restoringInto)}`;
  if (backup.format === 'plain') return `Restore ${size} of SQL ${into} with psql`;
  // Only a dump of Lifeboat's own, which has a manifest, is taken apart as it is read.
  const what = backup.startedAt === undefined ? `Unpack ${size}, and restore it` : `Restore ${size}`;
  return `${what} ${into} with pg_restore, ${jobs} jobs`;
}
