import {
  appendFileSync,
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  walkFolder,
  type FileMember,
  type Member,
} from '../../../scripts/agent/cluster-files/cluster-walk.ts';
import {
  isWhole,
  readControlFile,
  requireOwnCheckpoint,
} from '../../../scripts/agent/cluster-files/control-file.ts';
import { FileReads, type Chunk } from '../../../scripts/agent/cluster-files/file-reads.ts';
import { Folder } from '../../../scripts/agent/cluster-files/folder.ts';
import { PageCheck } from '../../../scripts/agent/cluster-files/page-check.ts';
import { requireStillThere, walkWal } from '../../../scripts/agent/cluster-files/wal-walk.ts';
import { CRC32C_START, finishCrc32c, updateCrc32c } from '../../../scripts/agent/data-path/wal/crc32c.ts';

const RULES = { elsewhere: new Set<string>(), emptied: undefined, summaries: false };
const PAGE = 8192;
const MIB = 1024 * 1024;

let place: string;
let root: Folder;
let reads: FileReads;

beforeEach(() => {
  place = mkdtempSync(path.join(tmpdir(), 'lifeboat-files-'));
  root = Folder.at(place);
  reads = new FileReads();
});

afterEach(async () => {
  await reads.close();
  root.close();
  rmSync(place, { recursive: true });
});

const at = (...names: string[]): string => path.join(place, ...names);

function noiseOf(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size);
  let state = seed;
  for (let index = 0; index + 4 <= size; index += 4) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes.writeUInt32LE(state, index);
  }
  return bytes;
}

/** Contents as they would be sent, by name. @param meanwhile is called behind the first piece */
async function readAll(
  walk: Iterator<Member>,
  meanwhile = (): void => undefined,
): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  reads.begin(walk);
  let isFirst = true;
  for (let member = reads.nextMember(); member; member = reads.nextMember()) {
    if (member.kind !== 'file') continue;
    const pieces: Buffer[] = [];
    // Looked at only when the next one was asked for: as long as they are promised to last.
    let last: Chunk | undefined;
    const keep = (): unknown => last && pieces.push(Buffer.from(last.bytes));
    for (let chunk = await reads.nextChunk(); chunk; chunk = await reads.nextChunk()) {
      keep();
      last = chunk;
      if (isFirst) meanwhile();
      isFirst = false;
    }
    keep();
    found.set(member.name, Buffer.concat(pieces));
  }
  return found;
}

describe('Files that are read while others write', () => {
  it('come out as they are, whatever their size', async () => {
    const sizes = [0, 1, 511, PAGE, 64 * 1024, 64 * 1024 + 1, 512 * 1024, 3 * MIB + 7, 9 * MIB];
    const contents = new Map(
      sizes.map((size, index) => [`f${index}`, noiseOf(size + 4, index).subarray(0, size)]),
    );
    for (const [name, bytes] of contents) writeFileSync(at(name), bytes);
    const found = await readAll(walkFolder(root, '', RULES));
    expect([...found.keys()]).toEqual([...contents.keys()]);
    for (const [name, bytes] of contents)
      expect([name, found.get(name)!.equals(bytes)]).toEqual([name, true]);
  });

  it('have the length that they had when they were opened: zeros where one was cut off, nothing of what it grew', async () => {
    writeFileSync(at('a'), noiseOf(12 * MIB, 1));
    writeFileSync(at('b'), noiseOf(12 * MIB, 2));
    const found = await readAll(walkFolder(root, '', RULES), () => {
      truncateSync(at('a'), 10 * MIB + 100);
    });
    expect(found.get('a')!.length).toBe(12 * MIB);
    expect(
      found
        .get('a')!
        .subarray(0, 10 * MIB + 100)
        .equals(noiseOf(10 * MIB + 100, 1)),
    ).toBe(true);
    expect(
      found
        .get('a')!
        .subarray(10 * MIB + 100)
        .equals(Buffer.alloc(2 * MIB - 100)),
    ).toBe(true);
    rmSync(at('a'));
    const grown = await readAll(walkFolder(root, '', RULES), () => appendFileSync(at('b'), 'grown'));
    expect(grown.get('b')!.equals(noiseOf(12 * MIB, 2))).toBe(true);
  });

  it('may vanish, and folders too, before they are opened', () => {
    for (const name of ['base/1/1', 'base/1/2', 'base/2/1', 'base/3/1']) {
      mkdirSync(path.dirname(at(name)), { recursive: true });
      writeFileSync(at(name), 'x');
    }
    const names: string[] = [];
    const opened: FileMember[] = [];
    for (const member of walkFolder(root, '', RULES)) {
      if (member.kind === 'file') opened.push(member);
      if ('name' in member) names.push(member.name);
      if ('name' in member && member.name === 'base/1/1') {
        rmSync(at('base/1/2'));
        rmSync(at('base/2'), { recursive: true });
      }
      // It was opened as a folder already.
      if ('name' in member && member.name === 'base/3') rmSync(at('base/3'), { recursive: true });
    }
    expect(names).toEqual(['base', 'base/1', 'base/1/1', 'base/3']);
    expect(opened).toHaveLength(1);
  });

  it('of an unlogged table are left out even where the table is made while its folder is read', () => {
    mkdirSync(at('base/5'), { recursive: true });
    for (const name of ['1', '2', '2_fsm', '2_init', '3.1']) writeFileSync(at('base/5', name), 'x');
    const names: string[] = [];
    for (const member of walkFolder(root, '', RULES)) {
      if (!('name' in member)) continue;
      names.push(member.name);
      if (member.name === 'base/5/1') writeFileSync(at('base/5/3_init'), 'x');
    }
    expect(names).toEqual(['base', 'base/5', 'base/5/1', 'base/5/2_init']);
  });

  it('are not followed elsewhere by a link', () => {
    mkdirSync(at('base'));
    writeFileSync(at('base/1'), 'x');
    const names: string[] = [];
    for (const member of walkFolder(root, '', RULES)) {
      if ('name' in member) names.push(member.name);
      if ('name' in member && member.name === 'base') renameSync(at('base'), at('moved'));
    }
    // Through the folder that was opened, whatever became of its name.
    expect(names).toEqual(['base', 'base/1']);
  });
});

describe('Pages that do not match', () => {
  const relation = { firstBlock: 0 };
  /** Never used but for one word, which no checksum fits. */
  const damaged = (): Buffer => Buffer.alloc(PAGE, 0x11);

  async function checkFile(before: Buffer, after: Buffer): Promise<{ check: PageCheck; bytes: Buffer }> {
    writeFileSync(at('1'), before);
    const check = new PageCheck(0xffff_ffff_ffff_ffffn);
    reads.begin(walkFolder(root, '', RULES));
    const member = { ...(reads.nextMember() as FileMember), relation };
    const chunk = (await reads.nextChunk())!;
    writeFileSync(at('1'), after);
    await check.check(member, chunk);
    check.endFile(member);
    return { check, bytes: chunk.bytes };
  }

  it('are read again, and taken from there where they do', async () => {
    const sound = Buffer.alloc(4 * PAGE);
    const torn = Buffer.concat([sound.subarray(0, PAGE), damaged(), sound.subarray(0, 2 * PAGE)]);
    const { check, bytes } = await checkFile(torn, sound);
    expect(check).toMatchObject({ failures: 0, warnings: [] });
    expect(bytes.equals(sound)).toBe(true);
  });

  it('count where they stay so, and the backup holds them', async () => {
    const file = Buffer.concat([Buffer.alloc(PAGE), damaged(), damaged(), Buffer.alloc(PAGE)]);
    const { check, bytes } = await checkFile(file, file);
    expect(check.failures).toBe(2);
    expect(check.warnings).toEqual([
      'checksum verification failed in file "./1", block 1',
      'checksum verification failed in file "./1", block 2',
      'file "./1" has a total of 2 checksum verification failures',
    ]);
    expect(bytes.equals(file)).toBe(true);
  });

  it('are none where the file was cut off meanwhile', async () => {
    const { check, bytes } = await checkFile(
      Buffer.concat([Buffer.alloc(PAGE), damaged()]),
      Buffer.alloc(PAGE),
    );
    expect(check).toMatchObject({ failures: 0, warnings: [] });
    expect(bytes.equals(Buffer.alloc(2 * PAGE))).toBe(true);
  });

  it('cannot be told in a file that ends within one', async () => {
    const file = Buffer.concat([Buffer.alloc(PAGE), Buffer.from('part of a page')]);
    const { check } = await checkFile(file, file);
    expect(check.failures).toBe(0);
    expect(check.warnings).toEqual([
      'could not verify checksum in file "./1", block 1: read buffer size 14 and page size 8192 differ',
    ]);
  });
});

describe('pg_control', () => {
  function control(): Buffer {
    const bytes = Buffer.alloc(PAGE);
    noiseOf(288, 7).copy(bytes);
    bytes.writeUInt32LE(finishCrc32c(updateCrc32c(CRC32C_START, bytes, 0, 288)), 288);
    return bytes;
  }

  it('is whole when its own checksum says so', () => {
    const bytes = control();
    expect(isWhole(bytes)).toBe(true);
    for (const offset of [0, 100, 287, 288]) {
      const torn = Buffer.from(bytes);
      torn[offset]! ^= 1;
      expect(isWhole(torn)).toBe(false);
    }
    expect(isWhole(bytes.subarray(0, 4096))).toBe(false);
  });

  it('is read again until it is', async () => {
    mkdirSync(at('global'));
    const whole = control();
    const torn = Buffer.from(whole);
    torn[5]! ^= 1;
    writeFileSync(at('global/pg_control'), torn);
    const reading = readControlFile(root);
    writeFileSync(at('global/pg_control'), whole);
    expect((await reading).bytes.equals(whole)).toBe(true);
  });

  it('is another folder’s when its checkpoint is older than that of the backup', async () => {
    mkdirSync(at('global'));
    const bytes = control();
    bytes.writeBigUInt64LE(0x5000028n, 40);
    bytes.writeUInt32LE(finishCrc32c(updateCrc32c(CRC32C_START, bytes, 0, 288)), 288);
    writeFileSync(at('global/pg_control'), bytes);
    const found = await readControlFile(root);
    requireOwnCheckpoint(found, 0x5000028n, '/data/');
    expect(() => requireOwnCheckpoint(found, 0x5000060n, '/data/')).toThrow(
      '/data/ is not the folder that the server works in: its last checkpoint began at 0/5000028, that of this backup at 0/5000060',
    );
  });
});

describe('A file of another user', () => {
  it('is read where PostgreSQL’s user could read it under this name, and refused otherwise', () => {
    const others = new Folder({ fd: root.fd, stat: root.stat }, root.path, root.stat.uid + 1);
    const openWith = (mode: number, names: number): unknown => {
      writeFileSync(at('kept'), 'kept');
      chmodSync(at('kept'), mode);
      if (names > 1) linkSync(at('kept'), at('second'));
      try {
        const found = others.open('kept');
        if (typeof found !== 'string') closeSync(found.fd);
        return 'read';
      } finally {
        for (const name of ['kept', 'second']) rmSync(at(name), { force: true });
      }
    };
    expect(openWith(0o640, 1)).toBe('read');
    expect(openWith(0o644, 2)).toBe('read');
    expect(() => openWith(0o600, 1)).toThrow('not for it to read');
    expect(() => openWith(0o640, 2)).toThrow('not for it to read');
  });
});

describe('WAL of a backup', () => {
  const span = { start: 0x1000028n, end: 0x3000100n, timeline: 1, segmentSize: MIB, systemIdentifier: '1' };
  const segment = (number: number): string =>
    `0000000100000000${number.toString(16).toUpperCase().padStart(8, '0')}`;

  beforeEach(() => {
    for (let number = 14; number <= 60; number += 1) writeFileSync(at(segment(number)), Buffer.alloc(MIB));
    writeFileSync(at('00000002.history'), 'x');
    writeFileSync(at(`${segment(20)}.partial`), 'x');
  });

  it('goes from the segment of its start to that of its end, oldest first, and the histories', () => {
    const names: string[] = [];
    reads.begin(walkWal(root, span));
    for (let member = reads.nextMember(); member; member = reads.nextMember())
      names.push((member as FileMember).name);
    const needed = Array.from({ length: 33 }, (_, index) => `pg_wal/${segment(16 + index)}`);
    expect(names).toEqual([...needed, 'pg_wal/00000002.history']);
    expect(readdirSync('/proc/self/fd').length).toBeLessThan(200);
  });

  it('is incomplete where a segment is missing, is of another length, or goes while it is read', () => {
    const [member] = walkWal(root, span);
    requireStillThere(root, member!, span);
    renameSync(at(segment(16)), at(segment(90)));
    expect(() => requireStillThere(root, member!, span)).toThrow('removed while it was read');
    expect(() => [...walkWal(root, span)]).toThrow(`no segment …${segment(16).slice(8)}`);
    writeFileSync(at(segment(16)), 'short');
    expect(() => [...walkWal(root, span)]).toThrow('has 5 bytes');
  });
});
