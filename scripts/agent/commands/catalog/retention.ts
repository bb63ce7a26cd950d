import type { BackupCopy } from '../../../../lib/domain/backup/catalog.ts';
import { decideRetention, type RetentionDecision } from '../../../../lib/domain/backup/retention.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { OBJECT_TAG } from '../../../../lib/domain/names.ts';
import { clockWasSet } from '../../../../lib/domain/run/run-record.ts';
import { readCatalog } from '../../catalog/dumps.ts';
import type { Clock, Host, Log } from '../../ports/host.ts';
import type { Journal } from '../../ports/journal.ts';
import type { ObjectStore } from '../../ports/store.ts';
import type { WalStores } from '../../catalog/wal.ts';
import {
  applyToRecovery,
  decideInS3,
  decideLocalBases,
  type RecoveryDecisions,
} from '../recover/recovery-retention.ts';

export interface RetentionPorts {
  readonly stores: readonly [local: ObjectStore, s3?: ObjectStore];
  /** Both buckets of point-in-time recovery, where there is S3. */
  readonly wal?: WalStores | undefined;
  readonly journal: Journal;
  readonly host: Pick<Host, 'boot'>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface RetentionRequest {
  readonly app: string;
  readonly localDays: number;
  readonly s3Days: number;
  /** Only tell. */
  readonly dryRun: boolean;
  /** What happens in S3, with the rights of whoever runs it; the local folder is always the host's own. */
  readonly s3: 'leave' | 'tag' | 'delete';
}

export interface RetentionResult {
  readonly local: readonly RetentionDecision[];
  readonly s3: readonly RetentionDecision[] | undefined;
  /** Base backups, and in S3 WAL as well. */
  readonly recovery: { readonly local: RecoveryDecisions; readonly s3: RecoveryDecisions | undefined };
  /** What was done to the copies whose retention is over. */
  readonly localAction: 'none' | 'removed';
  readonly s3Action: 'none' | 'tagged' | 'deleted';
}

/** `lifeboat retention`: what would go and why; without --dry-run it goes, in S3 only with --apply. */
export async function retention(ports: RetentionPorts, request: RetentionRequest): Promise<RetentionResult> {
  const [local, s3] = ports.stores;
  const localDecisions = await decide(ports, request.app, local, request.localDays);
  const s3Decisions = s3 && (await decide(ports, request.app, s3, request.s3Days, readPins(request)));
  const wal = { ...ports, wal: ports.wal };
  const { app, localDays, s3Days } = request;
  const recovery = {
    local: await decideLocalBases(wal, app, local, localDays),
    s3: ports.wal && (await decideInS3(wal, ports.wal, { app, days: s3Days, pins: readPins(request) })),
  };
  const act = !request.dryRun;
  if (act) {
    await removeCopies(local, localDecisions);
    await applyToRecovery({ backups: local, state: local }, recovery.local, 'delete');
  }
  const s3Action = act && s3 && s3Decisions ? await applyInS3(s3, s3Decisions, request.s3) : 'none';
  if (act && ports.wal && recovery.s3 && request.s3 !== 'leave')
    await applyToRecovery(ports.wal, recovery.s3, request.s3);
  return {
    local: localDecisions,
    s3: s3Decisions,
    recovery,
    localAction: act ? 'removed' : 'none',
    s3Action,
  };
}

/** The end of every backup: only its own folder, only after the new backup stands. @returns the ids that went */
export async function removeExpiredLocally(
  ports: RetentionPorts,
  { app, days, justMade }: { app: string; days: number; justMade: string },
): Promise<string[]> {
  const [local] = ports.stores;
  const decisions = await decide(ports, app, local, days);
  const gone = expired(decisions).map(({ id }) => id);
  if (gone.length === 0) return [];
  const { clock, host } = ports;
  const set = clockWasSet(await ports.journal.records(), { time: clock.now(), boot: host.boot() });
  // A clock that jumped would make a week of backups look old at once, or the new one.
  if (set || gone.includes(justMade)) {
    throw new LifeboatError(
      'CLOCK_SET',
      `the clock was set since an earlier run, and ${gone.join(', ')} may not be old`,
    );
  }
  await removeCopies(local, decisions);
  for (const id of gone) ports.log.info(`Removed ${id}: older than ${days} days`);
  return gone;
}

async function decide(
  ports: RetentionPorts,
  app: string,
  store: ObjectStore,
  days: number,
  pins: 'must be read' | 'if allowed' = 'must be read',
): Promise<RetentionDecision[]> {
  const catalog = await readCatalog(app, [store], await ports.journal.records());
  const copies = catalog.copiesIn(store);
  const policy = { days, now: ports.clock.now() };
  const decisions = decideRetention(copies, policy);
  if (store.kind === 'local') return decisions;
  return decideRetention(copies, { ...policy, pinned: await findPinned(store, expired(decisions), pins) });
}

/** The host itself may not read tags. Where nothing is going to be changed it may still tell what would be. */
function readPins({ dryRun, s3 }: RetentionRequest): 'must be read' | 'if allowed' {
  return dryRun || s3 === 'leave' ? 'if allowed' : 'must be read';
}

/** Somebody may have pinned a backup by a tag on any of its objects; only those that would go need to be asked. */
async function findPinned(
  store: ObjectStore,
  copies: readonly BackupCopy[],
  pins: 'must be read' | 'if allowed',
): Promise<Set<string>> {
  const pinned = new Set<string>();
  try {
    for (const { id, files } of copies) {
      for (const { key } of files) if (OBJECT_TAG.pinned in (await store.tags(key))) pinned.add(id);
    }
  } catch (error) {
    const denied = error instanceof LifeboatError && error.code === 'S3_DENIED';
    if (!denied || pins === 'must be read') throw error;
  }
  return pinned;
}

function expired(decisions: readonly RetentionDecision[]): BackupCopy[] {
  return decisions.filter(({ expire }) => expire).map(({ copy }) => copy);
}

async function removeCopies(store: ObjectStore, decisions: readonly RetentionDecision[]): Promise<void> {
  for (const copy of expired(decisions)) {
    for (const key of manifestFirst(copy)) await store.remove(key);
  }
}

/** The manifest goes first: what an interruption leaves is then no longer a backup, instead of one with a file missing. */
function manifestFirst({ files }: BackupCopy): string[] {
  const keys = files.map(({ key }) => key);
  return keys.toSorted((one, other) => Number(other.endsWith('.json')) - Number(one.endsWith('.json')));
}

async function applyInS3(
  s3: ObjectStore,
  decisions: readonly RetentionDecision[],
  action: RetentionRequest['s3'],
): Promise<RetentionResult['s3Action']> {
  if (action === 'leave') return 'none';
  if (action === 'delete') {
    await removeCopies(s3, decisions);
    return 'deleted';
  }
  const { key: tag, value } = OBJECT_TAG.expirable;
  for (const copy of expired(decisions)) {
    for (const { key } of copy.files) await s3.setTags(key, { ...(await s3.tags(key)), [tag]: value });
  }
  return 'tagged';
}
