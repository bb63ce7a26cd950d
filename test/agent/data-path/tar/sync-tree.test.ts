import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { syncTree } from '../../../../scripts/agent/data-path/tar/sync-tree.ts';
import { useFolder } from './tar-fixture.ts';

describe('Bringing a folder to the disk', () => {
  const folder = useFolder();

  const watchSync = async (): Promise<jest.SpyInstance<Promise<void>, []>> => {
    const probe = await open(folder(), 'r');
    await probe.close();
    return jest.spyOn(Object.getPrototypeOf(probe) as FileHandle, 'sync');
  };

  it('syncs every file and folder of it, whatever bytes their names have, and follows no link', async () => {
    mkdirSync(folder('tree', 'a', 'b'), { recursive: true });
    for (const name of ['1', 'a/2', 'a/b/3']) writeFileSync(folder('tree', name), 'x');
    writeFileSync(Buffer.concat([Buffer.from(`${folder('tree')}/`), Buffer.from([0xe9, 0xff])]), 'x');
    symlinkSync('/nowhere/at/all', folder('tree', 'link'));
    const sync = await watchSync();
    try {
      await syncTree(folder('tree'));
      expect(sync).toHaveBeenCalledTimes(3 + 4);
      sync.mockClear();
      const there = new Set(['a/b/3', 'é\u00ff']);
      await syncTree(folder('tree'), undefined, (name) => there.has(name));
      expect(sync).toHaveBeenCalledTimes(3 + 2);
    } finally {
      sync.mockRestore();
    }
  });

  it('fails where one of them did not reach the disk', async () => {
    mkdirSync(folder('bad'));
    writeFileSync(folder('bad', 'file'), 'x');
    const sync = await watchSync();
    sync.mockRejectedValueOnce(Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' }));
    try {
      await expect(syncTree(folder('bad'))).rejects.toMatchObject({ code: 'DISK_FAILED' });
    } finally {
      sync.mockRestore();
    }
  });

  it('ends when it is interrupted', async () => {
    const reason = new Error('interrupted');
    await expect(syncTree(folder(), AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});
