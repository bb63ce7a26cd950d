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
  /** Why a store cannot take a copy; the other one is made all the same, and the run fails at its end. At most one has one. */
  readonly storeFailures: StoreFailures;
  readonly warnings: readonly string[];
}

/** By the store's kind. */
interface StoreFailures {
  /** BACKUP_DIR has no room for the dump; it can be used otherwise, or the run has ended before. */
  readonly local: LifeboatError | undefined;
  readonly s3: LifeboatError | undefined;
}

/**
 * Refuses before anything is touched. Where one store is the only problem the run goes on: a night without S3, with a wrong
 * key or with a full disk is better with one copy than without any.
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
  const s3Copies = s3Found instanceof LifeboatError ? undefined : s3Found;
  const catalog = localCopies && joinCatalogs(localCopies, s3Copies);
  // Without the server's version any client is looked for, so that a missing one is told in the same go.
  const tools = await problems.attempt(ports.source.findDumpTools(facts ? majorOf(facts.versionNumber) : 0));
  const estimate = facts && catalog ? estimateSizes(facts, catalog.backups) : undefined;
  problems.add(...judge(request, { facts, tools, catalog }));
  const storeFailures = {
    local:
      freeBytes === undefined || !estimate
        ? undefined
        : checkDiskSpace(local.urlOf(''), freeBytes, estimate.estimatedSize),
    s3: s3Found instanceof LifeboatError ? s3Found : undefined,
  };
  const failures = [storeFailures.local, storeFailures.s3].filter((failure) => failure !== undefined);
  const storesLeft = ports.stores.filter((store) => store).length - failures.length;
  if (problems.some || request.dryRun || storesLeft === 0) problems.add(...failures);
  problems.throwAny();
  return {
    storeFailures,
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
}

function judge(request: BackupRequest, { facts, tools, catalog }: Findings): LifeboatError[] {
  const found: (LifeboatError | undefined)[] = [];
  if (facts && tools) found.push(checkClient(tools.pgDump, facts), checkClient(tools.pgDumpall, facts));
  if (facts) found.push(checkRights(request.user, facts.unreadable), checkStandby(facts, request));
  if (facts && catalog && !request.adoptSeries) {
    const source = { database: request.database, systemIdentifier: facts.systemIdentifier };
    found.push(checkSeries(request.app, source, catalog.backups));
  }
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
