import { mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { journalKey } from '../../../lib/domain/wal/keys.ts';
import { openLocalStore } from '../../../scripts/agent/host/local-store.ts';
import { openWalClusters } from '../../../scripts/agent/wal-archive/s3-wal-archive.ts';
import { clock, lsnOf, nameOf, SERIES } from '../../domain/wal/wal-bucket.ts';

describe('When a cluster wrote last', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-clusters-'));
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  it('is the newest piece of any timeline, for an old one may go on beside a newer one', async () => {
    const store = openLocalStore(folder);
    const clusters = openWalClusters({ backups: store, state: store }, SERIES.app);
    expect(await clusters.lastWrittenAt(SERIES.systemIdentifier)).toBeUndefined();
    const pieces = [
      [1, 5, '09:00'],
      [1, 7, '12:00'],
      [2, 6, '10:00'],
    ] as const;
    for (const [timeline, number, time] of pieces) {
      const key = journalKey(SERIES, timeline, nameOf(timeline, number), lsnOf(number), lsnOf(number, 100));
      await store.putOnce(key, Buffer.alloc(10));
      utimesSync(path.join(folder, key), clock(time), clock(time));
    }
    expect(await clusters.lastWrittenAt(SERIES.systemIdentifier)).toEqual(clock('12:00'));
  });
});
