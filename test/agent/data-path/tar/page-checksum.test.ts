import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  PAGE_SIZE,
  relationFileOf,
  unsoundPages,
} from '../../../../scripts/agent/data-path/tar/page-checksum.ts';
import { startPostgres, type PostgresServer } from '../../../postgres-server.ts';
import { attempt, CONTENTS } from './tar-fixture.ts';

function relationFiles(dataDir: string): { file: string; name: string; firstBlock: number }[] {
  return readdirSync(dataDir, { withFileTypes: true, recursive: true }).flatMap((entry) => {
    const file = path.join(entry.parentPath, entry.name);
    const name = path.relative(dataDir, file);
    const found = entry.isFile() ? relationFileOf(name) : undefined;
    return found ? [{ file, name, ...found }] : [];
  });
}

describe('Page checksums', () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres();
    await server.psql('postgres', CONTENTS);
    await server.stop();
  });
  afterAll(() => server.remove());

  it('are those of PostgreSQL on every page of a cluster, the free space and visibility maps included', () => {
    const { output } = attempt(path.join(server.binDir, 'pg_checksums'), ['--check', '-D', server.dataDir]);
    expect(output).toMatch(/Bad checksums: +0/);
    const files = relationFiles(server.dataDir);
    let pages = 0;
    for (const { file, firstBlock } of files) {
      const bytes = readFileSync(file);
      pages += bytes.length / PAGE_SIZE;
      expect(unsoundPages(bytes, firstBlock)).toEqual([]);
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
    expect(unsoundPages(damaged, largest.firstBlock)).toEqual([0, 8, 11, 20]);
    writeFileSync(largest.file, damaged);
    try {
      const { output } = attempt(path.join(server.binDir, 'pg_checksums'), ['--check', '-D', server.dataDir]);
      expect(output).toMatch(/Bad checksums: +4/);
    } finally {
      writeFileSync(largest.file, sound);
    }
  });

  it('pass pages that were never used, and do not depend on where a page lies in memory', () => {
    expect(unsoundPages(Buffer.alloc(4 * PAGE_SIZE), 0)).toEqual([]);
    const { file, firstBlock } = relationFiles(server.dataDir).find(
      ({ file: name }) => readFileSync(name).length > 0,
    )!;
    const bytes = readFileSync(file);
    for (const shift of [1, 2, 3]) {
      const moved = Buffer.concat([Buffer.alloc(shift), bytes]).subarray(shift);
      expect(unsoundPages(moved, firstBlock)).toEqual([]);
    }
    expect(unsoundPages(bytes, firstBlock + 1).length).toBeGreaterThan(0);
  });

  it.each([
    ['base/5/16384', 0],
    ['base/5/16384.2', 262_144],
    ['base/5/16384_fsm.1', 131_072],
    ['global/1262', 0],
    ['global/1262_vm', 0],
    ['pg_tblspc/16400/PG_15_202209061/5/16401_init', 0],
    ['PG_18_202506291/5/16401', 0],
  ])('are looked for in %s', (name, firstBlock) => {
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
  ])('are not looked for in %s', (name) => {
    expect(relationFileOf(name)).toBeUndefined();
  });
});
