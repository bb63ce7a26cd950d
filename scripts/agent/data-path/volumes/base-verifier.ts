import { createHash } from 'node:crypto';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { BaseVerifier, StoredFile, VolumeToRead } from '../../ports/base-verification.ts';
import { parseBackupManifest } from '../tar/backup-manifest.ts';
import { TarReader } from '../tar/tar-reader.ts';
import { readVolume } from './volume-reader.ts';

export const baseVerifier: BaseVerifier = {
  readVolume: listFiles,
  parseManifest: (bytes, where) => parseBackupManifest(bytes, where).files,
};

async function listFiles(work: VolumeToRead): Promise<StoredFile[]> {
  const { store, prefix, volume, interrupted, onProgress } = work;
  const where = store.urlOf(prefix + volume.key);
  const sha256 = createHash('sha256');
  const tar = new TarReader(where);
  const files: StoredFile[] = [];
  let members = 0;
  let done = 0;
  const onStored = (frame: Buffer): void => {
    sha256.update(frame);
    done += frame.length;
    onProgress(done);
  };
  for await (const piece of readVolume({ ...work, onStored })) {
    interrupted.throwIfAborted();
    for (const event of tar.push(piece)) {
      if (event.kind !== 'member') continue;
      members += 1;
      const { type, rawName, size } = event.member;
      if (type === 'file') files.push({ path: rawName.toString('latin1'), size });
    }
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
