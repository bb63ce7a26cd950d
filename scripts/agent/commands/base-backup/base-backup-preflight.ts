import { asLifeboatError, LifeboatError } from '../../../../lib/domain/errors.ts';
import type { Base } from '../../../../lib/domain/base/base-catalog.ts';
import { decideIncrement, type Increment } from '../../../../lib/domain/base/increment.ts';
import { checkBaseStandby, checkReplicationFacts } from '../../../../lib/domain/base/preflight.ts';
import { checkDiskSpace } from '../../../../lib/domain/backup/preflight.ts';
import { untilInterrupted } from '../../abort.ts';
import { readBaseViews } from '../../catalog/bases.ts';
import type { BaseBackupPorts, BaseServerFacts } from '../../ports/base-backup.ts';
import type { ObjectStore } from '../../ports/store.ts';
import type { BaseBackupRequest } from './base-backup-request.ts';
import { GatheredProblems } from '../gathered-problems.ts';

/** What the preflight found; the run uses it without asking again. */
export interface BasePreflight {
  readonly facts: BaseServerFacts;
  /** Where the backup goes. */
  readonly store: ObjectStore;
  /** Of every cluster of this app in that store, newest first. */
  readonly bases: readonly Base[];
  readonly increment: Increment;
  /** Compressed. */
  readonly estimatedBytes: number;
  /** Of BACKUP_DIR; `undefined` where nothing is stored there. */
  readonly freeBytes: number | undefined;
  readonly warnings: readonly string[];
}

/**
 * Refuses before anything is touched. Unlike a dump's, a run whose S3 does not answer ends here: the backup would be as large as
 * the cluster, and BACKUP_DIR lies beside it.
 * @throws LifeboatError with every problem at once
 */
export async function preflightBase(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
): Promise<BasePreflight> {
  const problems = new GatheredProblems();
  const [local, s3] = ports.stores;
  const store = s3 ?? local;
  const isLocal = store.kind === 'local';
  const [facts, freeBytes, bases] = await untilInterrupted(
    ports.interrupted,
    Promise.all([
      askServer(ports, problems),
      isLocal ? problems.attempt(ports.host.freeBytes(local.urlOf(''))) : undefined,
      problems.attempt(readyStore(ports, request, store, !(isLocal && request.dryRun))),
    ]),
  );
  problems.add(...judge(request, facts));
  const estimatedBytes = facts && bases ? estimateSize(facts, bases) : 0;
  const noRoom =
    freeBytes === undefined ? undefined : checkDiskSpace(local.urlOf(''), freeBytes, estimatedBytes);
  if (noRoom) problems.add(noRoom);
  problems.throwAny();
  return {
    facts: facts!,
    store,
    bases: bases!,
    increment: decideIncrement({
      wanted: request.incremental,
      server: facts!,
      bases: bases!,
      now: ports.clock.now(),
    }),
    estimatedBytes,
    freeBytes,
    warnings: collectWarnings(facts!, bases!),
  };
}

/** SQL first: the connection that proves the right to replicate takes one of the senders that are counted there. */
async function askServer(
  { server }: BaseBackupPorts,
  problems: GatheredProblems,
): Promise<BaseServerFacts | undefined> {
  const inspected = await server.inspect().catch(asLifeboatError);
  if (!(inspected instanceof LifeboatError)) {
    await problems.attempt(proveReplication(server));
    return inspected;
  }
  await problems.attempt(Promise.reject(inspected));
  return undefined;
}

async function proveReplication(server: BaseBackupPorts['server']): Promise<void> {
  const connection = await server.replicate();
  try {
    await connection.identify();
  } finally {
    await connection.close();
  }
}

/** Reachable, writable, and read. What a verification found damaged nothing is built upon. */
async function readyStore(
  { journal, state }: BaseBackupPorts,
  { app, incremental }: BaseBackupRequest,
  store: ObjectStore,
  writable: boolean,
): Promise<readonly Base[]> {
  await store.check({ writable });
  const found = { runs: await journal.records(), state: incremental ? state : undefined };
  return (await readBaseViews(app, store, found)).verified;
}

function judge(request: BaseBackupRequest, facts: BaseServerFacts | undefined): LifeboatError[] {
  if (!facts) return [];
  const standby = checkBaseStandby(facts.standby, request.allowStandby);
  return [...checkReplicationFacts(facts), ...(standby ? [standby] : [])];
}

/** A first one is taken to need half of the cluster's size. */
const FIRST_BACKUP_SHARE = 0.5;
/** A cluster grows between two nights. */
const HEADROOM = 1.2;

function estimateSize({ systemIdentifier, clusterBytes }: BaseServerFacts, bases: readonly Base[]): number {
  const previous = bases.find(
    ({ series, manifest }) => series.systemIdentifier === systemIdentifier && manifest?.type === 'full',
  );
  if (!previous) return Math.ceil(clusterBytes * FIRST_BACKUP_SHARE);
  return Math.ceil(previous.manifest!.volumes.reduce((sum, { size }) => sum + size, 0) * HEADROOM);
}

function collectWarnings(facts: BaseServerFacts, bases: readonly Base[]): string[] {
  const warnings: string[] = [];
  const newest = bases.find(({ manifest }) => manifest);
  const before = newest?.series.systemIdentifier;
  if (newest && before !== facts.systemIdentifier) {
    warnings.push(
      `This is another cluster than that of ${newest.label}: system identifier ${facts.systemIdentifier}, then ${before} (a new initdb, pg_upgrade or another server). Its backups begin anew; the older ones stay apart`,
    );
  }
  if (!facts.dataChecksums) {
    warnings.push(
      'The cluster has no data checksums: pages that the disk has damaged are not noticed (pg_checksums --enable, while the server is stopped)',
    );
  }
  if (facts.standby) warnings.push('Taken from a standby');
  return warnings;
}
