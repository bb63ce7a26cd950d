import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { crc32, zstdDecompressSync } from 'node:zlib';
import { encodeCrc32 } from '../../../../lib/domain/crc32.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { BackupPiece, BaseBackupStream } from '../../../../scripts/agent/ports/replication.ts';
import {
  encodeTarHeader,
  TAR_TRAILER,
  tarPadding,
} from '../../../../scripts/agent/data-path/tar/tar-header.ts';
import { openBaseWriter } from '../../../../scripts/agent/data-path/volumes/base-writer.ts';
import { RecordingUploads } from './recording-uploads.ts';

const SEGMENT_SIZE = 1024 * 1024;
const MIB = 1024 * 1024;

interface Archive {
  readonly oid: number | null;
  readonly files: readonly { readonly name: string; readonly body: Buffer }[];
}

function tarOf({ files }: Archive): Buffer {
  return Buffer.concat([
    ...files.flatMap(({ name, body }) => [
      encodeTarHeader({ name, type: 'file', size: body.length, mode: 0o600, modifiedAt: 0 }),
      body,
      tarPadding(body.length),
    ]),
    TAR_TRAILER,
  ]);
}

/** A server that sends these archives in pieces of 32 KiB, each in the same memory. */
function streamOf(
  archives: readonly Archive[],
  { failAfter = Infinity } = {},
): BaseBackupStream & { aborted: boolean } {
  const memory = [Buffer.alloc(32 * 1024), Buffer.alloc(32 * 1024)];
  async function* pieces(): AsyncGenerator<BackupPiece> {
    let sent = 0;
    for (const archive of archives) {
      const { oid } = archive;
      yield { kind: 'archive', oid, location: oid === null ? null : `/mnt/${oid}` };
      const tar = tarOf(archive);
      for (let at = 0; at < tar.length; at += 32 * 1024) {
        await Promise.resolve();
        const piece = memory[sent % 2]!.subarray(0, Math.min(32 * 1024, tar.length - at));
        tar.copy(piece, 0, at);
        sent += 1;
        if (sent > failAfter) throw new LifeboatError('DB_LOST', 'The server is gone');
        yield { kind: 'data', bytes: piece };
      }
      yield { kind: 'progress', doneBytes: sent * 32 * 1024 };
    }
    yield { kind: 'manifest', bytes: Buffer.from('{ "PostgreSQL-Backup-') };
    yield { kind: 'manifest', bytes: Buffer.from('Manifest-Version": 1}') };
  }
  const stream = {
    start: { lsn: 0x2000028n, timeline: 1 },
    tablespaces: archives.map(({ oid }) => ({ oid, location: null, sizeBytes: 0 })),
    aborted: false,
    pieces,
    finished: () => Promise.resolve({ lsn: 0x2100000n, timeline: 1, checksumFailures: 0, warnings: [] }),
    abort: () => {
      stream.aborted = true;
    },
  };
  return stream;
}

const half = (size: number): Buffer =>
  Buffer.concat([randomBytes(Math.floor(size / 2)), Buffer.alloc(Math.ceil(size / 2), 'row ')]);
const WAL = ['000000010000000000000020', '000000010000000000000021'];
const MAIN: Archive = {
  oid: null,
  files: [
    { name: 'backup_label', body: Buffer.from('START WAL LOCATION') },
    ...Array.from({ length: 30 }, (_, index) => ({ name: `base/5/${index}`, body: half(MIB + index * 777) })),
    { name: 'base/5/large', body: half(11 * MIB) },
    { name: 'global/pg_control', body: half(8192) },
    ...WAL.map((name) => ({ name: `pg_wal/${name}`, body: half(SEGMENT_SIZE) })),
    { name: 'pg_wal/000000010000000000000022', body: half(1000) },
    { name: `pg_wal/archive_status/${WAL[0]}.done`, body: Buffer.alloc(0) },
  ],
};
const SPACE: Archive = {
  oid: 16_400,
  files: Array.from({ length: 9 }, (_, index) => ({ name: `PG_15_202209061/5/${index}`, body: half(MIB) })),
};

function options(uploads: RecordingUploads, rest: object = {}) {
  return {
    open: uploads.open,
    level: undefined,
    walSegmentSize: SEGMENT_SIZE,
    interrupted: new AbortController().signal,
    ...rest,
  };
}

describe('Writing a base backup', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-volumes-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** As the manual path reads it: the concatenation of a series through zstd and tar. */
  function unpack(series: string, uploads: RecordingUploads): Map<string, Buffer> {
    const names = [...uploads.contents.keys()].filter((name) => name.startsWith(`${series}-`)).toSorted();
    const input = Buffer.concat(names.map((name) => uploads.contents.get(name)!));
    const target = path.join(folder, series);
    mkdirSync(target);
    const listed = execFileSync('bash', ['-c', 'set -o pipefail; zstd -dc | tar -xvC "$1"', 'bash', target], {
      input,
    });
    const found = listed.toString().trim().split('\n');
    return new Map(found.map((name) => [name, readFileSync(path.join(target, name))]));
  }

  it('gives volumes of whole tar members, each series of them one archive that zstd and tar read', async () => {
    const uploads = new RecordingUploads();
    const progress: string[] = [];
    const written = await openBaseWriter(4 * MIB).write(
      streamOf([SPACE, MAIN]),
      options(uploads, { onProgress: (_bytes: number, detail: string) => progress.push(detail) }),
    );
    expect(progress).toEqual(['tablespace /mnt/16400', 'data directory']);
    expect(written.volumes.map(({ key }) => key)).toEqual(
      [...uploads.contents.keys()].filter((name) => name !== 'backup_manifest').toSorted(),
    );
    const wal = MAIN.files.filter(({ name }) => name.startsWith('pg_wal/'));
    for (const [series, files] of [
      ['ts-16400', SPACE.files],
      ['base', MAIN.files.filter((file) => !wal.includes(file))],
      ['wal', wal],
    ] as const) {
      const found = unpack(series, uploads);
      expect([...found.keys()]).toEqual(files.map(({ name }) => name));
      for (const { name, body } of files) expect(found.get(name)!.equals(body)).toBe(true);
      const volumes = written.volumes.filter((volume) => volume.series === series);
      expect(volumes.length).toBeGreaterThan(series === 'wal' ? 0 : 2);
      expect(volumes.reduce((sum, { members }) => sum + members, 0)).toBe(files.length);
    }
    expect(uploads.contents.get('backup_manifest')!.toString()).toBe(
      '{ "PostgreSQL-Backup-Manifest-Version": 1}',
    );
  });

  it('tells of each volume what the manifest needs: size, hashes, frames that decode one by one', async () => {
    const uploads = new RecordingUploads();
    const { volumes, backupManifest } = await openBaseWriter(12 * MIB).write(
      streamOf([MAIN]),
      options(uploads),
    );
    for (const { key, size, sha256, crc32: checksum, rawSize, rawFrameSize, frameSizes } of volumes) {
      const body = uploads.contents.get(key)!;
      expect(size).toBe(body.length);
      expect(sha256).toBe(createHash('sha256').update(body).digest('hex'));
      expect(checksum).toBe(encodeCrc32(crc32(body)));
      let [at, raw] = [0, 0];
      for (const [index, frameSize] of frameSizes.entries()) {
        const frame = zstdDecompressSync(body.subarray(at, at + frameSize));
        if (index < frameSizes.length - 1) expect(frame).toHaveLength(rawFrameSize);
        at += frameSize;
        raw += frame.length;
      }
      expect(at).toBe(size);
      expect(raw).toBe(rawSize);
    }
    const body = uploads.contents.get('backup_manifest')!;
    expect(backupManifest).toEqual({
      key: 'backup_manifest',
      size: body.length,
      sha256: createHash('sha256').update(body).digest('hex'),
      crc32: encodeCrc32(crc32(body)),
    });
  });

  it('counts as WAL only whole segments', async () => {
    const written = await openBaseWriter().write(streamOf([MAIN]), options(new RecordingUploads()));
    expect(written.walSegments).toEqual(WAL);
  });

  it('fills the next volume while one is being completed, and no more than that', async () => {
    const uploads = new RecordingUploads();
    let completing = 0;
    let most = 0;
    let another = (): void => undefined;
    uploads.beforeComplete = async () => {
      completing += 1;
      most = Math.max(most, completing);
      another();
      // Until the next one begins; none does after the last.
      await new Promise<void>((resolve) => {
        another = resolve;
        setTimeout(resolve, 1000);
      });
      completing -= 1;
    };
    await openBaseWriter(2 * MIB).write(streamOf([SPACE, MAIN]), options(uploads));
    expect(most).toBe(2);
    // The data directory's last volume stays open until the archive ends, beside those of the WAL.
    expect(uploads.mostOpen).toBeLessThanOrEqual(4);
  });

  it('gives everything up that is not complete when an upload fails', async () => {
    const uploads = new RecordingUploads();
    uploads.failOn = 'base-00002.tar.zst';
    const stream = streamOf([MAIN]);
    await expect(openBaseWriter(9 * MIB).write(stream, options(uploads))).rejects.toMatchObject({
      code: 'S3_UNAVAILABLE',
      message: 'base-00002.tar.zst was cut off',
    });
    expect(stream.aborted).toBe(true);
    expect([...uploads.states.values()]).not.toContain('open');
    expect(uploads.states.get('base-00002.tar.zst')).toBe('given up');
  });

  it('gives everything up when the server goes away', async () => {
    const uploads = new RecordingUploads();
    await expect(
      openBaseWriter(9 * MIB).write(streamOf([MAIN], { failAfter: 900 }), options(uploads)),
    ).rejects.toMatchObject({ code: 'DB_LOST' });
    expect([...uploads.states.values()]).not.toContain('open');
    expect(uploads.contents.has('backup_manifest')).toBe(false);
  });

  it('stops at an interruption with its reason', async () => {
    const uploads = new RecordingUploads();
    const controller = new AbortController();
    const onProgress = () => controller.abort(new LifeboatError('INTERRUPTED', 'Stopped by SIGINT'));
    await expect(
      openBaseWriter().write(
        streamOf([SPACE, MAIN]),
        options(uploads, { interrupted: controller.signal, onProgress }),
      ),
    ).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect([...uploads.states.values()]).not.toContain('open');
  });

  it('packs configuration files under their whole paths', async () => {
    const uploads = new RecordingUploads();
    const files = ['/etc/postgresql/15/main/pg_hba.conf', `/etc/${'long/'.repeat(40)}postgresql.conf`].map(
      (each) => ({
        path: each,
        mode: 0o640,
        modifiedAt: new Date('2026-01-17T02:00:00Z'),
        body: Buffer.from(`# ${each}\n`),
      }),
    );
    const volume = await openBaseWriter().writeConfiguration(files, options(uploads));
    expect(volume).toMatchObject({ series: 'config', key: 'config.tar.zst', members: 2 });
    const tar = zstdDecompressSync(uploads.contents.get('config.tar.zst')!);
    expect(tar).toHaveLength(volume.rawSize);
    for (const { path: name, body } of files) {
      const found = execFileSync('tar', ['-xO', name.slice(1)], { input: tar });
      expect(found.equals(body)).toBe(true);
    }
  });
});
