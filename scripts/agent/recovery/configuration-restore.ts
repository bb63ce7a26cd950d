import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, open, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { basePrefix } from '../../../lib/domain/wal/keys.ts';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import { TarReader } from '../data-path/tar/tar-reader.ts';
import { isMissing, onDisk, syncFolder } from '../host/durable-file.ts';
import { findUser } from '../host/users.ts';
import type { InPlaceSite, RestoredConfiguration } from '../ports/in-place.ts';
import type { ObjectStore } from '../ports/store.ts';

export interface ConfigurationGround {
  readonly app: string;
  readonly stores: { readonly backups: ObjectStore };
}

interface StoredFile {
  readonly path: string;
  readonly mode: number;
  readonly body: Buffer;
}

/** Only files of some kilobytes are stored there. */
const LARGEST_VOLUME = 256 * 1024 * 1024;
const decompress = promisify(zstdDecompress);

export function openConfigurationRestore(ground: ConfigurationGround): InPlaceSite['restoreConfiguration'] {
  return async (manifest, write) => {
    const restored = { written: [] as string[], beside: [] as string[] } satisfies RestoredConfiguration;
    const owner = process.getuid?.() === 0 ? await findUser('postgres') : undefined;
    for (const file of await readStored(ground, manifest)) {
      const there = await readThere(file.path);
      if (there?.equals(file.body)) continue;
      const target = there ? `${file.path}.lifeboat` : file.path;
      if (write) await put(target, file, owner);
      if (write && !there) await makeIncluded(file, manifest, owner);
      restored[there ? 'beside' : 'written'].push(target);
    }
    return restored;
  };
}

/** @throws LifeboatError CORRUPT, S3_… */
async function readStored(
  { app, stores }: ConfigurationGround,
  manifest: BaseManifest,
): Promise<StoredFile[]> {
  const volume = manifest.volumes.find(({ series }) => series === 'config');
  if (!volume || volume.rawSize > LARGEST_VOLUME) return [];
  const { systemIdentifier } = manifest.server;
  const key = basePrefix({ app, systemIdentifier }, manifest.label) + volume.key;
  const where = stores.backups.urlOf(key);
  const bytes = await stores.backups.read(key);
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== volume.sha256)
    throw new LifeboatError(
      'CORRUPT',
      `${where} has the SHA-256 ${found}; its manifest says ${volume.sha256}`,
    );
  const frames: Buffer[] = [];
  let offset = 0;
  for (const length of volume.frameSizes) {
    frames.push(await decompress(bytes.subarray(offset, offset + length)));
    offset += length;
  }
  return untar(Buffer.concat(frames), where).filter(({ path: file }) => isConfiguration(file, manifest));
}

function untar(bytes: Buffer, where: string): StoredFile[] {
  const files: StoredFile[] = [];
  const reader = new TarReader(where);
  let current: { path: string; mode: number; pieces: Buffer[] } | undefined;
  for (const event of reader.push(bytes)) {
    if (event.kind === 'member') {
      const { name, mode, type } = event.member;
      current = type === 'file' ? { path: path.resolve('/', name), mode, pieces: [] } : undefined;
    } else if (event.kind === 'data') current?.pieces.push(event.bytes);
    else if (event.kind === 'member-end' && current) {
      files.push({ path: current.path, mode: current.mode, body: Buffer.concat(current.pieces) });
      current = undefined;
    }
  }
  reader.finish();
  return files;
}

/** Beside the files that the server itself named; whoever can write to the bucket is not to write to all of the host. */
function isConfiguration(file: string, { settings }: BaseManifest): boolean {
  const { config_file: config = '', hba_file: hba, ident_file: ident } = settings;
  const folder = path.dirname(config);
  const beside = folder !== '/' && folder !== '.' && file.startsWith(`${folder}/`);
  return beside || file === hba || file === ident;
}

async function readThere(file: string): Promise<Buffer | undefined> {
  return await onDisk(`Cannot read ${file}`, () =>
    readFile(file).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    }),
  );
}

/** Belongs to whom the nearest folder belongs, or to PostgreSQL where that is root's. */
async function put(
  target: string,
  { mode, body }: StoredFile,
  postgres: FileOwner | undefined,
): Promise<void> {
  await onDisk(`Cannot write ${target}`, async () => {
    const owner = await makeFolder(path.dirname(target), postgres);
    const handle = await open(target, 'w', mode & 0o777);
    try {
      await handle.writeFile(body);
      if (owner) await handle.chown(owner.uid, owner.gid);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await chmod(target, mode & 0o777);
    await syncFolder(path.dirname(target));
  });
}

/** Debian's conf.d is empty at first, so that no file of it was stored; without it the server does not start. */
async function makeIncluded(
  { path: file, body }: StoredFile,
  manifest: BaseManifest,
  postgres: FileOwner | undefined,
): Promise<void> {
  for (const [, named] of body.toString('latin1').matchAll(/^\s*include_dir\s*=?\s*'([^']+)'/gm)) {
    const folder = path.resolve(path.dirname(file), named!);
    if (isConfiguration(path.join(folder, 'any'), manifest))
      await onDisk(`Cannot make the folder ${folder}`, () => makeFolder(folder, postgres));
  }
}

async function makeFolder(folder: string, postgres: FileOwner | undefined): Promise<FileOwner | undefined> {
  const there = await stat(folder).catch(() => undefined);
  if (there) return there.uid === 0 ? postgres : postgres && { uid: there.uid, gid: there.gid };
  const owner = await makeFolder(path.dirname(folder), postgres);
  await mkdir(folder, { mode: 0o755 });
  if (owner) await chown(folder, owner.uid, owner.gid);
  return owner;
}
