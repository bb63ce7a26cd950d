import type { Manifest } from '../../../../lib/domain/backup/manifest.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatBytes } from '../../../../lib/domain/quantities.ts';
import type { Digest, OpenDump } from '../../ports/dump-files.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import type { FoundBackup } from './restore-find.ts';
import type { FoundCopy } from './restore-places.ts';

/** A dump whose bytes are the ones that were backed up, and how long its download took. */
export interface CheckedDump {
  /** Where it came from: a path or an `s3://` URL. */
  readonly source: string;
  readonly dump: OpenDump;
  readonly downloaded: { readonly bytes: number; readonly milliseconds: number } | undefined;
}

/** What makes another copy worth a try; anything else would be no better with it. */
const COPY_FAILURES: ReadonlySet<string> = new Set([
  'CORRUPT',
  'BACKUP_NOT_FOUND',
  'DISK_FAILED',
  'S3_UNAVAILABLE',
  'S3_FAILED',
  'S3_DENIED',
]);

/**
 * Opens the first copy that proves right, downloading where it must: size and SHA-256 are compared before anything is
 * restored from it.
 *
 * @throws LifeboatError CORRUPT or a store's failure when no copy proves right, with the last copy's reason
 */
export async function openCheckedDump(
  ports: RestorePorts,
  target: string,
  { copies, manifest, hintIfCorrupt }: FoundBackup,
): Promise<CheckedDump> {
  for (const [index, copy] of copies.entries()) {
    try {
      return await openCopy(ports, target, copy, manifest);
    } catch (error) {
      const last = index === copies.length - 1;
      if (!(error instanceof LifeboatError) || !COPY_FAILURES.has(error.code)) throw error;
      if (last && error.code === 'CORRUPT' && hintIfCorrupt !== undefined) {
        throw new LifeboatError('CORRUPT', error.message, { hint: hintIfCorrupt, cause: error });
      }
      if (last) throw error;
      ports.log.warn(`${error.message}\nTrying the next copy: ${copies[index + 1]?.url ?? ''}`);
    }
  }
  throw new LifeboatError('BUG', 'a backup without copies');
}

async function openCopy(
  ports: RestorePorts,
  target: string,
  copy: FoundCopy,
  manifest: Manifest | undefined,
): Promise<CheckedDump> {
  if (copy.where === 's3') return await downloadCopy(ports, target, copy, manifest);
  const dump = await ports.files.open(copy.path);
  try {
    if (manifest) {
      requireSame(copy, dump.size, await dump.hash(ports.interrupted), manifest);
      ports.log.info('✅ Backup verified');
    }
    return { source: copy.url, dump, downloaded: undefined };
  } catch (error) {
    await dump.close();
    throw error;
  }
}

async function downloadCopy(
  ports: RestorePorts,
  target: string,
  copy: FoundCopy & { where: 's3' },
  manifest: Manifest | undefined,
): Promise<CheckedDump> {
  await requireSpace(ports, copy);
  ports.log.info(`Downloading ${copy.url} (${formatBytes(copy.size)})...`);
  const started = ports.clock.monotonic();
  await ports.files.removeScratch(target);
  ports.progress.start('Downloading', copy.size);
  const dump = await ports.files
    .download({
      store: copy.store,
      key: copy.key,
      size: copy.size,
      target,
      interrupted: ports.interrupted,
      onProgress: (bytes) => ports.progress.update(bytes),
    })
    .finally(() => ports.progress.stop());
  try {
    if (manifest) requireSame(copy, dump.size, dump.digest, manifest);
    else if (copy.crc32 !== undefined && copy.crc32 !== dump.digest.crc32) {
      throw new LifeboatError(
        'CORRUPT',
        `${copy.url} arrived with CRC-32 ${dump.digest.crc32}; S3 recorded ${copy.crc32}`,
      );
    }
  } catch (error) {
    await dump.close();
    throw error;
  }
  ports.log.info('✅ Download verified');
  return {
    source: copy.url,
    dump,
    downloaded: { bytes: copy.size, milliseconds: ports.clock.monotonic() - started },
  };
}

async function requireSpace(ports: RestorePorts, copy: FoundCopy): Promise<void> {
  const free = await ports.host.freeBytes(ports.files.folder);
  if (copy.size <= free) return;
  throw new LifeboatError(
    'DISK_FULL',
    `${ports.files.folder} has ${formatBytes(free)} free; the download of ${copy.url} needs ${formatBytes(copy.size)}`,
  );
}

function requireSame(copy: FoundCopy, size: number, digest: Digest, { dump }: Manifest): void {
  if (size === dump.size && digest.sha256 === dump.sha256) return;
  throw new LifeboatError(
    'CORRUPT',
    `${copy.url} is damaged: ${size} bytes with SHA-256 ${digest.sha256}; the manifest has ${dump.size} bytes with ${dump.sha256}`,
  );
}
