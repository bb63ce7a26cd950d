import { createHash } from 'node:crypto';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { BaseVerifier, StoredFile, VolumeToRead } from '../../ports/base-verification.ts';
import { readVolumeFrames } from '../../recovery/volumes.ts';
import { releaseMemory } from '../release-memory.ts';
import { parseBackupManifest } from '../tar/backup-manifest.ts';
import { TarReader } from '../tar/tar-reader.ts';

export const baseVerifier: BaseVerifier = {
  readVolume,
  parseManifest: (bytes, where) => parseBackupManifest(bytes, where).files,
};

async function readVolume(work: VolumeToRead): Promise<StoredFile[]> {
  const { store, prefix, volume, interrupted, onProgress } = work;
  const where = store.urlOf(prefix + volume.key);
  const sha256 = createHash('sha256');
  const tar = new TarReader(where);
  const files: StoredFile[] = [];
  let members = 0;
  let done = 0;
  for await (const { stored, raw } of readVolumeFrames(work)) {
    interrupted.throwIfAborted();
    sha256.update(stored);
    for (const event of tar.push(raw)) {
      if (event.kind !== 'member') continue;
      members += 1;
      const { type, rawName, size } = event.member;
      if (type === 'file') files.push({ path: rawName.toString('latin1'), size });
    }
    done += stored.length;
    onProgress(done);
    releaseMemory(stored);
    releaseMemory(raw);
  }
  tar.finish();
  const found = sha256.digest('hex');
  if (found !== volume.sha256)
    throw new LifeboatError(
      'CORRUPT',
      `${where} has the SHA-256 ${found}; its manifest says ${volume.sha256}`,
    );
  if (members !== volume.members)
    throw new LifeboatError(
      'CORRUPT',
      `${where} has ${members} members; its manifest says ${volume.members}`,
    );
  return files;
}
