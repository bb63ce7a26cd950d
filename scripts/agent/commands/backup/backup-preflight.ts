import { formatBackupId, type BackupId } from '../../../../lib/domain/backup/backup-id.ts';
import { isFromFuture, latestBackup, type Backup } from '../../../../lib/domain/backup/catalog.ts';
import {
  checkClient,
  checkDiskSpace,
  checkRights,
  checkSeries,
  estimateDumpSize,
} from '../../../../lib/domain/backup/preflight.ts';
import { asLifeboatError, LifeboatError } from '../../../../lib/domain/errors.ts';
import { majorOf } from '../../../../lib/domain/server-version.ts';
import { joinCatalogs, readCatalog, type Catalog } from '../../catalog/dumps.ts';
import { untilInterrupted } from '../../abort.ts';
import type { BackupPorts, DumpTools, SourceFacts } from '../../ports/backup.ts';
import type { ObjectStore } from '../../ports/store.ts';
import type { BackupRequest } from './backup-request.ts';
import { GatheredProblems } from '../gathered-problems.ts';

/** What the preflight found; the run uses it without asking again. */
export interface BackupPreflight {
  readonly facts: SourceFacts;
  readonly tools: DumpTools;
  readonly catalog: Catalog;
  readonly estimatedSize: number;
  /** Of the dump before compression, for the progress bar. */
  readonly estimatedRawSize: number;
  readonly freeBytes: number;
  /** Why S3 cannot take a copy; the local one is made all the same, and the run fails at its end. */
  readonly s3Failure: LifeboatError | undefined;
  readonly warnings: readonly string[];
}

/**
 * Refuses before anything is touched. Where S3 is the only problem the run goes on: a night without S3, or with a wrong
 * key, is better with a local backup than without any.
 * @throws LifeboatError with every problem at once
 */
export async function preflight(ports: BackupPorts, request: BackupRequest): Promise<BackupPreflight> {
  const problems = new GatheredProblems();
  const [local, s3] = ports.stores;
  // --dry-run writes nothing, not even the folder.
  const readLocal = readyStore(ports, request.app, local, !request.dryRun);
  const [facts, freeBytes, localCopies, s3Found] = await untilInterrupted(
    ports.interrupted,
    Promise.all([
      problems.attempt(ports.source.inspect()),
      problems.attempt(ports.host.freeBytes(local.urlOf(''))),
      problems.attempt(readLocal),
      s3 && readyStore(ports, request.app, s3, true).catch(asLifeboatError),
    ]),
  );
  const s3Failure = s3Found instanceof LifeboatError ? s3Found : undefined;
  const catalog =
    localCopies && joinCatalogs(localCopies, s3Found instanceof LifeboatError ? undefined : s3Found);
  // Without the server's version any client is looked for, so that a missing one is told in the same go.
  const tools = await problems.attempt(ports.source.findDumpTools(facts ? majorOf(facts.versionNumber) : 0));
  const estimate = facts && catalog ? estimateSizes(facts, catalog.backups) : undefined;
  problems.add(...judge(request, { facts, tools, catalog, freeBytes, estimate, folder: local.urlOf('') }));
  if (s3Failure && (problems.some || request.dryRun)) problems.add(s3Failure);
  problems.throwAny();
  return {
    s3Failure,
    facts: facts!,
    tools: tools!,
    catalog: catalog!,
    freeBytes: freeBytes!,
    ...estimate!,
    warnings: collectWarnings(facts!, catalog!.backups, ports.clock.now()),
  };
}

/** Reachable, writable, and read: a store that answers only the first question is of no use. */
async function readyStore(
  ports: BackupPorts,
  app: string,
  store: ObjectStore,
  writable: boolean,
): Promise<Catalog> {
  await store.check({ writable });
  return readCatalog(app, [store], await ports.journal.records());
}

interface Findings {
  readonly facts: SourceFacts | undefined;
  readonly tools: DumpTools | undefined;
  readonly catalog: Catalog | undefined;
  readonly freeBytes: number | undefined;
  readonly estimate: { estimatedSize: number } | undefined;
  readonly folder: string;
}

function judge(
  request: BackupRequest,
  { facts, tools, catalog, freeBytes, estimate, folder }: Findings,
): LifeboatError[] {
  const found: (LifeboatError | undefined)[] = [];
  if (facts && tools) found.push(checkClient(tools.pgDump, facts), checkClient(tools.pgDumpall, facts));
  if (facts) found.push(checkRights(request.user, facts.unreadable), checkStandby(facts, request));
  if (facts && catalog && !request.adoptSeries) {
    const source = { database: request.database, systemIdentifier: facts.systemIdentifier };
    found.push(checkSeries(request.app, source, catalog.backups));
  }
  if (freeBytes !== undefined && estimate)
    found.push(checkDiskSpace(folder, freeBytes, estimate.estimatedSize));
  return found.filter((problem) => problem !== undefined);
}

function checkStandby(facts: SourceFacts, { allowStandby }: BackupRequest): LifeboatError | undefined {
  if (!facts.standby || allowStandby) return undefined;
  return new LifeboatError(
    'STANDBY_REFUSED',
    'The server is a standby: a dump there can be cancelled by replay, and lags behind',
  );
}

function estimateSizes(
  facts: SourceFacts,
  backups: readonly Backup[],
): { estimatedSize: number; estimatedRawSize: number } {
  const previous = latestBackup(backups)?.manifest;
  return {
    estimatedSize: estimateDumpSize(facts.databaseBytes, previous),
    estimatedRawSize: previous?.dump.rawSize ?? Math.ceil(facts.databaseBytes * 0.8),
  };
}

function collectWarnings(facts: SourceFacts, backups: readonly Backup[], now: Date): string[] {
  const warnings: string[] = [];
  const newest = backups[0];
  if (newest && isFromFuture(newest.time, now)) {
    warnings.push(
      `The newest backup, ${newest.id}, is dated in the future: the clock was set. "latest" passes it over. Check the clock: timedatectl`,
    );
  }
  if (!facts.mayReadPasswords) {
    warnings.push(
      'Roles were dumped without their passwords: this role may not read them (needs superuser rights)',
    );
  }
  if (facts.standby) warnings.push('Dumped from a standby');
  return warnings;
}

/** The run's id: its start, moved on by a second while something already lies under that name. */
export function chooseId(app: string, now: Date, taken: readonly Backup[]): BackupId {
  const ids = new Set(taken.map(({ id }) => id));
  const id = { app, time: new Date(Math.floor(now.getTime() / 1000) * 1000) };
  while (ids.has(formatBackupId(id))) id.time.setTime(id.time.getTime() + 1000);
  return id;
}
