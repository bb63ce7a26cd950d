import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants, crc32, gzipSync, zstdCompressSync } from 'node:zlib';
import { encodeCrc32 } from '../../../lib/domain/crc32.ts';
import type { DumpInspection } from '../../../lib/domain/restore/inspection.ts';
import { openDumpFiles } from '../../../scripts/agent/data-path/archive-files.ts';
import { openLocalStore } from '../../../scripts/agent/host/local-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'lifeboat-archives-'));
const files = openDumpFiles(join(folder, 'backups'));
const never = new AbortController().signal;
afterAll(() => rmSync(folder, { recursive: true }));

const DUMP = `--
-- PostgreSQL database dump
--

\\restrict abcDEF

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;

--
-- Name: hstore; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;

--
-- Name: f(); Type: FUNCTION; Schema: public; Owner: app owner
--

CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $$ SELECT '
\\connect elsewhere
-- Name: x; Type: DATABASE; Schema: -; Owner: nobody
' $$;

--
-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: app
--

COPY public.t (a) FROM stdin;
1
-- PostgreSQL database dump complete
3
\\.

--
-- PostgreSQL database dump complete
--

\\unrestrict abcDEF

`;

function write(name: string, content: Buffer | string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function inspect(path: string): Promise<DumpInspection> {
  const dump = await files.open(path);
  try {
    return await dump.inspect(never, () => undefined);
  } finally {
    await dump.close();
  }
}

const zstd = (raw: Buffer | string): Buffer =>
  zstdCompressSync(raw, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });

describe('a dump without a manifest', () => {
  const half = Buffer.from(DUMP).subarray(0, 700);
  const rest = Buffer.from(DUMP).subarray(700);

  it.each<[string, Buffer | string]>([
    ['plain text', DUMP],
    ['one gzip member', gzipSync(DUMP)],
    ['gzip padded with zeros', Buffer.concat([gzipSync(DUMP), Buffer.alloc(512)])],
    ['several gzip members', Buffer.concat([gzipSync(half), gzipSync(rest)])],
    ['one zstd frame', zstd(DUMP)],
    ['several zstd frames', Buffer.concat([zstd(half), zstd(rest)])],
    ['zstd without checksums', zstdCompressSync(DUMP)],
    [
      'zstd after a skippable frame',
      Buffer.concat([Buffer.from('502a4d1803000000616263', 'hex'), zstd(DUMP)]),
    ],
  ])('is read whole from %s', async (name, content) => {
    const found = await inspect(write(`${name}.bin`, content));
    expect(found).toMatchObject({
      format: 'plain',
      rawSize: Buffer.byteLength(DUMP),
      serverVersion: '15.18 (Debian 15.18-0+deb12u1)',
      restricted: true,
      owners: ['app', 'app owner'],
      extensions: ['hstore'],
      tables: [{ schema: 'public', name: 't', rows: 3 }],
    });
  });

  it('is read from what the zstd tool wrote, with its many ways to write a frame', async () => {
    const raw = write(
      'big.sql',
      DUMP.replace('SET statement_timeout = 0;', `-- ${'filler '.repeat(300_000)}`),
    );
    const input = readFileSync(raw);
    for (const args of [
      ['-1'],
      ['-T2', '-B65536'],
      ['--no-check'],
      ['-19'],
      [`--stream-size=${input.length}`],
    ]) {
      const packed = execFileSync('zstd', ['-qc', ...args], { input, maxBuffer: 1 << 28 });
      expect((await inspect(write('tool.zst', packed))).rawSize).toBe(input.length);
    }
  });

  it.each<[string, Buffer, RegExp]>([
    ['no bytes at all', Buffer.alloc(0), /is empty \(0 bytes\)/],
    ['nothing in gzip', gzipSync(''), /holds nothing: 0 bytes after decompression/],
    ['a web page', gzipSync('<html>sign in</html>'), /no PostgreSQL dump: it begins with "<html>/],
    ['a MySQL dump', Buffer.from('-- MySQL dump 10.13\n'), /no PostgreSQL dump/],
    ['random bytes', Buffer.from('c0ffee00deadbeef', 'hex'), /no PostgreSQL dump/],
    [
      'a gzip that is cut short',
      gzipSync(DUMP).subarray(0, -30),
      /does not decompress: unexpected end of file/,
    ],
    ['a gzip with a flipped bit', flip(gzipSync(DUMP)), /does not decompress/],
    [
      'a gzip whose second member is damaged at its start',
      Buffer.concat([gzipSync(DUMP), flip(gzipSync(DUMP), 0)]),
      /does not decompress/,
    ],
    [
      'a gzip whose second half became zeros',
      Buffer.concat([gzipSync(half), Buffer.alloc(400)]),
      /is not complete/,
    ],
    ['a zstd that is cut short', zstd(DUMP).subarray(0, -30), /cut short/],
    ['a zstd with a flipped bit', flip(zstd(DUMP)), /does not decompress|damaged/],
    [
      'zstd and then something else',
      Buffer.concat([zstd(DUMP), Buffer.from('garbage')]),
      /no zstd frame begins at byte/,
    ],
    [
      'a dump that was cut short before it was compressed',
      gzipSync(DUMP.slice(0, -120)),
      /is not complete: it does not end with/,
    ],
    ['a dump that ends within COPY data', gzipSync(DUMP.slice(0, DUMP.indexOf('\n3\n'))), /is not complete/],
    ['an archive that was cut short', Buffer.from('PGDMP\u0001'), /is not complete/],
  ])('is refused: %s', async (name, content, message) => {
    await expect(inspect(write(name.replaceAll(' ', '-'), content))).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringMatching(message) as string,
    });
  });

  it.each([
    [
      'pg_dump --create',
      DUMP.replace('Name: hstore; Type: EXTENSION', 'Name: shop; Type: DATABASE'),
      /pg_dump --create/,
    ],
    ['pg_dumpall', DUMP.replace('database dump\n', 'database cluster dump\n'), /whole cluster/],
    ['a hand', DUMP.replace('SET statement_timeout = 0;', '\\connect "other db"'), /\\\\connect/],
    ['a hand, in short', DUMP.replace('SET statement_timeout = 0;', '\\c other'), /\\\\c other/],
  ])('is refused when it would leave its database by itself: made by %s', async (_, text, message) => {
    await expect(inspect(write('leaves.sql', text))).rejects.toMatchObject({
      code: 'RESTORE_REFUSED',
      message: expect.stringMatching(message) as string,
    });
  });
});

describe('a psql command in a dump without a manifest', () => {
  const START = 'SET statement_timeout = 0;';
  it.each([
    ['a shell command', START, '\\! touch x', '\\! touch x'],
    ['a variable', START, '\\set ON_ERROR_STOP off', '\\set'],
    ['a command within a statement', START, 'SELECT 1 \\g |sh', '\\g |sh'],
    ['a second command on a line', '\\restrict abcDEF', '\\restrict abc \\! touch x', 'touch x'],
    ['a command after COPY’s semicolon', 'stdin;', 'stdin; \\! touch x', '\\! touch x'],
    ['a command after data that a CR ends', '\n3\n', '\n\\.\r\n\\! touch x\n', '\\! touch x'],
  ])('is refused by name: %s', async (_, found, replacement, named) => {
    const text = DUMP.replace(found, () => replacement);
    expect(text).not.toBe(DUMP);
    await expect(inspect(write('command.sql', text))).rejects.toMatchObject({
      code: 'RESTORE_REFUSED',
      message: expect.stringContaining(JSON.stringify(named).slice(1, -1)) as string,
    });
  });

  it('is none where a string, a quoted name or a value only looks like one', async () => {
    const text = DUMP.replace(
      'SET statement_timeout = 0;',
      () => `SELECT '\\! x' AS "\\! y", E'\\\\';`,
    ).replace('\n3\n', () => '\n\\\\! x\n\\N\n\\.x\n');
    expect((await inspect(write('innocent.sql', text))).tables).toEqual([
      { schema: 'public', name: 't', rows: 5 },
    ]);
  });
});

function flip(bytes: Buffer, position = bytes.length >> 1): Buffer {
  const copy = Buffer.from(bytes);
  copy[position]! ^= 1;
  return copy;
}

describe('files', () => {
  it('are found by path, and by bare name in BACKUP_DIR too', async () => {
    mkdirSync(join(folder, 'backups'), { recursive: true });
    write('backups/b.sql.gz', 'x');
    expect(await files.find('b.sql.gz')).toEqual({ path: join(folder, 'backups/b.sql.gz'), size: 1 });
    expect(await files.find(join(folder, 'backups/b.sql.gz'))).toMatchObject({ size: 1 });
    expect(await files.find('nowhere.sql.gz')).toBeUndefined();
    await expect(files.find(folder)).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringContaining('is no file') as string,
    });
  });

  it('are hashed whole, also when longer than one read', async () => {
    const content = Buffer.alloc(9 * 1024 * 1024 + 5, 'abc');
    const dump = await files.open(write('long', content));
    const sha256 = execFileSync('sha256sum', [join(folder, 'long')])
      .toString()
      .slice(0, 64);
    expect(await dump.hash(never)).toEqual({ sha256, crc32: encodeCrc32(crc32(content)) });
    await dump.close();
  });

  it('stop being hashed when the run is interrupted', async () => {
    const dump = await files.open(write('short', 'abc'));
    const stopped = AbortSignal.abort(new Error('Ctrl-C'));
    await expect(dump.hash(stopped)).rejects.toThrow('Ctrl-C');
    await dump.close();
  });
});

describe('download', () => {
  const target = 'sh/op ..';
  const content = Buffer.alloc(33 * 1024 * 1024 + 7, 'download me ');
  const store = openLocalStore(join(folder, 'store'));
  const request = {
    store,
    key: 'x.sql.gz',
    size: content.length,
    target,
    interrupted: never,
    onProgress: () => undefined,
  };

  beforeAll(() => {
    for (let index = 0; index < content.length - 4; index += 4096) content.writeUInt32LE(index, index);
    mkdirSync(join(folder, 'store'));
    writeFileSync(join(folder, 'store/x.sql.gz'), content);
  });
  afterEach(() => files.removeScratch(target));

  it('copies an object of several parts in order, for its owner alone, and hashes it on its way', async () => {
    const seen: number[] = [];
    const dump = await files.download({ ...request, onProgress: (bytes) => seen.push(bytes) });
    expect(readFileSync(dump.path).equals(content)).toBe(true);
    expect(statSync(dump.path).mode & 0o777).toBe(0o600);
    expect(dump.digest).toEqual(await dump.hash(never));
    expect(seen.at(-1)).toBe(content.length);
    await dump.close();
  });

  it('leaves a file that removeScratch takes away, and a later download of the same target needs', async () => {
    const dump = await files.download(request);
    await dump.close();
    await expect(files.download(request)).rejects.toMatchObject({ code: 'DISK_FAILED' });
    await files.removeScratch(target);
    expect(existsSync(dump.path)).toBe(false);
  });

  it('notices an object that is shorter than it was', async () => {
    await expect(files.download({ ...request, size: content.length + 5 })).rejects.toMatchObject({
      code: 'CORRUPT',
    });
  });

  it('stops when the run is interrupted', async () => {
    const stopped = AbortSignal.abort(new Error('Ctrl-C'));
    await expect(files.download({ ...request, interrupted: stopped })).rejects.toThrow('Ctrl-C');
  });
});
