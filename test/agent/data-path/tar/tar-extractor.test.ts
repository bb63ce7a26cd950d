import { createHash, randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { fileDigest } from '../../../../scripts/agent/data-path/tar/file-digest.ts';
import {
  TarExtraction,
  type TarExtractionOptions,
} from '../../../../scripts/agent/data-path/tar/tar-extractor.ts';
import {
  encodeTarHeader,
  TAR_TRAILER,
  tarPadding,
} from '../../../../scripts/agent/data-path/tar/tar-header.ts';
import { UnpackedFile } from '../../../../scripts/agent/data-path/tar/unpacked-file.ts';
import { VolumeSplitter } from '../../../../scripts/agent/data-path/tar/volume-splitter.ts';
import { usePostgres } from '../../../postgres-server.ts';
import { CONTENTS, difference, piecesOf, run, runClient, unpackTar, useFolder } from './tar-fixture.ts';

const MIB = 1024 * 1024;

async function extract(
  archives: readonly Buffer[],
  options: TarExtractionOptions,
  largest = 8 * MIB,
): Promise<TarExtraction> {
  mkdirSync(options.folder, { recursive: true });
  const extraction = new TarExtraction(options);
  await Promise.all(
    archives.map(async (bytes, index) => {
      const volume = extraction.volume(`volume ${index + 1}`);
      try {
        for (const piece of piecesOf(bytes, largest, index)) {
          const reused = Buffer.from(piece);
          await volume.push(reused);
          reused.fill(0xee);
        }
        volume.finish();
      } finally {
        await volume.abort();
      }
    }),
  );
  return extraction;
}

function member(name: string, content: string | Buffer = ''): Buffer {
  const bytes = Buffer.from(content);
  const header = encodeTarHeader({ name, type: 'file', size: bytes.length, mode: 0o644, modifiedAt: 0 });
  return Buffer.concat([header, bytes, tarPadding(bytes.length)]);
}

function link(name: string, linkTarget: string): Buffer {
  return encodeTarHeader({ name, type: 'symlink', linkTarget, mode: 0o777, modifiedAt: 0 });
}

describe('Unpacking volumes', () => {
  const postgres = usePostgres();
  const folder = useFolder();
  let base: Buffer;

  beforeAll(async () => {
    await postgres().psql('postgres', CONTENTS);
    const { uid, gid } = statSync(postgres().dataDir);
    chownSync(folder(), uid, gid);
    runClient(postgres(), 'pg_basebackup', ['-D', folder('tar'), '-Ft', '-X', 'fetch', '-c', 'fast']);
    base = readFileSync(folder('tar', 'base.tar'));
    unpackTar(folder('tar', 'base.tar'), folder('judge'));
  });

  it.each([
    ['frames of 8 MiB', 8 * MIB],
    ['pieces of some kilobytes', 9000],
  ])('makes the folder that GNU tar makes, fed with %s', async (name, largest) => {
    const target = folder(`own ${name}`);
    const { files, bytes } = await extract([base], { folder: target }, largest);
    expect(difference(target, folder('judge'))).toBe('');
    const found = readdirSync(target, { withFileTypes: true, recursive: true });
    expect(files).toBe(found.filter((entry) => entry.isFile()).length);
    const sizes = found.map((entry) => statSync(path.join(entry.parentPath, entry.name)));
    expect(bytes).toBe(sizes.reduce((sum, facts) => sum + (facts.isFile() ? facts.size : 0), 0));
    for (const facts of sizes) expect(facts.mode & 0o777).toBe(facts.isFile() ? 0o600 : 0o700);
  });

  it('tells the checksums of files while it writes them, those in pieces and empty ones too', async () => {
    const large = Buffer.alloc(3 * MIB + 7, 'large');
    const archive = Buffer.concat([
      member('large', large),
      member('empty'),
      member('other', 'x'),
      TAR_TRAILER,
    ]);
    const told = new Map<string, string>();
    const options = {
      folder: folder('digests'),
      digestOf: (name: string) => (name === 'other' ? undefined : fileDigest('SHA256')),
      onDigest: (name: string, hex: string) => void told.set(name, hex),
    };
    await extract([archive], options, 100_000);
    const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    expect(Object.fromEntries(told)).toEqual({ empty: sha256(Buffer.alloc(0)), large: sha256(large) });
  });

  it('writes what is set aside in the middle of a file in any order, and brings files with checksums to the disk', async () => {
    const large = randomBytes(5 * 1000);
    const archive = Buffer.concat([member('kept', large), member('large', large), TAR_TRAILER]);
    const told: string[] = [];
    const probe = await open(folder(), 'r');
    await probe.close();
    const sync = jest.spyOn(Object.getPrototypeOf(probe) as FileHandle, 'sync');
    const extraction = new TarExtraction({
      folder: folder('tar'),
      keep: ['kept'],
      digestOf: () => fileDigest('CRC32C'),
      onDigest: (name, hex) => void told.push(name, hex, String(sync.mock.calls.length)),
    });
    const volume = extraction.volume('a volume');
    try {
      const begun = archive.indexOf(large, 6000);
      expect(await volume.setAside(10)).toBeUndefined();
      await volume.push(archive.subarray(0, 1000));
      expect(await volume.setAside(10)).toBeUndefined();
      await volume.push(archive.subarray(1000, begun + 500));
      for (const tooLong of [4500, 9000]) expect(await volume.setAside(tooLong)).toBeUndefined();
      const stretches = [await volume.setAside(1500), await volume.setAside(2999)];
      await stretches[1]!.write(large.subarray(2000, 4000));
      await stretches[0]!.write(large.subarray(500, 2000));
      await stretches[1]!.write(large.subarray(4000, 4999));
      for (const stretch of stretches) {
        await stretch!.flush();
        stretch!.join();
      }
      await volume.push(archive.subarray(begun + 4999));
      volume.finish();
    } finally {
      await volume.abort();
      sync.mockRestore();
    }
    const digest = fileDigest('CRC32C');
    digest.update(large);
    expect(told).toEqual(['large', digest.hex(), '1']);
    expect(readFileSync(folder('tar', 'large')).equals(large)).toBe(true);
    expect(extraction.kept.get('kept')!.equals(large)).toBe(true);
  });

  it('unpacks the volumes of a backup side by side into one folder', async () => {
    const volumes: Buffer[] = [];
    const splitter = new VolumeSplitter({
      fullAt: 2 * MIB,
      startVolume: () => {
        const pieces: Buffer[] = [];
        return {
          write: (bytes) => void pieces.push(Buffer.from(bytes)),
          end: async () => void volumes.push(Buffer.concat(pieces)),
        };
      },
    });
    await splitter.push({ kind: 'archive', oid: null });
    await splitter.push({ kind: 'data', bytes: base });
    await splitter.finish();
    expect(volumes.length).toBeGreaterThan(8);
    await extract(volumes.toReversed(), { folder: folder('side by side') }, 100_000);
    expect(difference(folder('side by side'), folder('judge'))).toBe('');
  });

  it('gives files and folders to the owner that is named', async () => {
    const { uid, gid } = statSync(postgres().dataDir);
    const isRoot = process.getuid?.() === 0;
    const owner = isRoot ? { uid: 12_345, gid: 23_456 } : { uid, gid };
    await extract([base], { folder: folder('given'), owner });
    for (const entry of readdirSync(folder('given'), { withFileTypes: true, recursive: true })) {
      const facts = statSync(path.join(entry.parentPath, entry.name));
      expect({ uid: facts.uid, gid: facts.gid }).toEqual(owner);
    }
  });

  it('fails where the disk refuses what was written before, though every write was taken', async () => {
    const probe = await open(folder('judge', 'PG_VERSION'), 'r');
    const failure = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
    const datasync = jest.spyOn(Object.getPrototypeOf(probe) as FileHandle, 'datasync');
    datasync.mockRejectedValueOnce(failure);
    await probe.close();
    try {
      const archive = Buffer.concat([member('large', Buffer.alloc(64 * MIB)), TAR_TRAILER]);
      await expect(
        extract([archive], { folder: folder('refused'), readAgain: () => true }),
      ).rejects.toMatchObject({
        code: 'DISK_FAILED',
        message: expect.stringContaining(`Cannot write ${folder('refused', 'large')}: EIO`),
      });
      expect(datasync).toHaveBeenCalledTimes(1);
    } finally {
      datasync.mockRestore();
    }
  });

  it.each([
    ['ENOSPC', 16 * MIB, 'DISK_FULL'],
    ['ENOSPC', 5000, 'DISK_FULL'],
    ['EIO', 16 * MIB, 'DISK_FAILED'],
    ['EIO', 5000, 'DISK_FAILED'],
  ])(
    'fails where the disk answers %s to a file of %i bytes, and leaves nothing open',
    async (errno, size, code) => {
      const probe = await open(folder('judge', 'PG_VERSION'), 'r');
      const prototype = Object.getPrototypeOf(probe) as FileHandle;
      await probe.close();
      const before = readdirSync('/proc/self/fd').length;
      const failure = (what: string) => Object.assign(new Error(`${what} ${errno}`), { code: errno });
      const archive = Buffer.concat([member('file', Buffer.alloc(size)), TAR_TRAILER]);
      const real = Object.getOwnPropertyDescriptor(UnpackedFile.prototype, 'close')!
        .value as () => Promise<void>;
      const close = jest.spyOn(UnpackedFile.prototype, 'close').mockImplementation(async function (
        this: UnpackedFile,
      ) {
        await real.call(this);
        throw failure('close');
      });
      const write = jest.spyOn(prototype, 'write').mockRejectedValue(failure('write'));
      try {
        await expect(extract([archive], { folder: folder(`${errno} ${size}`) })).rejects.toMatchObject({
          code,
          message: expect.stringContaining(`write ${errno}`),
        });
      } finally {
        write.mockRestore();
        close.mockRestore();
      }
      expect(readdirSync('/proc/self/fd').length).toBe(before);
    },
  );

  it('has the disk begin early only with what lies in the kernel’s cache', async () => {
    const probe = await open(folder('judge', 'PG_VERSION'), 'r');
    const datasync = jest.spyOn(Object.getPrototypeOf(probe) as FileHandle, 'datasync');
    await probe.close();
    mkdirSync(folder('early'));
    try {
      for (const readAgain of [false, true]) {
        datasync.mockClear();
        const extraction = new TarExtraction({ folder: folder('early'), readAgain: () => readAgain });
        const file = await extraction.createFile(Buffer.from('file'), 64 * MIB);
        extraction.startWriteBack(file, 'Cannot write file', 64 * MIB);
        expect(datasync).toHaveBeenCalledTimes(file.isDirect ? 0 : 1);
        expect(file.isDirect && readAgain).toBe(false);
        await file.close();
      }
    } finally {
      datasync.mockRestore();
    }
  });

  it('keeps members in memory that it is told to keep', async () => {
    const label = readFileSync(folder('judge', 'backup_label'));
    for (const largest of [8 * MIB, 700]) {
      const target = folder(`kept ${largest}`);
      const { kept } = await extract([base], { folder: target, keep: ['backup_label'] }, largest);
      expect(kept.get('backup_label')?.equals(label)).toBe(true);
      expect(existsSync(path.join(target, 'backup_label'))).toBe(false);
    }
  });

  it('leaves nothing open and reports where an archive is cut off', async () => {
    const open = readdirSync('/proc/self/fd').length;
    const target = folder('cut');
    await expect(extract([base.subarray(0, base.length / 2)], { folder: target })).rejects.toThrow(
      /ends within/,
    );
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(open);
  });
});

describe('Unpacking what GNU tar made', () => {
  const folder = useFolder();

  it.each(['gnu', 'pax', 'ustar'])(
    'restores names and links of every kind from the format %s',
    async (format) => {
      const tree = folder(format, 'tree');
      const deep = `${'n'.repeat(60)}/${'m'.repeat(80)}`;
      mkdirSync(`${tree}/${deep}`, { recursive: true });
      writeFileSync(`${tree}/${deep}/a file`, Buffer.alloc(3 * MIB + 17, 'ab'));
      writeFileSync(Buffer.concat([Buffer.from(`${tree}/latin1 `), Buffer.from([0xe9, 0xff])]), 'not UTF-8');
      for (const size of [0, 1, 511, 512, 513]) writeFileSync(`${tree}/${size} bytes`, 'x'.repeat(size));
      symlinkSync('a/b', `${tree}/dangling`);
      const bytes = run('tar', ['--create', `--format=${format}`, '--file', '-', '.'], tree);
      await extract([bytes], { folder: folder(format, 'unpacked') }, 5000);
      expect(difference(folder(format, 'unpacked'), tree)).toBe('');
    },
  );

  it('unpacks the same where files are there already', async () => {
    const target = folder('again');
    await extract([member('a', 'longer than the next')], { folder: target });
    await extract([member('a', 'short')], { folder: target });
    expect(readFileSync(`${target}/a`, 'utf8')).toBe('short');
  });
});

describe('Unpacking an archive that wants to leave its folder', () => {
  const folder = useFolder();
  const into = (name: string) => ({ folder: folder(name, 'inside') });

  it.each(['/etc/passwd', '../outside', 'a/../../outside', '..', 'a/..'])(
    'refuses the name %s',
    async (name) => {
      await expect(extract([member(name, 'x')], into('names'))).rejects.toThrow(
        /has a member outside of its folder/,
      );
      expect(existsSync(folder('names', 'outside'))).toBe(false);
    },
  );

  it.each(['/etc', '..', '../outside', 'a/../..', ''])('refuses a link to "%s"', async (target) => {
    await expect(extract([link('way', target)], into('links'))).rejects.toThrow(
      /a link that leads elsewhere/,
    );
  });

  it('hands links of tablespaces to the caller and makes none', async () => {
    const seen: unknown[] = [];
    const archive = Buffer.concat([
      link('pg_tblspc/16400', '/srv/fast'),
      member('pg_tblspc/16401/x', 'y'),
      TAR_TRAILER,
    ]);
    await extract([archive], { ...into('spaces'), onTablespaceLink: (found) => void seen.push(found) });
    expect(seen).toEqual([{ oid: 16_400, target: '/srv/fast' }]);
    expect(readdirSync(folder('spaces', 'inside', 'pg_tblspc'))).toEqual(['16401']);
    await expect(extract([link('pg_tblspc/1', '/srv/fast')], into('spaces 2'))).rejects.toThrow(
      /leads elsewhere/,
    );
  });

  it('does not write through a link that stands where a file should', async () => {
    const { folder: inside } = into('through');
    mkdirSync(inside, { recursive: true });
    writeFileSync(folder('through', 'precious'), 'precious');
    symlinkSync('../precious', `${inside}/way`);
    await expect(extract([member('way', 'x')], into('through'))).rejects.toThrow(/Cannot write .*way/);
    expect(readFileSync(folder('through', 'precious'), 'utf8')).toBe('precious');
    expect(readlinkSync(`${inside}/way`)).toBe('../precious');
  });

  it('refuses hard links, pipes and devices', async () => {
    const tree = folder('strange');
    mkdirSync(tree);
    writeFileSync(`${tree}/a`, 'x');
    run('ln', [`${tree}/a`, `${tree}/b`]);
    const hard = run('tar', ['--create', '--file', '-', 'a', 'b'], tree);
    await expect(extract([hard], into('hard'))).rejects.toThrow(/: b is a hard link/);
    run('mkfifo', [`${tree}/pipe`]);
    const pipe = run('tar', ['--create', '--file', '-', 'pipe'], tree);
    await expect(extract([pipe], into('pipe'))).rejects.toThrow(/: pipe is no file, folder or link/);
  });
});
