import {
  chmod,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publishFile } from '../../../scripts/agent/host/durable-file.ts';
import { openLocalStore } from '../../../scripts/agent/host/local-store.ts';
import { LocalUpload } from '../../../scripts/agent/host/local-upload.ts';
import { reckon } from '../../contract/object-store.contract.ts';

describe('The local folder', () => {
  let root: string;
  let folder: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'lifeboat-local-'));
    folder = join(root, 'var', 'backups');
  });

  afterEach(async () => {
    await rm(root, { recursive: true });
  });

  const mode = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

  it('is made with its parents, for its owner alone, and so are its files', async () => {
    await openLocalStore(folder).putOnce('a_db_1.sql.gz', Buffer.from('x'));
    expect(await mode(folder)).toBe('700');
    expect(await mode(join(folder, 'a_db_1.sql.gz'))).toBe('600');
  });

  it('keeps the mode of a folder that was there', async () => {
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o750);
    await openLocalStore(folder).check({ writable: true });
    expect(await mode(folder)).toBe('750');
  });

  it('is an empty store, and is not made, while it is only looked at', async () => {
    const store = openLocalStore(folder);
    await store.check({ writable: false });
    for await (const object of store.list('')) throw new Error(`found ${object.key}`);
    await store.removeUnfinished('');
    await store.remove('a_db_1.sql.gz');
    expect(await readdir(root)).toEqual([]);
  });

  it('writes beside, under a name that is no backup', async () => {
    const store = openLocalStore(folder);
    const upload = await store.startUpload('a_db_1.sql.gz');
    await upload.write(Buffer.from('half'));
    expect(await readdir(folder)).toEqual(['a_db_1.sql.gz.partial']);
    expect(await mode(join(folder, 'a_db_1.sql.gz.partial'))).toBe('600');
    await upload.complete(reckon(Buffer.from('half')));
    expect(await readdir(folder)).toEqual(['a_db_1.sql.gz']);
  });

  it('lists what a killed run left, so that it can be told apart and cleared', async () => {
    const store = openLocalStore(folder);
    const killed = await store.startUpload('a_db_1.sql.gz');
    await killed.write(Buffer.from('half'));
    await writeFile(join(folder, 'a_db_0.sql.gz'), 'whole');
    const keys = [];
    for await (const { key } of store.list('a_db_')) keys.push(key);
    expect(keys.toSorted()).toEqual(['a_db_0.sql.gz', 'a_db_1.sql.gz.partial']);
    await store.removeUnfinished('a_db_');
    expect(await readdir(folder)).toEqual(['a_db_0.sql.gz']);
    await killed.abort();
  });

  it('makes folders below itself for their first file, for its owner alone, and removes them with the last', async () => {
    const store = openLocalStore(folder);
    const upload = await store.startUpload('pitr/a/base/1.zst');
    await upload.write(Buffer.from('x'));
    expect(await mode(join(folder, 'pitr', 'a'))).toBe('700');
    await upload.complete(reckon(Buffer.from('x')));
    const killed = await store.startUpload('pitr/a/base/2.zst');
    await store.remove('pitr/a/base/1.zst');
    expect(await readdir(join(folder, 'pitr', 'a', 'base'))).toEqual(['2.zst.partial']);
    const asked: string[] = [];
    await store.removeUnfinished('pitr/a/', (key) => asked.push(key) > 0);
    expect(asked).toEqual(['pitr/a/base/2.zst']);
    expect(await readdir(folder)).toEqual([]);
    await killed.abort();
  });

  it('refuses to write where another run is writing', async () => {
    const store = openLocalStore(folder);
    const first = await store.startUpload('a_db_1.sql.gz');
    await expect(store.startUpload('a_db_1.sql.gz')).rejects.toMatchObject({ code: 'OBJECT_EXISTS' });
    await first.write(Buffer.from('x'));
    await first.complete(reckon(Buffer.from('x')));
  });

  it('never follows or lists what is no plain file', async () => {
    const store = openLocalStore(folder);
    await mkdir(join(folder, 'a_db_folder'), { recursive: true });
    await writeFile(join(root, 'elsewhere'), 'secret');
    await symlink(join(root, 'elsewhere'), join(folder, 'a_db_link'));
    for await (const object of store.list('')) throw new Error(`found ${object.key}`);
    expect(await store.head('a_db_link')).toBeUndefined();
    await expect(store.putOnce('a_db_link', Buffer.from('x'))).rejects.toMatchObject({
      code: 'OBJECT_EXISTS',
    });
    expect(await readFile(join(root, 'elsewhere'), 'utf8')).toBe('secret');
  });

  it('says that the disk is full, and leaves nothing', async () => {
    const partial = join(root, 'a.partial');
    await symlink('/dev/full', partial);
    const upload = new LocalUpload(join(root, 'a'), partial, await open(partial, 'w'), () => {
      throw new Error('never stored');
    });
    await expect(upload.write(Buffer.alloc(100))).rejects.toMatchObject({ code: 'DISK_FULL' });
    await upload.abort();
    expect(await readdir(root)).toEqual([]);
  });

  it('says what is wrong with the folder', async () => {
    const file = join(root, 'file');
    await writeFile(file, '');
    const store = openLocalStore(join(file, 'backups'));
    await expect(store.check({ writable: true })).rejects.toMatchObject({ code: 'DISK_FAILED' });
    await expect(store.putOnce('a', Buffer.from('x'))).rejects.toThrow(join(file, 'backups'));
    await expect(openLocalStore(file).check({ writable: false })).rejects.toThrow(`${file} is no folder`);
  });

  it('publishes on a disk without hard links too, still replacing nothing', async () => {
    const noLinks = () => Promise.reject(Object.assign(new Error('not permitted'), { code: 'EPERM' }));
    const [from, to] = [join(root, 'from'), join(root, 'to')];
    await writeFile(from, 'first');
    expect(await publishFile(from, to, noLinks)).toBe(true);
    expect(await readdir(root)).toEqual(['to']);
    await writeFile(from, 'second');
    expect(await publishFile(from, to, noLinks)).toBe(false);
    expect(await readFile(to, 'utf8')).toBe('first');
    await rename(from, join(root, 'kept'));
  });

  it('has no tags, and says so to who asks for some', async () => {
    const store = openLocalStore(folder);
    expect(await store.tags('a')).toEqual({});
    await expect(store.setTags('a', { b: 'c' })).rejects.toMatchObject({ code: 'BUG' });
  });
});
