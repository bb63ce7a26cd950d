import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { ObjectStore } from '../../../scripts/agent/ports/store.ts';
import { writeWal } from '../../../scripts/agent/wal-archive/write-wal.ts';

describe('Writing WAL once', () => {
  it('may be tried again where S3 refuses it because of an object that is not there', async () => {
    const refused = new LifeboatError('OBJECT_EXISTS', 'ConditionalRequestConflict, HTTP 409, 3 tries');
    const store = {
      urlOf: (key: string) => `s3://bucket/${key}`,
      putOnce: () => Promise.reject(refused),
      head: async () => undefined,
    } as unknown as ObjectStore;
    const writer = { app: 'hostmaster', runId: 'run', lastCommit: undefined };
    await expect(writeWal(store, 'wal/1.zst', Buffer.alloc(10), writer)).rejects.toMatchObject({
      code: 'S3_UNAVAILABLE',
      message: 'S3 takes nothing under s3://bucket/wal/1.zst, and holds nothing there',
    });
  });
});
