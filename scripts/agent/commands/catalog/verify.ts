import { parseBackupId, requireBackupId } from '../../../../lib/domain/backup/backup-id.ts';
import { mergeCopies, type Backup, type BackupCopy } from '../../../../lib/domain/backup/catalog.ts';
import { asLifeboatError, LifeboatError } from '../../../../lib/domain/errors.ts';
import { newestUsable, type Base } from '../../../../lib/domain/base/base-catalog.ts';
import { parseBaseLabel } from '../../../../lib/domain/base/base-label.ts';
import { readBases } from '../../catalog/bases.ts';
import { readCatalog } from '../../catalog/dumps.ts';
import type { Verdicts } from '../../catalog/verdicts.ts';
import type { DigestReader } from '../../ports/backup.ts';
import type { BaseVerifier } from '../../ports/base-verification.ts';
import type { Clock, Host, Log, Progress } from '../../ports/host.ts';
import type { Journal } from '../../ports/journal.ts';
import type { DumpFiles } from '../../ports/dump-files.ts';
import type { ObjectStore } from '../../ports/store.ts';
import { verifyBase } from './verify-base.ts';

export interface VerifyPorts {
  readonly stores: readonly [local: ObjectStore, s3?: ObjectStore];
  readonly digests: DigestReader;
  readonly bases: BaseVerifier;
  readonly files: DumpFiles;
  readonly journal: Journal;
  readonly verdicts?: Verdicts | undefined;
  readonly host: Host;
  readonly clock: Clock;
  readonly log: Log;
  readonly progress: Progress;
  readonly interrupted: AbortSignal;
}

export interface VerifyRequest {
  readonly app: string;
  /** A dump's id or a base backup's label; the newest of each kind when neither this nor `all` is given. */
  readonly id: string | undefined;
  /** `dumps`: every dump, but of the base backups the newest, for each is as large as the cluster. */
  readonly all: boolean | 'dumps';
  readonly runId: string;
}

interface VerifiedCopy {
  readonly id: string;
  readonly store: 'local' | 's3';
  readonly url: string;
  readonly bytes: number;
  /** `proven`: every byte is as the manifest says. `readable`: no manifest, but it decompresses to a whole dump. */
  readonly verdict: 'proven' | 'readable' | 'failed';
  readonly failure: LifeboatError | undefined;
}

export interface VerifyResult {
  readonly copies: readonly VerifiedCopy[];
  readonly durationMs: number;
  /** CORRUPT when a copy is damaged, or why one could not be read. */
  readonly failure: LifeboatError | undefined;
}

/** `lifeboat verify`: reads every byte of every copy again. @throws LifeboatError BACKUP_NOT_FOUND, USAGE */
export async function verify(ports: VerifyPorts, request: VerifyRequest): Promise<VerifyResult> {
  const started = ports.clock.monotonic();
  const stores = ports.stores.filter((store) => store !== undefined);
  const { backups, bases, unreachable } = await readWhatCanBe(request.app, stores);
  const copies: VerifiedCopy[] = [];
  const labels = chooseBases(bases, request);
  for (const backup of labels && request.id !== undefined ? [] : choose(backups, request)) {
    for (const copy of backup.copies) {
      const store = stores.find(({ kind }) => kind === copy.store)!;
      if (copy.state !== 'unfinished') copies.push(await verifyCopy(ports, request, store, copy));
    }
  }
  for (const { store, base } of bases.filter(({ base: { label } }) => labels?.has(label)))
    copies.push(await verifyBase(ports, { store, base, runId: request.runId }));
  if (copies.length === 0 && !unreachable) throw nothingToVerify(request);
  return {
    copies,
    durationMs: ports.clock.monotonic() - started,
    failure: summarize(copies) ?? unreachable,
  };
}

function nothingToVerify({ app, id }: VerifyRequest): LifeboatError {
  return id === undefined
    ? new LifeboatError('BACKUP_NOT_FOUND', `There is no backup of ${app} to verify`, {
        hint: 'Run: lifeboat backup',
      })
    : new LifeboatError('BACKUP_NOT_FOUND', `${id} is no finished backup: there is nothing to verify`);
}

/** S3 being away must not keep the local copies from being verified; it is the verdict all the same. */
async function readWhatCanBe(
  app: string,
  stores: readonly ObjectStore[],
): Promise<{
  backups: readonly Backup[];
  bases: readonly StoredBase[];
  unreachable: LifeboatError | undefined;
}> {
  const read = await Promise.allSettled(
    stores.map(async (store) => ({
      store,
      catalog: await readCatalog(app, [store]),
      bases: await readBases(app, store),
    })),
  );
  const failed = read.find((each) => each.status === 'rejected');
  const there = read.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  return {
    backups: mergeCopies(there.flatMap(({ catalog }) => catalog.backups).flatMap(({ copies }) => copies)),
    bases: there.flatMap(({ store, bases }) => bases.map((base) => ({ store, base }))),
    unreachable: failed && asLifeboatError(failed.reason),
  };
}

interface StoredBase {
  readonly store: ObjectStore;
  readonly base: Base;
}

/** Labels; `undefined` where only dumps are asked for. What a run is still at work on, or has left, is no backup. */
function chooseBases(
  stored: readonly StoredBase[],
  { id, all, app }: VerifyRequest,
): ReadonlySet<string> | undefined {
  const finished = stored.map(({ base }) => base).filter(({ state }) => state !== 'unfinished');
  if (id !== undefined) {
    if (parseBaseLabel(id) === undefined) return undefined;
    if (finished.some(({ label }) => label === id)) return new Set([id]);
    throw new LifeboatError('BACKUP_NOT_FOUND', `There is no base backup ${id} of ${app}`);
  }
  if (all === true) return new Set(finished.map(({ label }) => label));
  const newest = newestUsable(finished) ?? finished[0];
  return new Set(newest ? [newest.label] : []);
}

/** Without an id the newest one that a run finished, whatever has become of it: that is what should be looked at. */
function choose(backups: readonly Backup[], { id, all, app }: VerifyRequest): readonly Backup[] {
  if (all !== false) return backups;
  if (id === undefined) {
    return backups.filter(({ copies }) => copies.some(({ state }) => state !== 'unfinished')).slice(0, 1);
  }
  if (parseBackupId(id) === undefined) requireBackupId(id);
  const found = backups.filter((backup) => backup.id === id);
  if (found.length > 0) return found;
  throw new LifeboatError('BACKUP_NOT_FOUND', `There is no backup ${id} of ${app}`);
}

async function verifyCopy(
  ports: VerifyPorts,
  request: VerifyRequest,
  store: ObjectStore,
  copy: BackupCopy,
): Promise<VerifiedCopy> {
  const started = ports.clock.monotonic();
  const url = store.urlOf(copy.dump?.key ?? copy.id);
  const bytes = copy.files.reduce((sum, { size }) => sum + size, 0);
  let failure: LifeboatError | undefined;
  try {
    if (copy.manifest) await compareWithManifest(ports, store, copy);
    else await readWithoutManifest(ports, store, copy);
    ports.log.info(`✅ ${url}`);
  } catch (error) {
    ports.interrupted.throwIfAborted();
    failure = asLifeboatError(error);
    ports.log.warn(`${url}: ${failure.message}`);
  } finally {
    ports.progress.stop();
  }
  const verdict = failure ? 'failed' : copy.manifest ? 'proven' : 'readable';
  await ports.journal.append({
    at: ports.clock.now().toISOString(),
    operation: 'verify',
    runId: request.runId,
    succeeded: failure === undefined,
    durationMs: Math.round(ports.clock.monotonic() - started),
    id: copy.id,
    store: store.kind,
    bytes,
    ...(failure ? { code: failure.code, message: failure.message } : {}),
  });
  return { id: copy.id, store: store.kind, url, bytes, verdict, failure };
}

async function compareWithManifest(
  ports: VerifyPorts,
  store: ObjectStore,
  { manifest, files }: BackupCopy,
): Promise<void> {
  for (const named of [manifest!.dump, manifest!.globals]) {
    const url = store.urlOf(named.key);
    const listed = files.find(({ key }) => key === named.key);
    if (!listed)
      throw new LifeboatError('CORRUPT', `${url} is missing`, {
        hint: 'Use another copy: lifeboat list',
      });
    if (listed.size !== named.size) {
      throw new LifeboatError('CORRUPT', `${url} has ${listed.size} bytes, its manifest says ${named.size}`);
    }
    ports.progress.start(`Reading ${named.key}`, named.size);
    const { sha256 } = await ports.digests.digest(store, named.key, {
      size: named.size,
      interrupted: ports.interrupted,
      onProgress: (bytes) => ports.progress.update(bytes),
    });
    if (sha256 !== named.sha256) {
      throw new LifeboatError('CORRUPT', `${url} has SHA-256 ${sha256}, its manifest says ${named.sha256}`);
    }
  }
}

/** What `gzip -t` would tell, and that the dump's own end mark is there. */
async function readWithoutManifest(ports: VerifyPorts, store: ObjectStore, copy: BackupCopy): Promise<void> {
  const { interrupted } = ports;
  if (copy.unreadable) throw asLifeboatError(copy.unreadable);
  if (!copy.dump) throw new LifeboatError('CORRUPT', copy.detail ?? `${copy.id} has no dump`);
  const target = `verify-${copy.id}`;
  const onProgress = (bytes: number): void => ports.progress.update(bytes);
  ports.progress.start(`Reading ${copy.dump.key}`, copy.dump.size);
  try {
    const dump =
      store.kind === 'local'
        ? await ports.files.open(store.urlOf(copy.dump.key))
        : await ports.files.download({ store, ...copy.dump, target, interrupted, onProgress });
    await dump.inspect(interrupted, onProgress);
    await dump.close();
  } finally {
    await ports.files.removeScratch(target);
  }
}

function summarize(copies: readonly VerifiedCopy[]): LifeboatError | undefined {
  const failed = copies.filter(({ verdict }) => verdict === 'failed');
  if (failed.length === 0) return undefined;
  const worst = failed.find(({ failure }) => failure!.code === 'CORRUPT') ?? failed[0]!;
  const urls = failed.map(({ url }) => url).join(', ');
  return new LifeboatError(
    worst.failure!.code,
    `${failed.length} of ${copies.length} copies failed verification: ${urls}`,
    {
      hint: worst.failure!.hint,
      cause: worst.failure,
    },
  );
}
