import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import type { BaseManifest, BaseVolume } from '../../../lib/domain/base/base-manifest.ts';
import type { BackupManifest } from '../../../scripts/agent/data-path/tar/backup-manifest.ts';
import { fileDigest } from '../../../scripts/agent/data-path/tar/file-digest.ts';
import { encodeTarHeader, TAR_TRAILER, tarPadding } from '../../../scripts/agent/data-path/tar/tar-header.ts';
import { UnpackedFile } from '../../../scripts/agent/data-path/tar/unpacked-file.ts';
import { WrittenDigests } from '../../../scripts/agent/data-path/tar/written-digests.ts';
import type { ObjectStore } from '../../../scripts/agent/ports/store.ts';
import { unpackVolumes } from '../../../scripts/agent/recovery/volumes.ts';

const KIB = 1024;
const FRAME = 64 * KIB;
/** Some that fill many frames, one that ends with a frame, some that share one; the largest goes past the kernel's cache. */
const FILES = new Map(
  [5, 10 * FRAME + 77, 0, 3 * FRAME - 3 * KIB, FRAME / 2, 700, 5 * FRAME, 80 * FRAME + 777, 3].map(
    (size, index) => {
      return [`base/5/${index}`, randomBytes(size)] as const;
    },
  ),
);

function tarOf(files: ReadonlyMap<string, Buffer>): Buffer {
  const members = [...files].flatMap(([name, bytes]) => {
    const header = encodeTarHeader({ name, type: 'file', size: bytes.length, mode: 0o600, modifiedAt: 0 });
    return [header, bytes, tarPadding(bytes.length)];
  });
  return Buffer.concat([...members, TAR_TRAILER]);
}

function framesOf(tar: Buffer): Buffer[] {
  return Array.from({ length: Math.ceil(tar.length / FRAME) }, (_, index) =>
    zstdCompressSync(tar.subarray(index * FRAME, (index + 1) * FRAME), {
      params: { [constants.ZSTD_c_checksumFlag]: 1 },
    }),
  );
}

type Algorithm = 'CRC32C' | 'SHA256';

function hexOf(algorithm: Algorithm, bytes: Buffer): string {
  const digest = fileDigest(algorithm);
  digest.update(bytes);
  return digest.hex();
}

/** Three volumes alike in their frames, each below a folder of its own. */
function volumesOf(change: (frames: Buffer[]) => void = () => undefined, folders = ['a', 'b', 'c']) {
  const objects = new Map<string, Buffer>();
  const files = new Map<string, Buffer>();
  const volumes = folders.map((folder) => {
    const own = new Map([...FILES].map(([name, bytes]) => [`${folder}/${name}`, bytes]));
    for (const [name, bytes] of own) files.set(name, bytes);
    const tar = tarOf(own);
    const frames = framesOf(tar);
    if (folder === 'b') change(frames);
    const object = Buffer.concat(frames);
    objects.set(`one/${folder}`, object);
    return {
      key: folder,
      series: 'base',
      sha256: createHash('sha256').update(object).digest('hex'),
      rawSize: tar.length,
      rawFrameSize: FRAME,
      frameSizes: frames.map(({ length }) => length),
    } as unknown as BaseVolume;
  });
  return { objects, files, volumes };
}

describe('Unpacking the volumes of a base backup', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-volumes-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function unpack(
    { objects, files, volumes }: ReturnType<typeof volumesOf>,
    {
      algorithm,
      interrupted = new AbortController().signal,
    }: { algorithm?: Algorithm; interrupted?: AbortSignal },
  ): Promise<{ dataDir: string; digests: WrittenDigests; done: number }> {
    const dataDir = mkdtempSync(path.join(folder, 'data-'));
    const listed = [...files].map(([name, bytes]) => {
      return { path: name, size: bytes.length, checksum: algorithm && { algorithm, hex: '' } };
    });
    const digests = new WrittenDigests({ files: listed } as unknown as BackupManifest);
    const store = {
      urlOf: (key: string) => `s3://bucket/${key}`,
      read: (key: string, { offset, length }: { offset: number; length: number }) =>
        Promise.resolve(Buffer.from(objects.get(key)!.subarray(offset, offset + length))),
    } as unknown as ObjectStore;
    let done = 0;
    const onProgress = (bytes: number): void => void (done = bytes);
    const manifest = { label: 'one' } as BaseManifest;
    const backup = { prefix: 'one/', manifest, volumes, dataDir, tablespaceDirs: new Map(), digests };
    await unpackVolumes({ store, owner: undefined, interrupted, onProgress }, [backup]);
    return { dataDir, digests, done };
  }

  it.each(['CRC32C', 'SHA256', undefined] as const)(
    'writes every file, also those of many frames, with checksums of %s',
    async (algorithm) => {
      const given = volumesOf();
      const { dataDir, digests, done } = await unpack(given, algorithm ? { algorithm } : {});
      for (const [name, bytes] of given.files)
        expect(readFileSync(path.join(dataDir, name)).equals(bytes)).toBe(true);
      const expected = [...given.files].map(([name, bytes]) => [name, hexOf(algorithm ?? 'CRC32C', bytes)]);
      expect(Object.fromEntries(digests.written)).toEqual(algorithm ? Object.fromEntries(expected) : {});
      expect(done).toBe(given.volumes.reduce((sum, { rawSize }) => sum + rawSize, 0));
    },
  );

  it.each([
    [
      'damaged',
      (frame: Buffer) => frame.fill(0xee, 100, 110),
      /^Frame 5 of \d+ of s3:\/\/bucket\/one\/b does not decompress/,
    ],
    [
      'of another length',
      () => zstdCompressSync(Buffer.alloc(100)),
      /^Frame 5 of \d+ of .*\/b holds 100 bytes instead of 65536/,
    ],
    [
      'too long',
      () => zstdCompressSync(Buffer.alloc(2 * FRAME)),
      /^Frame 5 of \d+ of .*\/b holds more than 65536 bytes/,
    ],
  ])('fails where a frame within a large file is %s', async (_, damage, message) => {
    const given = volumesOf((frames) => (frames[4] = Buffer.from(damage(frames[4]!))));
    for (const algorithm of ['CRC32C', 'SHA256'] as const)
      await expect(unpack(given, { algorithm })).rejects.toMatchObject({
        code: 'CORRUPT',
        message: expect.stringMatching(message),
      });
  });

  it('leaves the backup’s own WAL in the kernel’s cache, and no other file', async () => {
    const cached = jest.spyOn(UnpackedFile, 'cached');
    const asTheyCan = jest.spyOn(UnpackedFile, 'over');
    try {
      await unpack(
        volumesOf(() => undefined, ['base', 'pg_wal']),
        {},
      );
      expect([cached.mock.calls.length, asTheyCan.mock.calls.length]).toEqual([FILES.size, FILES.size]);
      await unpack(
        volumesOf(() => undefined, ['pg_wal']),
        {},
      );
      expect([cached.mock.calls.length, asTheyCan.mock.calls.length]).toEqual([2 * FILES.size, FILES.size]);
    } finally {
      jest.restoreAllMocks();
    }
  });

  it('ends when it is interrupted', async () => {
    const reason = new Error('interrupted');
    await expect(unpack(volumesOf(), { interrupted: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
