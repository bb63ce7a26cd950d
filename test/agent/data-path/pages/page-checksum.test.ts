import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PAGE_SIZE, unsoundPages } from '../../../../scripts/agent/data-path/pages/page-checksum.ts';
import {
  openPageMemory,
  openPlainMemory,
  openVectorMemory,
  type PageMemory,
} from '../../../../scripts/agent/data-path/pages/page-memory.ts';
import { relationFileOf } from '../../../../scripts/agent/data-path/pages/relation-file.ts';
import { parseLsn } from '../../../../lib/domain/wal/lsn.ts';
import { startPostgres, type PostgresServer } from '../../../postgres-server.ts';
import { attempt, CONTENTS } from '../tar/tar-fixture.ts';

/** No page is as new as that. */
const NEVER = parseLsn('FFFFFFFF/FFFFFFFF');

function relationFiles(dataDir: string): { file: string; name: string; firstBlock: number }[] {
  return readdirSync(dataDir, { withFileTypes: true, recursive: true }).flatMap((entry) => {
    const file = path.join(entry.parentPath, entry.name);
    const name = path.relative(dataDir, file);
    const found = entry.isFile() ? relationFileOf(name) : undefined;
    return found ? [{ file, name, ...found }] : [];
  });
}

/** In the second of two buffers. */
function checkIn(memory: PageMemory, bytes: Buffer, firstBlock = 0, start = NEVER): number[] {
  const buffer = memory.buffers[1]!;
  bytes.copy(buffer);
  return memory.unsoundPages(buffer.subarray(0, bytes.length), firstBlock, start);
}

/** A page of the contents that has the LSN and the checksum. */
function pageOf(contents: Buffer, lsn: bigint, checksum: number): Buffer {
  const page = Buffer.from(contents);
  page.writeUInt32LE(Number(lsn >> 32n), 0);
  page.writeUInt32LE(Number(lsn & 0xffff_ffffn), 4);
  page.writeUInt16LE(checksum, 8);
  page.writeUInt16LE(4096, 14);
  return page;
}

const WAYS = [
  ['WebAssembly', (count: number, size: number) => openVectorMemory(count, size)!],
  ['JavaScript', openPlainMemory],
] as const;

it('Page checksums are computed in WebAssembly on the machines that most hosts are', () => {
  const isUsual = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);
  expect(openVectorMemory(1, PAGE_SIZE) !== undefined).toBe(isUsual);
  const { buffers } = openPageMemory(3, 5 * PAGE_SIZE);
  expect(buffers.map(({ length }) => length)).toEqual([5, 5, 5].map((pages) => pages * PAGE_SIZE));
  expect(new Set(buffers.map(({ buffer }) => buffer)).size).toBe(isUsual ? 1 : 3);
});

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
  await server.psql('postgres', CONTENTS);
  await server.stop();
});
afterAll(() => server.remove());

describe.each(WAYS)('Page checksums by %s', (_, open) => {
  const memory = open(2, 8 * 1024 * 1024);

  it('are those of PostgreSQL on every page of a cluster, the free space and visibility maps included', () => {
    const { output } = attempt(path.join(server.binDir, 'pg_checksums'), ['--check', '-D', server.dataDir]);
    expect(output).toMatch(/Bad checksums: +0/);
    const files = relationFiles(server.dataDir);
    let pages = 0;
    for (const { file, firstBlock } of files) {
      const bytes = readFileSync(file);
      pages += bytes.length / PAGE_SIZE;
      for (let from = 0; from < bytes.length; from += memory.buffers[1]!.length) {
        const piece = bytes.subarray(from, from + memory.buffers[1]!.length);
        expect(checkIn(memory, piece, firstBlock + from / PAGE_SIZE)).toEqual([]);
      }
    }
    expect(files.some(({ name }) => name.endsWith('_fsm'))).toBe(true);
    expect(files.some(({ name }) => name.endsWith('_vm'))).toBe(true);
    expect(files.some(({ name }) => name.endsWith('_init'))).toBe(true);
    const scanned = Number(/Files scanned: +(\d+)/.exec(output)?.[1]);
    const blocks = Number(/Blocks scanned: +(\d+)/.exec(output)?.[1]);
    expect({ files: files.length, pages }).toEqual({ files: scanned, pages: blocks });
  });

  it('show every flipped bit and every page in another’s place, as pg_checksums does', () => {
    const largest = relationFiles(server.dataDir).sort(
      (a, b) => readFileSync(b.file).length - readFileSync(a.file).length,
    )[0]!;
    const sound = readFileSync(largest.file);
    const damaged = Buffer.from(sound);
    const flipped = [0, 7, 8 * PAGE_SIZE + 13, 11 * PAGE_SIZE + 8191];
    for (const at of flipped) damaged[at]! ^= 0x10;
    sound.copy(damaged, 20 * PAGE_SIZE, 21 * PAGE_SIZE, 22 * PAGE_SIZE);
    expect(checkIn(memory, damaged.subarray(0, 24 * PAGE_SIZE), largest.firstBlock)).toEqual([0, 8, 11, 20]);
    writeFileSync(largest.file, damaged);
    try {
      const { output } = attempt(path.join(server.binDir, 'pg_checksums'), ['--check', '-D', server.dataDir]);
      expect(output).toMatch(/Bad checksums: +4/);
    } finally {
      writeFileSync(largest.file, sound);
    }
  });

  it('depend on the page’s number, and are looked for in whole pages only', () => {
    const { file, firstBlock } = relationFiles(server.dataDir).find(({ name }) => name === 'global/1262')!;
    const bytes = readFileSync(file).subarray(0, PAGE_SIZE);
    expect(checkIn(memory, bytes, firstBlock)).toEqual([]);
    expect(checkIn(memory, bytes, firstBlock + 1)).toEqual([firstBlock + 1]);
    expect(checkIn(memory, bytes.subarray(0, -1), firstBlock + 1)).toEqual([]);
    expect(checkIn(memory, Buffer.alloc(0), 7)).toEqual([]);
  });

  it('are not looked at where a page was never used, or changed at the start or since', () => {
    expect(checkIn(memory, Buffer.alloc(4 * PAGE_SIZE))).toEqual([]);
    const start = parseLsn('A0000001/90000000');
    const lsns = ['A0000001/8FFFFFFF', 'A0000001/90000000', 'A0000002/0', '90000001/FFFFFFFF', '0/0'];
    const page = Buffer.alloc(PAGE_SIZE, 'x');
    const pages = lsns.map((lsn) => pageOf(page, parseLsn(lsn), 0));
    // A checksum is never 0.
    expect(checkIn(memory, Buffer.concat(pages), 131_072, start)).toEqual([131_072, 131_075, 131_076]);
    expect(checkIn(memory, Buffer.concat(pages), 131_072, 0n)).toEqual([]);
  });
});

describe('Page checksums by both', () => {
  it('are the same one of 65,536 for whatever a page holds', () => {
    const [vector, plain] = WAYS.map(([, open]) => open(1, PAGE_SIZE));
    const fits = (memory: PageMemory, contents: Buffer, checksum: number): boolean => {
      pageOf(contents, 0n, checksum).copy(memory.buffers[0]!);
      return memory.unsoundPages(memory.buffers[0]!, 0xffff_fffe, NEVER).length === 0;
    };
    for (const contents of [randomBytes(PAGE_SIZE), Buffer.alloc(PAGE_SIZE, 0xff)]) {
      const all = Array.from({ length: 65_536 }, (_, checksum) => checksum);
      const found = all.filter((checksum) => fits(vector!, contents, checksum));
      expect(found).toHaveLength(1);
      // JavaScript is a hundred times as slow in a test: some of the others will do.
      const some = all.filter((checksum) => checksum % 256 === 0 || found.includes(checksum));
      expect(some.filter((checksum) => fits(plain!, contents, checksum))).toEqual(found);
    }
  });

  it('do not depend by JavaScript on where a page lies in memory, and are looked for in WebAssembly where it lies', () => {
    const bytes = pageOf(randomBytes(PAGE_SIZE), 0n, 0);
    for (const shift of [1, 2, 3]) {
      const moved = Buffer.concat([Buffer.alloc(shift), bytes]).subarray(shift);
      expect(unsoundPages(moved, 5, NEVER)).toEqual([5]);
    }
    expect(() => openVectorMemory(1, PAGE_SIZE)!.unsoundPages(bytes, 0, NEVER)).toThrow(/lie elsewhere/);
  });
});

describe('The files that have pages with checksums', () => {
  it.each([
    ['base/5/16384', 0],
    ['base/5/16384.2', 262_144],
    ['base/5/16384_fsm.1', 131_072],
    ['global/1262', 0],
    ['global/1262_vm', 0],
    ['pg_tblspc/16400/PG_15_202209061/5/16401_init', 0],
    ['PG_18_202506291/5/16401', 0],
  ])('are such as %s', (name, firstBlock) => {
    expect(relationFileOf(name)).toEqual({ firstBlock });
  });

  it.each([
    'pg_xact/0000',
    'pg_multixact/offsets/0000',
    'base/5/pg_filenode.map',
    'base/5/PG_VERSION',
    'base/5/t3_16384',
    'base/pgsql_tmp/1',
    'global/pg_control',
    'pg_wal/000000010000000000000001',
    'backup_label',
  ])('are not such as %s', (name) => {
    expect(relationFileOf(name)).toBeUndefined();
  });
});
