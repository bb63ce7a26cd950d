import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { encodeCrc32 } from '../../lib/domain/crc32.ts';
import type { ObjectStore, StoredObject, WriteOptions } from '../../scripts/agent/ports/store.ts';

/** What a store can do beyond the promises of scripts/agent/ports/store.ts; each case that needs one says so by name. */
export interface StoreCapabilities {
  /** Keeps user metadata, storage class and content type. */
  readonly keepsMetadata: boolean;
  /** `head` tells the checksum of the whole object. */
  readonly reportsChecksums: boolean;
  /** `head` tells the encryption at rest. */
  readonly reportsEncryption: boolean;
  readonly keepsTags: boolean;
  /** Completing an upload is one indivisible "store unless something is there". */
  readonly completesConditionally: boolean;
}

export interface OpenedStore {
  readonly store: ObjectStore;
  close(): Promise<void>;
}

const MIB = 1024 * 1024;
const METADATA = { 'lifeboat-run-id': 'run-1', 'lifeboat-app': 'hostmaster' };

/** One suite for every store: @param open makes an empty one. */
export function describeObjectStore(
  name: string,
  open: () => Promise<OpenedStore>,
  capabilities: StoreCapabilities,
): void {
  describe(`${name} as an object store`, () => {
    let opened: OpenedStore;
    let store: ObjectStore;

    beforeAll(async () => {
      opened = await open();
      store = opened.store;
    });

    afterAll(async () => {
      await opened?.close();
    });

    describe('reading and listing', () => {
      it('lists nothing where nothing was written, and passes its check', async () => {
        expect(await keysOf(store, 'never_db_')).toEqual([]);
        await store.check({ writable: false });
      });

      it('passes the check for writing and leaves nothing behind', async () => {
        await store.check({ writable: true });
        expect(await keysOf(store, '')).toEqual([]);
      });

      it('tells that an object is not there', async () => {
        expect(await store.head('absent_db_1.sql.gz')).toBeUndefined();
        await expect(store.read('absent_db_1.sql.gz')).rejects.toMatchObject({ code: 'BACKUP_NOT_FOUND' });
        await expect(store.read('absent_db_1.sql.gz', { offset: 0, length: 4 })).rejects.toMatchObject({
          code: 'BACKUP_NOT_FOUND',
        });
      });

      it('lists what begins with the prefix, whole keys with their sizes', async () => {
        const before = Date.now() - 60_000;
        await store.putOnce('list_db_1.sql.gz', Buffer.from('one'));
        await store.putOnce('list_db_2.sql.gz', Buffer.from('second'));
        await store.putOnce('list_staging_db_1.sql.gz', Buffer.from('other series'));
        const listed = [];
        for await (const object of store.list('list_db_')) listed.push(object);
        listed.sort((a, b) => a.key.localeCompare(b.key));
        expect(listed).toMatchObject([
          { key: 'list_db_1.sql.gz', size: 3 },
          { key: 'list_db_2.sql.gz', size: 6 },
        ]);
        for (const { modifiedAt } of listed) {
          expect(modifiedAt.getTime()).toBeGreaterThan(before);
          expect(modifiedAt.getTime()).toBeLessThan(Date.now() + 60_000);
        }
      });

      it('reads any range, and names what ends too early', async () => {
        const body = randomBytes(100_000);
        await store.putOnce('range_db_1.sql.gz', body);
        const read = (offset: number, length: number) => store.read('range_db_1.sql.gz', { offset, length });
        expect((await store.read('range_db_1.sql.gz')).equals(body)).toBe(true);
        expect((await read(0, 1)).equals(body.subarray(0, 1))).toBe(true);
        expect((await read(4096, 50_000)).equals(body.subarray(4096, 54_096))).toBe(true);
        expect((await read(99_999, 1)).equals(body.subarray(99_999))).toBe(true);
        expect(await read(500, 0)).toHaveLength(0);
        await expect(read(99_999, 2)).rejects.toMatchObject({ code: 'CORRUPT' });
        await expect(read(200_000, 10)).rejects.toMatchObject({ code: 'CORRUPT' });
      });

      it('keeps keys with awkward characters apart', async () => {
        const keys = [
          'odd_db_ space.gz',
          'odd_db_%20.gz',
          'odd_db_+plus.gz',
          'odd_db_&<>"\'.gz',
          'odd_db_$(touch x).gz',
          'odd_db_ü東🚣.gz',
          'odd_db_a=b;c?d#e.gz',
        ];
        for (const key of keys) await store.putOnce(key, Buffer.from(key));
        expect(await keysOf(store, 'odd_db_')).toEqual(keys.toSorted());
        for (const key of keys) {
          expect((await store.read(key)).toString()).toBe(key);
          expect(await store.head(key)).toMatchObject({ key, size: Buffer.byteLength(key) });
        }
      });

      it('keeps keys with folders, and tells the folders without what lies in them', async () => {
        const keys = [
          'tree/one/base/a/1.zst',
          'tree/one/base/a/2.zst',
          'tree/one/wal/1.zst',
          'tree/two/x.zst',
          'tree/z',
        ];
        for (const key of keys) await store.putOnce(key, Buffer.from(key));
        expect(await keysOf(store, 'tree/')).toEqual(keys);
        expect(await keysOf(store, 'tree/one/base/')).toEqual(keys.slice(0, 2));
        expect(await keysOf(store, 'tree/o')).toEqual(keys.slice(0, 3));
        expect(await keysOf(store, 'tree/none/')).toEqual([]);
        expect((await store.read('tree/one/wal/1.zst')).toString()).toBe('tree/one/wal/1.zst');
        const foldersOf = async (prefix: string) => {
          const names: string[] = [];
          for await (const name of store.folders(prefix)) names.push(name);
          return names.toSorted();
        };
        expect(await foldersOf('tree/')).toEqual(['one', 'two']);
        expect(await foldersOf('tree/one/')).toEqual(['base', 'wal']);
        expect(await foldersOf('tree/two/')).toEqual([]);
        expect(await foldersOf('tree/none/')).toEqual([]);
        for (const key of keys) await store.remove(key);
        expect(await keysOf(store, 'tree/')).toEqual([]);
        expect(await foldersOf('tree/')).toEqual([]);
      });

      it.each(['..', '../outside', 'a/../../outside', '', '/absolute'])(
        'refuses the key %j, which would lead out of it',
        async (key) => {
          const body = Buffer.from('x');
          await expect(store.putOnce(key, body)).rejects.toMatchObject({ code: 'USAGE' });
          await expect(store.startUpload(key)).rejects.toMatchObject({ code: 'USAGE' });
          await expect(store.read(key)).rejects.toMatchObject({ code: 'USAGE' });
          await expect(store.head(key)).rejects.toMatchObject({ code: 'USAGE' });
          await expect(store.remove(key)).rejects.toMatchObject({ code: 'USAGE' });
        },
      );
    });

    describe('writing once', () => {
      it('returns what it stored', async () => {
        const body = randomBytes(1000);
        const stored = await store.putOnce('stored_db_1.manifest.json', body, {
          metadata: METADATA,
          contentType: 'application/json',
        });
        expect(stored).toMatchObject({ key: 'stored_db_1.manifest.json', size: 1000 });
        expect(await store.head('stored_db_1.manifest.json')).toMatchObject({ size: 1000 });
      });

      it('takes an empty object', async () => {
        await store.putOnce('empty_db_1.gz', Buffer.alloc(0));
        expect(await store.head('empty_db_1.gz')).toMatchObject({ size: 0 });
        expect(await store.read('empty_db_1.gz')).toHaveLength(0);
      });

      it('takes the same object again, as after a lost answer', async () => {
        const body = Buffer.from('the same');
        await store.putOnce('again_db_1.gz', body, { metadata: METADATA });
        expect(await store.putOnce('again_db_1.gz', body, { metadata: METADATA })).toMatchObject({ size: 8 });
      });

      it.each([
        ['of another size', 'longer than the first'],
        ['of the same size', 'the Same'],
      ])('refuses another object %s under the key, and keeps the first', async (_case, other) => {
        const key = `refused_db_${other.length}.gz`;
        await store.putOnce(key, Buffer.from('the same'));
        const refused = store.putOnce(key, Buffer.from(other));
        await expect(refused).rejects.toMatchObject({ code: 'OBJECT_EXISTS' });
        await expect(refused).rejects.toThrow(key);
        expect((await store.read(key)).toString()).toBe('the same');
      });

      it('lets one of two writers at once win, and tells the other', async () => {
        const bodies = [randomBytes(5000), randomBytes(5000)];
        const ends = await Promise.allSettled(bodies.map((body) => store.putOnce('race_db_1.gz', body)));
        const won = ends.findIndex(({ status }) => status === 'fulfilled');
        expect(ends.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
        expect(ends.find(({ status }) => status === 'rejected')).toMatchObject({
          reason: { code: 'OBJECT_EXISTS' },
        });
        expect((await store.read('race_db_1.gz')).equals(bodies[won] as Buffer)).toBe(true);
      });
    });

    describe('uploading', () => {
      it.each([
        ['nothing', 0],
        ['one byte', 1],
        ['less than one part', 8 * MIB - 1],
        ['exactly one part', 8 * MIB],
        ['one byte more than a part', 8 * MIB + 1],
        ['several parts', 29 * MIB + 12_345],
      ])('stores %s, whole, in odd chunks from one reused buffer', async (_case, size) => {
        const key = `upload_db_${size}.sql.gz`;
        const body = randomBytes(size);
        const stored = await upload(store, key, body);
        expect(stored).toMatchObject({ key, size });
        expect((await store.read(key)).equals(body)).toBe(true);
        expect(await store.head(key)).toMatchObject({ size });
      });

      it('shows nothing under the key until it is complete', async () => {
        const body = randomBytes(9 * MIB);
        const started = await store.startUpload('hidden_db_1.sql.gz');
        await started.write(body);
        expect(await store.head('hidden_db_1.sql.gz')).toBeUndefined();
        expect(await keysOf(store, 'hidden_db_')).not.toContain('hidden_db_1.sql.gz');
        await started.complete(reckon(body));
        expect(await keysOf(store, 'hidden_db_')).toEqual(['hidden_db_1.sql.gz']);
      });

      it.each([
        ['small', 1000],
        ['large', 17 * MIB],
      ])('refuses to complete a %s one that the caller reckons otherwise', async (name, size) => {
        const body = randomBytes(size);
        const key = `differs_db_${name}.sql.gz`;
        for (const wrong of [{ size: size + 1 }, { crc32: reckon(randomBytes(8)).crc32 }]) {
          const started = await store.startUpload(key);
          await started.write(body);
          await expect(started.complete({ ...reckon(body), ...wrong })).rejects.toMatchObject({
            code: 'CORRUPT',
          });
          await started.abort();
          expect(await keysOf(store, `differs_db_${name}`)).toEqual([]);
        }
      });

      it('leaves nothing behind when it is given up, at any point and twice', async () => {
        for (const size of [0, 100, 20 * MIB]) {
          const started = await store.startUpload('given_up_db_1.sql.gz');
          await started.write(randomBytes(size));
          await started.abort();
          await started.abort();
        }
        expect(await keysOf(store, 'given_up_db_')).toEqual([]);
        const body = randomBytes(10);
        await upload(store, 'given_up_db_1.sql.gz', body);
        expect((await store.read('given_up_db_1.sql.gz')).equals(body)).toBe(true);
      });

      it.each([
        ['small', 1000],
        ['large', 17 * MIB],
      ])('takes the same %s object again and refuses another one', async (name, size) => {
        const key = `twice_db_${name}.sql.gz`;
        const body = randomBytes(size);
        await upload(store, key, body, { metadata: METADATA });
        expect(await upload(store, key, body, { metadata: METADATA })).toMatchObject({ size });
        const other = Buffer.from(body);
        other[size - 1] = (other[size - 1] as number) ^ 1;
        await expect(upload(store, key, other)).rejects.toMatchObject({ code: 'OBJECT_EXISTS' });
        expect((await store.read(key)).equals(body)).toBe(true);
        expect(await keysOf(store, `twice_db_${name}`)).toEqual([key]);
      });
    });

    describe('tidying up', () => {
      it('removes an object, and is content when it is gone already', async () => {
        await store.putOnce('remove_db_1.gz', Buffer.from('x'));
        await store.remove('remove_db_1.gz');
        await store.remove('remove_db_1.gz');
        expect(await store.head('remove_db_1.gz')).toBeUndefined();
        expect(await keysOf(store, 'remove_db_')).toEqual([]);
      });

      it('clears the unfinished uploads of one prefix, and nothing else', async () => {
        await store.putOnce('killed_db_1.sql.gz', Buffer.from('finished'));
        const killed = await store.startUpload('killed_db_2.sql.gz');
        await killed.write(randomBytes(9 * MIB));
        const running = await store.startUpload('running_db_2.sql.gz');
        const body = randomBytes(9 * MIB);
        await running.write(body);
        await store.removeUnfinished('killed_db_');
        expect(await keysOf(store, 'killed_db_')).toEqual(['killed_db_1.sql.gz']);
        await expect(killed.complete({ size: 1, crc32: 'x' })).rejects.toThrow();
        await killed.abort();
        await running.complete(reckon(body));
        const again = randomBytes(100);
        await upload(store, 'killed_db_2.sql.gz', again);
        expect((await store.read('killed_db_2.sql.gz')).equals(again)).toBe(true);
      });
    });

    const extra = <T>(wanted: boolean, cases: readonly T[]): readonly T[] => (wanted ? cases : []);

    for (const size of extra(capabilities.keepsMetadata, [100, 9 * MIB])) {
      it(`keeps metadata and storage class of ${size} bytes`, async () => {
        const key = `metadata_db_${size}.gz`;
        await upload(store, key, randomBytes(size), { metadata: METADATA });
        const storageClass = size < 128 * 1024 ? 'STANDARD' : 'STANDARD_IA';
        expect(await store.head(key)).toMatchObject({ metadata: METADATA, storageClass });
      });
    }

    for (const size of extra(capabilities.reportsChecksums, [0, 100, 8 * MIB, 17 * MIB])) {
      it(`tells the checksum of the whole object for ${size} bytes`, async () => {
        const key = `checksum_db_${size}.gz`;
        const body = randomBytes(size);
        expect(await upload(store, key, body)).toMatchObject(reckon(body));
        expect(await store.head(key)).toMatchObject(reckon(body));
      });
    }

    for (const size of extra(capabilities.reportsEncryption, [100, 9 * MIB])) {
      it(`tells that ${size} bytes are encrypted`, async () => {
        const key = `encrypted_db_${size}.gz`;
        expect(await upload(store, key, randomBytes(size))).toMatchObject({ encryption: 'AES256' });
      });
    }

    for (const key of extra(capabilities.completesConditionally, ['both_db_1.sql.gz'])) {
      it('lets one of two uploads that complete at once win, and tells the other', async () => {
        const bodies = [randomBytes(9 * MIB), randomBytes(9 * MIB)];
        const ends = await Promise.allSettled(bodies.map((body) => upload(store, key, body)));
        const won = ends.findIndex(({ status }) => status === 'fulfilled');
        expect(ends.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
        expect(ends[1 - won]).toMatchObject({ reason: { code: 'OBJECT_EXISTS' } });
        expect((await store.read(key)).equals(bodies[won] as Buffer)).toBe(true);
      });
    }

    for (const key of extra(capabilities.keepsTags, ['tagged_db_1.gz'])) {
      it('sets and replaces tags', async () => {
        await store.putOnce(key, Buffer.from('x'));
        expect(await store.tags(key)).toEqual({});
        await store.setTags(key, { lifeboat: 'expirable', note: 'a b' });
        expect(await store.tags(key)).toEqual({ lifeboat: 'expirable', note: 'a b' });
        await store.setTags(key, { 'lifeboat-pin': 'yes' });
        expect(await store.tags(key)).toEqual({ 'lifeboat-pin': 'yes' });
      });
    }
  });
}

export async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys.filter((key) => !key.endsWith('.partial')).toSorted();
}

export function reckon(body: Buffer): { size: number; crc32: string } {
  return { size: body.length, crc32: encodeCrc32(crc32(body)) };
}

/** Writes `body` through one small buffer that is overwritten as soon as the store says that it may be. */
export async function upload(
  store: ObjectStore,
  key: string,
  body: Buffer,
  options: WriteOptions = {},
): Promise<StoredObject> {
  const started = await store.startUpload(key, options);
  try {
    const reused = Buffer.alloc(777_777);
    for (let offset = 0; offset < body.length; offset += reused.length) {
      const length = body.copy(reused, 0, offset);
      await started.write(reused.subarray(0, length));
      reused.fill(0xee);
    }
    return await started.complete(reckon(body));
  } catch (error) {
    await started.abort();
    throw error;
  }
}
