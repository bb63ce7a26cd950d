import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { UnpackedFile } from '../../../../scripts/agent/data-path/tar/unpacked-file.ts';
import { useFolder } from './tar-fixture.ts';

const MIB = 1024 * 1024;
/** ext2 to ext4, XFS, Btrfs: they write past the cache. https://man7.org/linux/man-pages/man2/statfs.2.html */
const WRITE_PAST_CACHE: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e]);
/** Larger than what goes past the cache at least, and ends within a block. */
const CONTENT = randomBytes(9 * MIB + 777);

type Write = (bytes: Buffer, offset: number, length: number, position: number) => Promise<unknown>;
/** @returns what is done instead; `undefined`: what was asked */
type Instead = (bytes: Buffer, position: number) => Promise<unknown> | undefined;

describe('A file that is unpacked', () => {
  const folder = useFolder();
  let prototype: { write: Write };

  beforeAll(async () => {
    mkdirSync(folder(), { recursive: true });
    const probe = await open(folder(), 'r');
    prototype = Object.getPrototypeOf(probe) as { write: Write };
    await probe.close();
  });
  afterEach(() => jest.restoreAllMocks());

  interface Begun {
    readonly file: UnpackedFile;
    readonly cached: FileHandle;
  }

  async function create(name: string): Promise<Begun> {
    const cached = await open(folder(name), 'wx');
    return { cached, file: await UnpackedFile.over(cached, CONTENT.length) };
  }

  /** In turns, by pieces of sizes that fit nothing. */
  async function writeStretches(file: UnpackedFile, begins: readonly number[]): Promise<void> {
    const work = begins.map(async (begin, index) => {
      const writer = file.stretchAt(begin);
      const end = begins[index + 1] ?? CONTENT.length;
      for (let at = begin, size = 1; at < end; at += size, size = (size * 7) % 600_011) {
        const piece = Buffer.from(CONTENT.subarray(at, Math.min(end, at + size)));
        await writer.write(piece);
        piece.fill(0xee);
      }
      await writer.flush();
    });
    await Promise.all(work);
  }

  const isWhole = (name: string): boolean => readFileSync(folder(name)).equals(CONTENT);

  /** Has what is written past the cache done otherwise. @returns how often that was asked for */
  function replaceDirect({ cached }: Begun, instead: Instead): () => number {
    const real = prototype.write;
    let calls = 0;
    jest.spyOn(prototype, 'write').mockImplementation(async function (this: unknown, ...args) {
      const [bytes, offset, length, position] = args;
      if (this === cached) return await real.apply(this, args);
      calls += 1;
      const given = bytes.subarray(offset, offset + length);
      return await (instead(given, position) ?? real.apply(this, args));
    });
    return () => calls;
  }

  it.each([
    ['one stretch', [0]],
    ['stretches at the borders of blocks', [0, 4 * MIB, 4 * MIB + 4096]],
    ['stretches that share blocks', [0, 512, 3 * MIB - 512, 3 * MIB + 511, 8 * MIB + 4095]],
  ])('has every byte at its place after %s at once', async (name, begins) => {
    const { file } = await create(name);
    await writeStretches(file, begins);
    await file.sync();
    await file.close();
    expect(isWhole(name)).toBe(true);
  });

  it('takes more behind a flush', async () => {
    const { file } = await create('flushed');
    const writer = file.stretchAt(0);
    const ends = [0, 5000, 5001, 3 * MIB, 3 * MIB, CONTENT.length];
    for (const [index, end] of ends.entries()) {
      await writer.write(CONTENT.subarray(ends[index - 1] ?? 0, end));
      await writer.flush();
    }
    await file.close();
    expect(isWhole('flushed')).toBe(true);
  });

  it('is written in whole blocks and leaves next to nothing in the kernel’s cache where it is large', async () => {
    const begun = await create('large');
    const { file } = begun;
    const { isDirect } = file;
    const asked: number[] = [];
    replaceDirect(begun, (bytes, position) => void asked.push(bytes.length, position));
    await writeStretches(file, [0, 5 * MIB + 5]);
    await file.sync();
    await file.close();
    expect(asked.filter((number) => number % 4096 !== 0)).toEqual([]);
    const args = ['--bytes', '--noheadings', '--output', 'RES', folder('large')];
    const resident = Number(execFileSync('fincore', args, { encoding: 'utf8' }));
    // One that lies in memory takes the flag too, and keeps the bytes.
    if (WRITE_PAST_CACHE.has(statfsSync(folder()).type)) {
      expect(isDirect).toBe(true);
      expect(resident).toBeLessThan(MIB);
    }
    expect(isWhole('large')).toBe(true);
  });

  it.each([
    ['small', (handle: FileHandle) => UnpackedFile.over(handle, MIB)],
    ['to be read again', (handle: FileHandle) => Promise.resolve(UnpackedFile.cached(handle))],
  ])('goes through the cache where it is %s', async (name, make) => {
    const cached = await open(folder(name), 'wx');
    const file = await make(cached);
    const direct = replaceDirect({ file, cached }, () => undefined);
    expect(file.isDirect).toBe(false);
    await writeStretches(file, [0, MIB + 1]);
    await file.close();
    expect(direct()).toBe(0);
    expect(isWhole(name)).toBe(true);
  });

  it.each(['EINVAL', 'EOPNOTSUPP'])(
    'goes on through the cache where its file system answers %s',
    async (code) => {
      const begun = await create(code);
      let calls = 0;
      const direct = replaceDirect(begun, () =>
        calls++ < 2 ? undefined : Promise.reject(Object.assign(new Error(code), { code })),
      );
      const before = begun.file.isDirect;
      await writeStretches(begun.file, [0]);
      expect(direct()).toBe(before ? 3 : 0);
      expect(begun.file.isDirect).toBe(false);
      await begun.file.close();
      expect(isWhole(code)).toBe(true);
    },
  );

  it.each([
    ['no', 0, false],
    ['little', 1, true],
  ])(
    'goes through the cache where there is %s memory that begins at a page',
    async (name, pools, isDirect) => {
      const realm = globalThis as unknown as { WebAssembly: { Memory: new (pages: object) => object } };
      const whole = realm.WebAssembly;
      let made = 0;
      const Memory = function (pages: object) {
        if (made++ >= pools) throw new RangeError('could not allocate memory');
        return new whole.Memory(pages);
      };
      await jest.isolateModulesAsync(async () => {
        const again = await import('../../../../scripts/agent/data-path/tar/unpacked-file.ts');
        realm.WebAssembly = { Memory: Memory as never };
        try {
          const file = await again.UnpackedFile.over(await open(folder(name), 'wx'), CONTENT.length);
          if (WRITE_PAST_CACHE.has(statfsSync(folder()).type)) expect(file.isDirect).toBe(isDirect);
          await writeStretches(
            file,
            Array.from({ length: 12 }, (_, index) => index * 700_001),
          );
          expect(made > pools).toBe(file.isDirect || !isDirect);
          await file.close();
        } finally {
          realm.WebAssembly = whole;
        }
      });
      expect(isWhole(name)).toBe(true);
    },
  );

  it('writes through the cache what the kernel left of a block', async () => {
    const begun = await create('short');
    replaceDirect(begun, (bytes, position) => {
      const part = bytes.subarray(0, 5000);
      return begun.cached.write(part, 0, part.length, position);
    });
    await writeStretches(begun.file, [0, 2 * MIB + 1]);
    await begun.file.close();
    expect(isWhole('short')).toBe(true);
  });

  it('tells of a disk that is full, or fails, and leaves nothing open', async () => {
    const before = readdirSync('/proc/self/fd').length;
    for (const code of ['ENOSPC', 'EIO']) {
      const begun = await create(code);
      const { isDirect } = begun.file;
      replaceDirect(begun, () => Promise.reject(Object.assign(new Error(code), { code })));
      const writing = writeStretches(begun.file, [0]);
      if (isDirect) await expect(writing).rejects.toMatchObject({ code });
      else await writing;
      await begun.file.close();
      jest.restoreAllMocks();
    }
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before);
  });
});
