import type { Base } from '../../../../lib/domain/base/base-catalog.ts';
import type { BaseManifest } from '../../../../lib/domain/base/base-manifest.ts';
import { asLifeboatError, LifeboatError } from '../../../../lib/domain/errors.ts';
import { basePrefix, parseVolumeName } from '../../../../lib/domain/wal/keys.ts';
import { provesWrong } from '../../../../lib/domain/run/run-record.ts';
import type { Verdicts } from '../../catalog/verdicts.ts';
import type { DigestReader } from '../../ports/backup.ts';
import type { BaseVerifier, StoredFile } from '../../ports/base-verification.ts';
import type { Clock, Log, Progress } from '../../ports/host.ts';
import type { Journal } from '../../ports/journal.ts';
import type { ObjectStore } from '../../ports/store.ts';

export interface VerifyBasePorts {
  readonly bases: BaseVerifier;
  readonly digests: DigestReader;
  readonly journal: Journal;
  /** Of what lies in S3; `undefined`: there is no place for them. */
  readonly verdicts?: Verdicts | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly progress: Progress;
  readonly interrupted: AbortSignal;
}

export interface VerifiedBase {
  readonly id: string;
  readonly store: 'local' | 's3';
  readonly url: string;
  readonly bytes: number;
  /** `proven`: every byte is as the manifest says, and every file that PostgreSQL's own list names is there. */
  readonly verdict: 'proven' | 'failed';
  readonly failure: LifeboatError | undefined;
}

/** Reads one base backup again, every byte; what it builds on is a backup of its own. Kept in the journal. */
export async function verifyBase(
  ports: VerifyBasePorts,
  { store, base, runId }: { readonly store: ObjectStore; readonly base: Base; readonly runId: string },
): Promise<VerifiedBase> {
  const { journal, clock, log, progress, interrupted } = ports;
  const started = clock.monotonic();
  const url = store.urlOf(basePrefix(base.series, base.label));
  const bytes = base.files.reduce((sum, { size }) => sum + size, 0);
  let failure: LifeboatError | undefined;
  try {
    await compare(ports, store, base);
    log.info(`✅ ${url}`);
  } catch (error) {
    interrupted.throwIfAborted();
    failure = asLifeboatError(error);
    log.warn(`${url}: ${failure.message}`);
  } finally {
    progress.stop();
  }
  await journal.append({
    at: clock.now().toISOString(),
    operation: 'verify',
    kind: 'base',
    runId,
    succeeded: failure === undefined,
    durationMs: Math.round(clock.monotonic() - started),
    id: base.label,
    store: store.kind,
    bytes,
    ...(failure ? { code: failure.code, message: failure.message } : {}),
  });
  if (store.kind === 's3') await settle(ports, base, runId, failure);
  return { id: base.label, store: store.kind, url, bytes, verdict: failure ? 'failed' : 'proven', failure };
}

/** What could not be looked at is neither. */
async function settle(
  { verdicts }: VerifyBasePorts,
  { series, label }: Base,
  runId: string,
  failure: LifeboatError | undefined,
): Promise<void> {
  if (failure && !provesWrong(failure.code)) return;
  const damaged = new Map(failure ? [[label, failure.message]] : []);
  await verdicts?.settle({ series, runId, damaged, looked: (object) => object === label });
}

async function compare(ports: VerifyBasePorts, store: ObjectStore, base: Base): Promise<void> {
  const { manifest } = base;
  if (!manifest)
    throw asLifeboatError(base.unreadable ?? new LifeboatError('CORRUPT', base.why ?? base.label));
  const prefix = basePrefix(base.series, base.label);
  requireFiles(store, base, manifest, prefix);
  const files = await readVolumes(ports, store, manifest, prefix);
  await compareWithOwnList(ports, store, manifest, prefix, files);
}

/** Before gigabytes are read: a volume may be missing, or shorter than it was. */
function requireFiles(store: ObjectStore, { files }: Base, manifest: BaseManifest, prefix: string): void {
  const sizes = new Map(files.map(({ key, size }) => [key, size]));
  for (const { key, size } of [
    ...manifest.volumes,
    ...(manifest.backupManifest ? [manifest.backupManifest] : []),
  ]) {
    const [there, url] = [sizes.get(prefix + key), store.urlOf(prefix + key)];
    if (there === undefined)
      throw new LifeboatError('CORRUPT', `${url} is missing`, {
        hint: 'Use another base backup: lifeboat list',
      });
    if (there !== size)
      throw new LifeboatError('CORRUPT', `${url} has ${there} bytes, its manifest says ${size}`);
  }
}

/** @returns what lies in them, by the paths of the data directory */
async function readVolumes(
  { bases, progress, interrupted }: VerifyBasePorts,
  store: ObjectStore,
  { label, volumes }: BaseManifest,
  prefix: string,
): Promise<Map<string, number>> {
  const all = new Map<string, number>();
  const total = volumes.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  progress.start(`Reading ${label}`, total);
  for (const volume of volumes) {
    const before = done;
    const onProgress = (bytes: number): void => progress.update(before + bytes);
    const files = await bases.readVolume({ store, prefix, volume, interrupted, onProgress });
    done += volume.size;
    for (const { path, size } of files) all.set(folderOf(volume.key) + path, size);
  }
  return all;
}

/** Configuration from elsewhere and WAL are none of the data directory's files. */
function folderOf(key: string): string {
  const series = parseVolumeName(key)?.series ?? '';
  if (series === 'base') return '';
  return series.startsWith('ts-') ? `pg_tblspc/${series.slice('ts-'.length)}/` : `${series}:`;
}

async function compareWithOwnList(
  { bases, digests, interrupted }: VerifyBasePorts,
  store: ObjectStore,
  { backupManifest }: BaseManifest,
  prefix: string,
  found: ReadonlyMap<string, number>,
): Promise<void> {
  if (!backupManifest) return;
  const url = store.urlOf(prefix + backupManifest.key);
  const { size } = backupManifest;
  const { sha256 } = await digests.digest(store, prefix + backupManifest.key, { size, interrupted });
  if (sha256 !== backupManifest.sha256)
    throw new LifeboatError(
      'CORRUPT',
      `${url} has the SHA-256 ${sha256}; the manifest says ${backupManifest.sha256}`,
    );
  const bytes = await store.read(prefix + backupManifest.key);
  const wrong = bases.parseManifest(bytes, url).flatMap((file) => judgeFile(file, found) ?? []);
  if (wrong.length === 0) return;
  throw new LifeboatError(
    'CORRUPT',
    `${wrong.length} files are not as ${url} lists them: ${wrong.slice(0, 5).join('; ')}`,
  );
}

function judgeFile({ path, size }: StoredFile, found: ReadonlyMap<string, number>): string | undefined {
  // As pg_verifybackup: the WAL of its duration is a volume of its own.
  if (path.startsWith('pg_wal/')) return undefined;
  const there = found.get(path);
  if (there === size) return undefined;
  return there === undefined ? `${path} is missing` : `${path} has ${there} bytes instead of ${size}`;
}
