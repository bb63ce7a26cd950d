import type { BackupId } from '../../../../lib/domain/backup/backup-id.ts';
import { dumpKey, globalsKey, manifestKey, runMarkKey } from '../../../../lib/domain/backup/keys.ts';
import { formatManifest, type Manifest } from '../../../../lib/domain/backup/manifest.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatBytes } from '../../../../lib/domain/quantities.ts';
import type {
  BackupPorts,
  CollectedDump,
  DumpProcess,
  SourceSnapshot,
  WrittenDump,
} from '../../ports/backup.ts';
import type { ObjectStore, Upload } from '../../ports/store.ts';
import type { CopyInProgress } from './backup-copy.ts';
import { describeRun } from './backup-manifest.ts';
import type { BackupPreflight } from './backup-preflight.ts';
import type { BackupRequest } from './backup-request.ts';

/** A run that passed its preflight. */
export interface Run {
  readonly ready: BackupPreflight;
  readonly id: BackupId;
  readonly copies: readonly CopyInProgress[];
  readonly started: number;
}

/** From the snapshot to the manifests; on return every copy that is still good is a backup. */
export async function makeCopies(ports: BackupPorts, request: BackupRequest, run: Run): Promise<Manifest> {
  const { ready, id, copies } = run;
  const mark = await markRun(run);
  const snapshot = await ports.source.openSnapshot().catch(async (error: unknown) => {
    await mark?.abort();
    throw error;
  });
  try {
    const description = await snapshot.describe();
    const globals = await dumpGlobals(ports, ready);
    const written = await dumpDatabase(ports, request, run, snapshot);
    const keys = { globals: globalsKey(id), dump: dumpKey(id, request.encoding) };
    for (const copy of copies) await copy.commitData({ key: keys.globals, dump: globals }, written);
    announceCopies(ports, copies, keys.dump, written.size);
    await rereadLocally(ports, copies, keys.dump, written);

    const manifest = describeRun(ports, request, { ...run, description, globals, written, keys });
    for (const copy of copies) await copy.commitManifest(manifestKey(id), formatManifest(manifest));
    return manifest;
  } finally {
    await snapshot.close();
    await mark?.abort();
  }
}

/**
 * Whatever a kill leaves in BACKUP_DIR from here on is known for an unfinished run's, and the next run clears it.
 * @returns `undefined` when nothing will be written there. @throws LifeboatError when no store can take anything
 */
async function markRun({ id, copies }: Run): Promise<Upload | undefined> {
  const local = copies.find(({ store }) => store.kind === 'local');
  const mark = await local?.attempt((store) => store.startUpload(runMarkKey(id)));
  if (copies.some(({ good }) => good)) return mark;
  throw local?.failure as Error;
}

async function dumpGlobals(ports: BackupPorts, { tools, facts }: BackupPreflight): Promise<CollectedDump> {
  const process = await ports.source.dumpGlobals(tools, { rolePasswords: facts.mayReadPasswords });
  const globals = await untilInterrupted(ports, process, () => ports.writer.collect(process));
  if (globals.complete) return globals;
  throw new LifeboatError('DUMP_FAILED', 'pg_dumpall ended well, but its output lacks the end mark');
}

async function dumpDatabase(
  ports: BackupPorts,
  request: BackupRequest,
  { id, copies, ready }: Run,
  snapshot: SourceSnapshot,
): Promise<WrittenDump> {
  const key = dumpKey(id, request.encoding);
  ports.progress.start('Dumping', ready.estimatedRawSize);
  try {
    const sinks = await Promise.all(copies.map((copy) => copy.open(key)));
    const process = await snapshot.dump(ready.tools, request.encoding.format);
    const written = await untilInterrupted(ports, process, () =>
      ports.writer.write(process, {
        ...request.encoding,
        level: request.level,
        sinks,
        interrupted: ports.interrupted,
        onProgress: (bytes, table) => ports.progress.update(bytes, table),
      }),
    );
    for (const [index, error] of written.sinkErrors) copies[index]!.fail(error);
    if (written.complete) return written;
    throw new LifeboatError(
      'DUMP_FAILED',
      'pg_dump ended well, but the dump lacks its end mark: it is not whole',
    );
  } finally {
    ports.progress.stop();
  }
}

/** Whatever ends the work early, the program is gone afterwards. */
async function untilInterrupted<Result>(
  { interrupted }: BackupPorts,
  process: DumpProcess,
  work: () => Promise<Result>,
): Promise<Result> {
  const kill = (): void => void process.kill();
  interrupted.addEventListener('abort', kill);
  try {
    interrupted.throwIfAborted();
    return await work();
  } catch (error) {
    await process.kill();
    throw interrupted.aborted ? interrupted.reason : error;
  } finally {
    interrupted.removeEventListener('abort', kill);
  }
}

function announceCopies(
  ports: BackupPorts,
  copies: readonly CopyInProgress[],
  key: string,
  size: number,
): void {
  const local = copies.find(({ store }) => store.kind === 'local');
  if (local?.good) {
    ports.log.info(`✅ Backup created: ${local.store.urlOf(key)}`);
    ports.log.info(`Backup size: ${formatBytes(size)}`);
  }
}

/**
 * What was written is read again: whether it lies there whole, as it was meant. Much of it comes from the page cache; what the disk
 * makes of it later a `lifeboat verify` finds.
 */
async function rereadLocally(
  ports: BackupPorts,
  copies: readonly CopyInProgress[],
  key: string,
  written: WrittenDump,
): Promise<void> {
  for (const copy of copies) {
    if (copy.store.kind !== 'local') continue;
    await copy.attempt((store) => reread(ports, store, key, written));
    if (copy.good) ports.log.info('✅ Backup verified');
  }
  ports.interrupted.throwIfAborted();
  for (const { good, store } of copies)
    if (good && store.kind === 's3') ports.log.info(`✅ Uploaded to ${store.urlOf(key)}`);
}

async function reread(
  ports: BackupPorts,
  store: ObjectStore,
  key: string,
  written: WrittenDump,
): Promise<void> {
  const { interrupted } = ports;
  const found = await ports.digests.digest(store, key, { size: written.size, interrupted });
  if (found.sha256 === written.sha256 && found.size === written.size) return;
  throw new LifeboatError(
    'CORRUPT',
    `${store.urlOf(key)} reads back differently: SHA-256 ${found.sha256} instead of ${written.sha256}`,
    { hint: 'The disk or its memory is faulty: check the kernel’s log (dmesg), then run the backup again.' },
  );
}
