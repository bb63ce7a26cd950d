import type { Bucket, BucketObject } from '../../lambda/bucket.ts';
import { listVerdicts, MOST_VERDICTS, readDamaged } from '../../lambda/verdicts.ts';
import { retainRecovery } from '../../lambda/watch/recovery-retention.ts';
import { verdictKey } from '../../lib/domain/wal/verdicts.ts';
import { nameOf, SERIES } from '../domain/wal/wal-bucket.ts';
import { START, startStage } from './stage.ts';

/** A state bucket with so many verdicts, each on a segment of its own. */
function bucketWith(count: number, state?: Bucket): { bucket: Bucket; handedOut: () => number } {
  let handedOut = 0;
  async function* verdicts(): AsyncGenerator<BucketObject> {
    const common = { size: 300, modifiedAt: START, etag: '', storageClass: 'STANDARD' };
    for (; handedOut < count; handedOut += 1) {
      await Promise.resolve();
      const object = nameOf(1, handedOut + 1);
      const key = verdictKey({
        ...SERIES,
        object,
        at: START.toISOString(),
        found: 'damaged',
      });
      yield { ...common, key: `database/${key}` };
    }
  }
  const list: Bucket['list'] = (prefix, options) =>
    !state || prefix.startsWith('database/verdicts/') ? verdicts() : state.list(prefix, options);
  return { bucket: { ...state, name: 'state', list } as Bucket, handedOut: () => handedOut };
}

const place = (state: Bucket) => ({ state, prefix: 'database', series: SERIES });

describe('The listing of verdicts', () => {
  it('goes on page by page', async () => {
    const listing = listVerdicts(place(bucketWith(2500).bucket));
    expect([await listing.next(), await listing.next()].map(({ done }) => done)).toEqual([false, false]);
    const { done, value } = await listing.next();
    expect([done, value?.files.length, value?.more]).toEqual([true, 2500, false]);
  });

  it('ends where there are more than any verification leaves', async () => {
    const { bucket, handedOut } = bucketWith(10 * MOST_VERDICTS);
    expect((await readDamaged(place(bucket))).size).toBe(MOST_VERDICTS);
    expect(handedOut()).toBe(MOST_VERDICTS);
  });

  it('is told by the retention where it is cut short', async () => {
    const stage = await startStage();
    try {
      const { backups, log } = stage;
      const { bucket } = bucketWith(MOST_VERDICTS + 1, {
        ...stage.state,
        remove: async () => await Promise.resolve([]),
        async *folders() {
          await Promise.resolve();
          yield `database/journal/hostmaster/${SERIES.systemIdentifier}/`;
        },
      });
      const work = {
        backups,
        state: bucket,
        manifests: new Map(),
        log,
        prefix: 'database',
        app: 'hostmaster',
      };
      const retention = retainRecovery({ ...work, days: 30, now: START });
      let step = await retention.next();
      while (!step.done) step = await retention.next();
      expect(step.value.problems.map(({ message }) => message)).toEqual([
        `s3://state/database/verdicts/hostmaster/${SERIES.systemIdentifier}/ holds more than 10000 verdicts: not all count`,
      ]);
    } finally {
      await stage.close();
    }
  });
});
