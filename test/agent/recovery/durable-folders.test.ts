import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { InPlaceLayout } from '../../../lib/domain/base/in-place-plan.ts';
import { openInPlaceSite } from '../../../scripts/agent/recovery/in-place-site.ts';
import { makeOwnFolder } from '../../../scripts/agent/recovery/work-files.ts';

describe('Folders that a recovery makes', () => {
  const root = mkdtempSync(path.join(tmpdir(), 'lifeboat-durable-'));
  let sync: jest.SpyInstance;
  beforeAll(async () => {
    const handle = await open(root, 'r');
    sync = jest.spyOn(Object.getPrototypeOf(handle) as FileHandle, 'sync');
    await handle.close();
  });
  beforeEach(() => sync.mockClear());
  afterAll(() => {
    sync.mockRestore();
    rmSync(root, { recursive: true });
  });

  it('have their names brought to the disk, once each', async () => {
    expect(await makeOwnFolder(path.join(root, 'data'), undefined)).toBe(true);
    expect(sync).toHaveBeenCalledTimes(1);
    expect(await makeOwnFolder(path.join(root, 'data'), undefined)).toBe(false);
    expect(sync).toHaveBeenCalledTimes(1);
  });

  it('have those above them brought to the disk as well, where tablespaces are put in their places', async () => {
    const site = openInPlaceSite({} as Parameters<typeof openInPlaceSite>[0]);
    const location = path.join(root, 'a', 'b', 'space');
    const layout = { dataDir: path.join(root, 'data'), tablespaces: [{ location }] };
    await site.makeLocations(layout as unknown as InPlaceLayout);
    expect(statSync(location).mode & 0o777).toBe(0o700);
    expect(sync).toHaveBeenCalledTimes(3);
  });
});
