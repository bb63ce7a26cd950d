import { chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { TAR_TRAILER } from '../../../../scripts/agent/data-path/tar/tar-header.ts';
import { TarReader } from '../../../../scripts/agent/data-path/tar/tar-reader.ts';
import {
  VolumeSplitter,
  type VolumeSeries,
  type VolumeSummary,
} from '../../../../scripts/agent/data-path/tar/volume-splitter.ts';
import { usePostgres } from '../../../postgres-server.ts';
import {
  CONTENTS,
  difference,
  listTar,
  piecesOf,
  run,
  runClient,
  unpackTar,
  useFolder,
} from './tar-fixture.ts';

const MIB = 1024 * 1024;

interface Volume extends VolumeSummary {
  readonly series: VolumeSeries;
  readonly number: number;
  readonly bytes: Buffer;
}

interface Archive {
  readonly oid: number | null;
  readonly bytes: Buffer;
}

async function split(archives: readonly Archive[], fullAt: number, largest = 100_000): Promise<Volume[]> {
  const volumes: Volume[] = [];
  const splitter = new VolumeSplitter({
    fullAt,
    startVolume: (series, number) => {
      const pieces: Buffer[] = [];
      return {
        write: (bytes) => {
          pieces.push(Buffer.from(bytes));
          // Like a frame writer: most of the time there is room.
          return pieces.length % 7 === 0 ? Promise.resolve() : undefined;
        },
        end: async (summary) => {
          volumes.push({ series, number, bytes: Buffer.concat(pieces), ...summary });
        },
      };
    },
  });
  for (const [index, { oid, bytes }] of archives.entries()) {
    await splitter.push({ kind: 'archive', oid });
    for (const piece of piecesOf(bytes, largest, index + 1)) {
      const reused = Buffer.from(piece);
      await splitter.push({ kind: 'data', bytes: reused });
      // The connection uses its memory again.
      reused.fill(0xee);
    }
  }
  await splitter.finish();
  return volumes;
}

function membersOf(bytes: Buffer): { name: string; size: number }[] {
  const reader = new TarReader('test');
  const members = [...reader.push(bytes)].flatMap((event) => (event.kind === 'member' ? [event.member] : []));
  reader.finish();
  return members;
}

function concatenate(volumes: readonly Volume[], series: VolumeSeries): Buffer {
  return Buffer.concat(volumes.filter((volume) => volume.series === series).map(({ bytes }) => bytes));
}

describe('Splitting a base backup into volumes', () => {
  const postgres = usePostgres();
  const folder = useFolder();
  let archives: Archive[];
  let tablespace: number;

  beforeAll(async () => {
    const server = postgres();
    const place = folder('space');
    mkdirSync(place);
    const { uid, gid } = statSync(server.dataDir);
    for (const name of [folder(), place]) chownSync(name, uid, gid);
    await server.psql('postgres', `CREATE TABLESPACE fast LOCATION '${place}'`);
    await server.psql('postgres', CONTENTS);
    await server.psql('postgres', 'CREATE TABLE quick TABLESPACE fast AS SELECT * FROM items');
    tablespace = Number(
      await server.psql('postgres', `SELECT oid FROM pg_tablespace WHERE spcname = 'fast'`),
    );
    runClient(server, 'pg_basebackup', ['-D', folder('tar'), '-Ft', '-X', 'fetch', '-c', 'fast']);
    archives = [
      { oid: tablespace, bytes: readFileSync(folder('tar', `${tablespace}.tar`)) },
      { oid: null, bytes: readFileSync(folder('tar', 'base.tar')) },
    ];
  });

  it('makes one valid tar of each series that holds what the server sent, in its order', async () => {
    const volumes = await split(archives, MIB);
    expect(volumes.filter(({ series }) => series === 'base').length).toBeGreaterThan(5);
    const names: string[] = [];
    for (const series of ['base', 'wal', `ts-${tablespace}`] as const) {
      const file = folder(`${series}.tar`);
      writeFileSync(file, concatenate(volumes, series));
      unpackTar(file, folder('ours', series === 'wal' ? 'base' : series));
      names.push(...listTar(file));
    }
    unpackTar(folder('tar', 'base.tar'), folder('theirs', 'base'));
    unpackTar(folder('tar', `${tablespace}.tar`), folder('theirs', `ts-${tablespace}`));
    expect(difference(folder('ours'), folder('theirs'))).toBe('');
    const sent = [...listTar(folder('tar', 'base.tar')), ...listTar(folder('tar', `${tablespace}.tar`))];
    expect(names).toEqual(sent);
  });

  it('puts the backup’s WAL into a series of its own', async () => {
    const volumes = await split(archives, 256 * MIB);
    expect(volumes.map(({ series, number }) => `${series} ${number}`)).toEqual([
      `ts-${tablespace} 1`,
      'base 1',
      'wal 1',
    ]);
    const wal = membersOf(volumes[2]!.bytes).map(({ name }) => name);
    expect(wal[0]).toMatch(/^pg_wal\/0000000100000000000000/);
    const base = membersOf(volumes[1]!.bytes).map(({ name }) => name);
    // The folders themselves belong to the data directory.
    expect(base.filter((name) => name.includes('pg_wal'))).toEqual(['pg_wal', './pg_wal/archive_status']);
  });

  it('begins a volume at the first member after the last is full, and ends none but the last with a trailer', async () => {
    const fullAt = MIB;
    const volumes = await split(archives, fullAt);
    for (const [index, volume] of volumes.entries()) {
      const isLast =
        volumes[index + 1]?.series !== volume.series &&
        !volumes.slice(index + 1).some(({ series }) => series === volume.series);
      const trailer = isLast ? TAR_TRAILER.length : 0;
      const members = membersOf(volume.bytes);
      expect(volume.members).toBe(members.length);
      expect(volume.rawSize).toBe(volume.bytes.length);
      const last = members.at(-1)!;
      const lastSize = 512 + Math.ceil(last.size / 512) * 512;
      expect(volume.rawSize - lastSize - trailer).toBeLessThan(fullAt);
      if (!isLast) expect(volume.rawSize).toBeGreaterThanOrEqual(fullAt);
      expect(volume.bytes.subarray(-1024).equals(TAR_TRAILER) && isLast).toBe(isLast);
    }
  });

  it('makes volumes that GNU tar reads one by one', async () => {
    const volumes = await split(archives, 3 * MIB);
    for (const [index, { bytes, members }] of volumes.entries()) {
      writeFileSync(folder(`one-${index}.tar`), bytes);
      expect(listTar(folder(`one-${index}.tar`))).toHaveLength(members);
    }
  });

  it('makes the same of archives without a trailer, as PostgreSQL 14 sends them, and of pieces of any size', async () => {
    const expected = await split(archives, 2 * MIB);
    const bare = archives.map(({ oid, bytes }) => ({ oid, bytes: bytes.subarray(0, -TAR_TRAILER.length) }));
    expect(archives[0]!.bytes.subarray(-TAR_TRAILER.length).equals(TAR_TRAILER)).toBe(true);
    const found = await split(bare, 2 * MIB, 2_000_000);
    expect(found.length).toBe(expected.length);
    for (const [index, volume] of found.entries()) {
      expect(volume.bytes.equals(expected[index]!.bytes)).toBe(true);
    }
    const small = archives.map(({ oid, bytes }) => ({ oid, bytes: bytes.subarray(0, 0) }));
    expect((await split(small, MIB)).map(({ bytes }) => bytes.equals(TAR_TRAILER))).toEqual([true, true]);
  });

  it('takes one byte at a time', async () => {
    const start = archives.map(({ oid, bytes }) => ({ oid, bytes: wholeMembers(bytes, 200_000) }));
    const expected = await split(start, 50_000);
    const found = await split(start, 50_000, 1);
    expect(found.map(({ bytes }) => bytes.toString('hex'))).toEqual(
      expected.map(({ bytes }) => bytes.toString('hex')),
    );
  });

  it('refuses a stream that ends within a member, goes on after its end, or is no tar', async () => {
    const [, main] = archives as [Archive, Archive];
    const cut = { oid: null, bytes: main.bytes.subarray(0, 100_000) };
    await expect(split([cut], MIB)).rejects.toThrow(/archive base ends within /);
    const beyond = { oid: null, bytes: Buffer.concat([main.bytes, Buffer.from('x')]) };
    await expect(split([beyond], MIB)).rejects.toThrow(/goes on after its end/);
    const noise = Buffer.from(main.bytes);
    noise[3]! ^= 0xff;
    await expect(split([{ oid: null, bytes: noise }], MIB)).rejects.toThrow(
      /no tar member where one should begin/,
    );
    await expect(split([main, main], MIB)).rejects.toThrow(/sends the archive base twice/);
  });

  it('passes on what a volume’s writer throws', async () => {
    const splitter = new VolumeSplitter({
      startVolume: () => ({ write: () => Promise.reject(new Error('S3 is away')), end: () => undefined }),
    });
    await splitter.push({ kind: 'archive', oid: null });
    await expect(splitter.push({ kind: 'data', bytes: archives[1]!.bytes })).rejects.toThrow('S3 is away');
  });
});

/** The archive's first whole members, as many as fit `size` bytes. */
function wholeMembers(bytes: Buffer, size: number): Buffer {
  const reader = new TarReader('test');
  let end = 0;
  let at = 0;
  for (const event of reader.push(bytes)) {
    if (event.kind === 'member') at += event.header.length;
    else if (event.kind === 'member-end') {
      if (at > size) break;
      end = at;
    } else at += event.bytes.length;
  }
  return bytes.subarray(0, end);
}

describe('Reading tar headers', () => {
  const folder = useFolder();

  it('reads sizes of 8 GiB and more', () => {
    run('truncate', ['--size', '9G', folder('big')]);
    run('sh', ['-c', 'tar --create --format=gnu --file - big | head -c 512 > big.tar'], folder());
    const reader = new TarReader('test');
    const [event] = [...reader.push(readFileSync(folder('big.tar')))];
    expect(event).toMatchObject({ kind: 'member', member: { name: 'big', size: 9 * 1024 ** 3 } });
    expect(() => reader.finish()).toThrow('test ends within big');
  });

  it.each(['gnu', 'pax', 'ustar', 'v7'])('reads what GNU tar writes in the format %s', (format) => {
    const tree = folder(format);
    const long = format === 'v7' ? 'short' : `${'n'.repeat(60)}/${'m'.repeat(70)}`;
    mkdirSync(`${tree}/${long}`, { recursive: true });
    writeFileSync(`${tree}/${long}/größe 1.txt`, 'x'.repeat(700));
    writeFileSync(`${tree}/empty`, '');
    run('ln', ['-s', 'empty', `${tree}/link`]);
    const bytes = run('tar', ['--create', `--format=${format}`, '--sort=name', '--file', '-', '.'], tree);
    const reader = new TarReader('test');
    const events = [...reader.push(bytes)];
    reader.finish();
    const members = events.flatMap((event) => (event.kind === 'member' ? [event.member] : []));
    expect(members.map(({ name, type }) => `${type} ${name}`)).toContain(`file ./${long}/größe 1.txt`);
    expect(members.find(({ type }) => type === 'symlink')).toMatchObject({
      name: './link',
      linkTarget: 'empty',
    });
    const raw = events.flatMap((event) =>
      event.kind === 'member' ? [event.header] : event.kind === 'member-end' ? [] : [event.bytes],
    );
    const joined = Buffer.concat(raw);
    expect(bytes.subarray(0, joined.length).equals(joined)).toBe(true);
    expect(bytes.subarray(joined.length).every((byte) => byte === 0)).toBe(true);
  });
});
