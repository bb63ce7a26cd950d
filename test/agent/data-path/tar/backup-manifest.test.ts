import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { parseBackupManifest } from '../../../../scripts/agent/data-path/tar/backup-manifest.ts';
import { verifyAgainstManifest } from '../../../../scripts/agent/data-path/tar/manifest-verification.ts';
import { usePostgres } from '../../../postgres-server.ts';
import { attempt, CONTENTS, run, runClient, useFolder } from './tar-fixture.ts';

/** A manifest as PostgreSQL writes it: the last line holds the checksum of those before. */
function withChecksum(lines: string): Buffer {
  const sum = createHash('sha256').update(lines).digest('hex');
  return Buffer.from(`${lines}"Manifest-Checksum": "${sum}"}\n`);
}

describe('Reading a backup manifest', () => {
  it('reads version 2, names that are not UTF-8, and files without checksums', () => {
    const manifest = parseBackupManifest(
      withChecksum(
        `{ "PostgreSQL-Backup-Manifest-Version": 2,\n"System-Identifier": 7421984512341234567,\n"Files": [\n` +
          `{ "Path": "grö\\u00dfe", "Size": 3, "Last-Modified": "2026-01-01 00:00:00 GMT" },\n` +
          `{ "Encoded-Path": "61ff", "Size": 4, "Last-Modified": "2026-01-01 00:00:00 GMT", "Checksum-Algorithm": "SHA256", "Checksum": "ab" }\n` +
          `],\n"WAL-Ranges": [\n{ "Timeline": 2, "Start-LSN": "0/2000028", "End-LSN": "1/2000100" }\n],\n`,
      ),
      'test',
    );
    expect(manifest).toEqual({
      version: 2,
      systemIdentifier: 7_421_984_512_341_234_567n,
      files: [
        { path: Buffer.from('größe').toString('latin1'), size: 3, checksum: undefined },
        { path: 'a\u00ff', size: 4, checksum: { algorithm: 'SHA256', hex: 'ab' } },
      ],
      walRanges: [{ timeline: 2, start: 0x2000028n, end: 0x1_0200_0100n }],
    });
  });

  it.each([
    ['cut off', (bytes: Buffer) => bytes.subarray(0, -2), /is no JSON/],
    [
      'changed',
      (bytes: Buffer) => Buffer.from(bytes.toString().replace('"Size": 1', '"Size": 2')),
      /own checksum/,
    ],
    ['without its last line feed', (bytes: Buffer) => bytes.subarray(0, -1), /own checksum/],
    [
      'of version 3',
      (bytes: Buffer) => Buffer.from(bytes.toString().replace('Version": 1', 'Version": 3')),
      /Version/,
    ],
    ['something else', () => Buffer.from('{}'), /no backup manifest of PostgreSQL 14 to 18/],
  ])('refuses one that is %s', (_, change, message) => {
    const bytes = withChecksum(
      `{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n{ "Path": "a", "Size": 1 }],\n"WAL-Ranges": [\n],\n`,
    );
    expect(() => parseBackupManifest(bytes, 'test')).not.toThrow();
    expect(() => parseBackupManifest(change(bytes), 'test')).toThrow(message);
  });
});

describe('Reading a backup manifest of many files', () => {
  const lines = Array.from({ length: 20_000 }, (_, index) => {
    return `{ "Path": "base/5/${index}", "Size": ${index}, "Last-Modified": "2026-01-01 00:00:00 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "00c0ffee" }`;
  });
  const manifestOf = (files: string): Buffer => {
    const ranges = `{ "Timeline": 1, "Start-LSN": "0/28", "End-LSN": "0/100" }`;
    return withChecksum(
      `{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [${files}],\n"WAL-Ranges": [\n${ranges}\n],\n`,
    );
  };

  it('reads them one after the other, and the same as if all were read at once', () => {
    const parse = jest.spyOn(JSON, 'parse');
    try {
      const byLine = parseBackupManifest(manifestOf(`\n${lines.join(',\n')}\n`), 'test');
      expect(Math.max(...parse.mock.calls.map(([text]) => text.length))).toBeLessThan(1000);
      expect(byLine.files).toHaveLength(20_000);
      expect(parseBackupManifest(manifestOf(lines.join(', ')), 'test')).toEqual(byLine);
    } finally {
      parse.mockRestore();
    }
  });

  it('refuses one with a line that is no file, or a part of one', () => {
    for (const broken of ['{ "Path": "a" }', '{ "Path": "a", "Size": 1', '', '1'])
      expect(() => parseBackupManifest(manifestOf(`\n${lines[0]},\n${broken}\n`), 'test')).toThrow(
        /test is no/,
      );
  });
});

describe.each(['CRC32C', 'SHA256', 'SHA512', 'NONE'])(
  'Comparing a folder with its manifest of %s',
  (algorithm) => {
    const postgres = usePostgres();
    const folder = useFolder();

    beforeAll(async () => {
      const place = folder('space');
      mkdirSync(place);
      const { uid, gid } = statSync(postgres().dataDir);
      for (const name of [folder(), place]) chownSync(name, uid, gid);
      await postgres().psql('postgres', `CREATE TABLESPACE fast LOCATION '${place}'`);
      await postgres().psql('postgres', CONTENTS);
      await postgres().psql('postgres', 'CREATE TABLE quick TABLESPACE fast AS SELECT * FROM items');
      const mapped = ['-T', `${place}=${folder('mapped')}`];
      const options = ['-Fp', '-X', 'stream', '-c', 'fast', `--manifest-checksums=${algorithm}`];
      runClient(postgres(), 'pg_basebackup', ['-D', folder('sound'), ...options, ...mapped]);
    });

    /** Our own verdict and pg_verifybackup's, as lists of paths. */
    async function verdicts(
      target: string,
    ): Promise<{ ours: string[]; theirs: string[]; status: number | null }> {
      const manifest = parseBackupManifest(readFileSync(path.join(target, 'backup_manifest')), 'manifest');
      const { problems } = await verifyAgainstManifest(target, manifest);
      const { status, output } = attempt(path.join(postgres().binDir, 'pg_verifybackup'), [target]);
      const theirs = output
        .split('\n')
        .filter((line) => line.startsWith('pg_verifybackup: error: '))
        .map((line) =>
          line.includes('WAL parsing failed') ? 'pg_wal' : (/"([^"]+)"/.exec(line)?.[1] ?? line),
        );
      return { ours: problems.map(({ path: name }) => name).sort(), theirs: theirs.sort(), status };
    }

    async function damagedBy(name: string, damage: (target: string) => void): Promise<string[]> {
      const target = folder(name);
      run('cp', ['-a', folder('sound'), target]);
      damage(target);
      const { ours, theirs, status } = await verdicts(target);
      expect(ours).toEqual(theirs);
      expect(status).toBe(1);
      rmSync(target, { recursive: true });
      return ours;
    }

    it('finds nothing in a sound one, as pg_verifybackup finds nothing', async () => {
      const { ours, theirs, status } = await verdicts(folder('sound'));
      expect(ours).toEqual([]);
      expect(theirs).toEqual([]);
      expect(status).toBe(0);
      const manifest = parseBackupManifest(readFileSync(folder('sound', 'backup_manifest')), 'manifest');
      const { files, bytes } = await verifyAgainstManifest(folder('sound'), manifest);
      const compared = manifest.files.filter(({ path: name }) => name !== 'postgresql.auto.conf');
      expect(files).toBe(algorithm === 'NONE' ? 0 : compared.length);
      const total = compared.reduce((sum, { size }) => sum + size, 0);
      expect(bytes).toBe(algorithm === 'NONE' ? 0 : total);
    });

    it('believes checksums that were taken as the files were written, and reads those no more', async () => {
      const target = folder('sound');
      const manifest = parseBackupManifest(readFileSync(path.join(target, 'backup_manifest')), 'manifest');
      const checked = manifest.files.filter(({ checksum }) => checksum !== undefined);
      const written = new Map(checked.map(({ path: name, checksum }) => [name, checksum!.hex]));
      const whole = await verifyAgainstManifest(target, manifest);
      expect(await verifyAgainstManifest(target, manifest, { written })).toEqual(whole);
      if (algorithm === 'NONE') return;
      written.set('PG_VERSION', '00'.repeat(4));
      const { problems } = await verifyAgainstManifest(target, manifest, { written });
      expect(problems).toMatchObject([{ path: 'PG_VERSION', kind: 'checksum' }]);
    });

    it('finds the same as pg_verifybackup in damaged ones', async () => {
      const ofSize = (target: string) =>
        readdirSync(path.join(target, 'base', '5')).filter(
          (name) => statSync(path.join(target, 'base', '5', name)).size > 8192,
        )[0]!;
      const missing = await damagedBy('missing', (target) => {
        rmSync(path.join(target, 'PG_VERSION'));
        rmSync(path.join(target, 'base', '1'), { recursive: true });
      });
      expect(missing.length).toBeGreaterThan(100);
      const extra = await damagedBy('extra', (target) => {
        writeFileSync(path.join(target, 'notes'), 'x');
        mkdirSync(path.join(target, 'base', '77'));
        writeFileSync(path.join(target, 'base', '77', '1'), '');
      });
      expect(extra).toEqual(['base/77/1', 'notes']);
      const size = await damagedBy('size', (target) => {
        appendFileSync(path.join(target, 'postgresql.conf'), '\n');
        truncateSync(path.join(target, 'base', '5', ofSize(target)), 8192);
      });
      expect(size).toHaveLength(2);
      expect(size).toContain('postgresql.conf');
      await damagedBy('pipe', (target) => run('mkfifo', [path.join(target, 'pipe')]));
      await damagedBy('label', (target) => rmSync(path.join(target, 'backup_label')));
      const ignored = folder('ignored');
      run('cp', ['-a', folder('sound'), ignored]);
      appendFileSync(path.join(ignored, 'postgresql.auto.conf'), '\n');
      writeFileSync(path.join(ignored, 'standby.signal'), '');
      expect(await verdicts(ignored)).toEqual({ ours: [], theirs: [], status: 0 });
    });

    it('finds changed bytes where the manifest has checksums, in tablespaces too', async () => {
      const flip = (file: string) => {
        const bytes = readFileSync(file);
        bytes[bytes.length >> 1]! ^= 1;
        writeFileSync(file, bytes);
      };
      const target = folder('flipped');
      run('cp', ['-a', folder('sound'), target]);
      const [oid] = readdirSync(path.join(target, 'pg_tblspc'));
      const link = path.join(target, 'pg_tblspc', oid!);
      rmSync(link);
      run('cp', ['-a', folder('mapped'), folder('mapped 2')]);
      symlinkSync(folder('mapped 2'), link);
      const relation = run('find', ['-L', link, '-type', 'f', '-size', '+8k']).toString().split('\n')[0]!;
      flip(relation);
      flip(path.join(target, 'global', 'pg_control'));
      const { ours, theirs, status } = await verdicts(target);
      const expected = ['global/pg_control', path.relative(target, relation)].sort();
      expect(ours).toEqual(algorithm === 'NONE' ? [] : expected);
      expect(ours).toEqual(theirs);
      expect(status).toBe(algorithm === 'NONE' ? 0 : 1);
    });

    it('finds WAL that is missing, cut off or damaged', async () => {
      const segments = (target: string) =>
        readdirSync(path.join(target, 'pg_wal')).filter((name) => /^[0-9A-F]{24}$/.test(name));
      const inWal = (damage: (file: string) => void) => (target: string) => {
        damage(path.join(target, 'pg_wal', segments(target)[0]!));
      };
      expect(
        await damagedBy(
          'wal 1',
          inWal((file) => rmSync(file)),
        ),
      ).toEqual(['pg_wal']);
      expect(
        await damagedBy(
          'wal 2',
          inWal((file) => truncateSync(file, 64)),
        ),
      ).toEqual(['pg_wal']);
      const flip = (at: number) => (file: string) => {
        const bytes = readFileSync(file);
        bytes[at]! ^= 1;
        writeFileSync(file, bytes);
      };
      expect(await damagedBy('wal 3', inWal(flip(0x28 + 30)))).toEqual(['pg_wal']);
      expect(await damagedBy('wal 4', inWal(flip(0)))).toEqual(['pg_wal']);
    });
  },
);
