import { baseManifestKey, volumeKey, type WalSeries } from '../../../../lib/domain/wal/keys.ts';
import { formatBaseManifest, type BaseManifest } from '../../../../lib/domain/base/base-manifest.ts';
import type { Increment } from '../../../../lib/domain/base/increment.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { OBJECT_METADATA } from '../../../../lib/domain/names.ts';
import { slotNameOf } from '../../../../lib/domain/wal/slot-name.ts';
import type { BackupSender, BaseBackupPorts, BaseWriterOptions } from '../../ports/base-backup.ts';
import type { BaseBackupStream } from '../../ports/replication.ts';
import type { ObjectStore, WriteOptions } from '../../ports/store.ts';
import { composeBase, type WrittenParts } from './base-backup-manifest.ts';
import type { BasePreflight } from './base-backup-preflight.ts';
import { Rereading } from './base-backup-rereading.ts';
import type { BaseBackupRequest } from './base-backup-request.ts';
import { openSender } from './base-backup-route.ts';
import { requireWholeWal } from './base-backup-wal.ts';

/** A run that passed its preflight. */
export interface BaseRun {
  readonly ready: BasePreflight;
  readonly label: string;
  /** By the wall clock, and on the monotonic one. */
  readonly startedAt: Date;
  readonly started: number;
}

/** From the checkpoint to the manifest; on return the backup exists. When it throws, nothing is at work on its files any more. */
export async function makeBase(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
  run: BaseRun,
): Promise<BaseManifest> {
  const { ready, label } = run;
  const { store } = ready;
  if (store.kind !== 'local') return await writeBase(ports, request, run);
  const series = seriesOf(request, ready);
  const rereading = new Rereading(ports, store, (name) => volumeKey(series, label, name));
  try {
    return await writeBase(ports, request, run, rereading);
  } finally {
    await rereading.end();
  }
}

async function writeBase(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
  run: BaseRun,
  rereading?: Rereading,
): Promise<BaseManifest> {
  const { ready, label } = run;
  const { store } = ready;
  const series = seriesOf(request, ready);
  const options = writerOptions(ports, request, run, rereading);
  const parts = await copyCluster(ports, request, run, options);
  requireWholeWal(parts.stream.start, parts.written, ready.facts.walSegmentSize);
  const configuration = await ports.configuration.read(ready.facts.configuration);
  const config =
    configuration.files.length > 0
      ? [await ports.writer.writeConfiguration(configuration.files, options)]
      : [];
  const manifest = composeBase(ports, request, run, {
    ...parts,
    config,
    description: await ports.server.describe(),
    onThisHost: await ports.configuration.isThisHost(ready.facts.configuration),
    warnings: configuration.warnings,
  });
  if (rereading) {
    if (manifest.backupManifest) rereading.add(manifest.backupManifest);
    await rereading.finish();
    ports.log.info('✅ Backup verified');
  }
  ports.interrupted.throwIfAborted();
  await store.putOnce(baseManifestKey(series, label), Buffer.from(formatBaseManifest(manifest)), {
    ...metadataOf(request),
    contentType: 'application/json',
  });
  return manifest;
}

export function seriesOf({ app }: BaseBackupRequest, { facts }: BasePreflight): WalSeries {
  return { app, systemIdentifier: facts.systemIdentifier };
}

function metadataOf({ app, runId }: BaseBackupRequest): WriteOptions {
  return { metadata: { [OBJECT_METADATA.app]: app, [OBJECT_METADATA.runId]: runId } };
}

function writerOptions(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
  { ready, label }: BaseRun,
  rereading: Rereading | undefined,
): BaseWriterOptions {
  const series = seriesOf(request, ready);
  return {
    open: (name) => ready.store.startUpload(volumeKey(series, label, name), metadataOf(request)),
    level: request.level,
    walSegmentSize: ready.facts.walSegmentSize,
    ...(rereading ? { onVolume: (volume) => rereading.add(volume) } : {}),
    interrupted: ports.interrupted,
    onProgress: (bytes, detail) => ports.progress.update(bytes, detail),
  };
}

type CopiedCluster = Pick<WrittenParts, 'stream' | 'increment' | 'written'>;

/**
 * Two connections: with one the backup is made, the other owns a slot that goes with it, however this run ends, and keeps the WAL
 * that the backup needs.
 */
async function copyCluster(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
  run: BaseRun,
  options: BaseWriterOptions,
): Promise<CopiedCluster> {
  const keeper = await ports.server.replicate();
  try {
    await keeper.createSlot(slotNameOf(run.label), { temporary: true });
    const sender = await openSender(ports, run.ready);
    try {
      await requireSameCluster(sender, run.ready);
      ports.log.info('Waiting for the server’s checkpoint...');
      const { stream, increment } = await startBackup(ports, sender, run, request);
      const expected = stream.tablespaces.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      ports.progress.start('Copying', expected);
      try {
        return { stream, increment, written: await ports.writer.write(stream, options) };
      } finally {
        ports.progress.stop();
      }
    } finally {
      await sender.close();
    }
  } finally {
    await keeper.close();
  }
}

/** A service address may lead to another server than a moment ago. */
async function requireSameCluster(server: BackupSender, { facts }: BasePreflight): Promise<void> {
  const { systemIdentifier } = await server.identify();
  if (systemIdentifier === facts.systemIdentifier) return;
  throw new LifeboatError(
    'SERIES_MISMATCH',
    `Two clusters answered one after the other: ${facts.systemIdentifier}, then ${systemIdentifier}`,
    { hint: 'DB_HOST must lead to one server for as long as a backup runs. Run the backup again.' },
  );
}

async function startBackup(
  ports: BaseBackupPorts,
  server: BackupSender,
  { ready, label }: BaseRun,
  request: BaseBackupRequest,
): Promise<{ stream: BaseBackupStream; increment: Increment }> {
  const common = { label, checkpoint: 'fast', wal: true, manifest: true } as const;
  const { increment, store } = ready;
  if (increment.type === 'incremental') {
    const series = seriesOf(request, ready);
    const key = volumeKey(series, increment.parent.label, increment.parent.backupManifest!.key);
    const incrementalManifest = readPieces(store, key, increment.parent.backupManifest!.size);
    try {
      return { stream: await server.baseBackup({ ...common, incrementalManifest }), increment };
    } catch (error) {
      const reason = refusalOf(error);
      if (reason === undefined) throw error;
      ports.log.warn(`A full backup instead of an incremental one: ${reason}`);
      return { stream: await server.baseBackup(common), increment: { type: 'full', reason } };
    }
  }
  return { stream: await server.baseBackup(common), increment };
}

/** What a server says that cannot build on that parent, above all that its accounts of changed blocks have a gap. */
function refusalOf(error: unknown): string | undefined {
  const refused = error instanceof LifeboatError && ['SETTINGS_INVALID', 'DB_QUERY'].includes(error.code);
  return refused ? error.message : undefined;
}

const PIECE = 1024 * 1024;

async function* readPieces(store: ObjectStore, key: string, size: number): AsyncGenerator<Buffer> {
  for (let offset = 0; offset < size; offset += PIECE) {
    yield await store.read(key, { offset, length: Math.min(PIECE, size - offset) });
  }
}
