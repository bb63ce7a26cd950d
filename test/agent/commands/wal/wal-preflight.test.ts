import { parseLsn } from '../../../../lib/domain/wal/lsn.ts';
import { timelinePath } from '../../../../lib/domain/wal/timeline.ts';
import { requestMissingBase } from '../../../../scripts/agent/commands/wal/wal-preflight.ts';
import type { Clock } from '../../../../scripts/agent/ports/host.ts';
import { lsnOf, SERIES, WalBucket } from '../../../domain/wal/wal-bucket.ts';
import { memoryArchive } from './wal-memory-archive.ts';

const FIRST = timelinePath(1, []);
const SECOND = timelinePath(2, [{ timeline: 1, switchLsn: lsnOf(5), reason: '' }]);
const ON_SECOND = { startTimeline: 2, stopTimeline: 2 };

/** @returns what is asked for, and of which hole */
async function asked(
  bucket: WalBucket,
  path = FIRST,
  others: readonly string[] = [],
): Promise<readonly (readonly unknown[])[]> {
  const requests: unknown[][] = [];
  const archive = memoryArchive();
  const holes = bucket.holes.map(({ timeline, from, to }) => ({
    timeline,
    from: parseLsn(from),
    to: parseLsn(to),
  }));
  await requestMissingBase(
    {
      clock: {} as Clock,
      log: { info: () => undefined, warn: (line) => void requests.push([line]) },
      clusters: {
        identifiers: async () => [SERIES.systemIdentifier, ...others],
        lastWrittenAt: async () => undefined,
      },
      baseBackups: { request: (reason, hole) => void requests.push([reason, hole]) },
    },
    { ...archive, holes: async () => holes },
    bucket.bases,
    path,
  );
  return requests;
}

describe('The base backup that the stream asks for when it begins', () => {
  it('is one behind the last hole, where none is', async () => {
    const bucket = new WalBucket().base('10:00', lsnOf(3), lsnOf(4));
    expect(await asked(bucket)).toEqual([]);
    bucket.hole(1, lsnOf(8), lsnOf(9)).hole(1, lsnOf(6), lsnOf(7));
    expect(await asked(bucket)).toEqual([
      [
        'WAL is missing before 0/9000000, and no base backup was made since',
        { timeline: 1, from: lsnOf(8), to: lsnOf(9) },
      ],
    ]);
    bucket.base('11:00', lsnOf(9), lsnOf(10));
    expect(await asked(bucket)).toEqual([]);
  });

  it('counts none of a timeline that was left before the hole', async () => {
    const bucket = new WalBucket()
      .base('09:00', lsnOf(3), lsnOf(4))
      .base('10:00', lsnOf(10), lsnOf(11))
      .hole(2, lsnOf(8), lsnOf(9));
    expect(await asked(bucket, SECOND)).toMatchObject([
      [expect.stringMatching(/WAL is missing before 0\/9000000/), { timeline: 2, to: lsnOf(9) }],
    ]);
    bucket.base('11:00', lsnOf(9), lsnOf(10), ON_SECOND);
    expect(await asked(bucket, SECOND)).toEqual([]);
  });

  it('is none because of a hole of a timeline that was left before it', async () => {
    const bucket = new WalBucket().base('09:00', lsnOf(6), lsnOf(7), ON_SECOND).hole(1, lsnOf(8), lsnOf(9));
    expect(await asked(bucket, SECOND)).toEqual([]);
  });

  it('is one that leads to the server’s timeline, where all are of timelines that were left', async () => {
    const bucket = new WalBucket().base('10:00', lsnOf(10), lsnOf(11));
    expect(await asked(bucket, SECOND)).toEqual([['none leads to timeline 2', undefined]]);
  });

  it('is a first one of a cluster that replaced another; else that is left to the user', async () => {
    expect(await asked(new WalBucket(), FIRST, ['7300000000000000002'])).toEqual([
      [`the cluster ${SERIES.systemIdentifier} has none yet`, undefined],
    ]);
    expect(await asked(new WalBucket())).toEqual([[expect.stringMatching(/^There is no base backup yet/)]]);
  });
});
