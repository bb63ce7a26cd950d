import { recoveryFacts, type RecoveryFacts } from '../../../lib/domain/watch/recovery-facts.ts';
import { clock, lsnOf, SERIES, WalBucket } from '../wal/wal-bucket.ts';

const MIB = 1024 * 1024;
const NOW = clock('12:00');

function look(bucket: WalBucket, before?: RecoveryFacts, now = NOW): RecoveryFacts {
  const seen = {
    window: bucket.window(),
    bases: bucket.bases,
    walReceivedAt: clock('11:59'),
    walSince: clock('02:00'),
  };
  return recoveryFacts(seen, before, now);
}

/** Commits at 03:00 to 05:00, in segments 4 to 6, behind a base backup of 02:10. */
function simple(): WalBucket {
  const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 3);
  for (let hour = 3; hour <= 5; hour += 1) bucket.segments(1, hour + 1, hour + 1, `0${hour}:00`);
  return bucket;
}

describe('What the watch knows of a cluster', () => {
  it('is its window, its newest base backup and when WAL came, from the bucket alone', () => {
    expect(look(simple())).toMatchObject({
      systemIdentifier: SERIES.systemIdentifier,
      window: { earliest: clock('02:10'), latest: clock('05:00'), timeline: 1 },
      newestBaseAt: clock('02:10:30'),
      since: clock('02:00'),
      openHoles: 0,
      seenMissing: [],
      walReceivedAt: clock('11:59'),
    });
  });

  it('keeps the last commit that was found before, where the newest objects hold none', () => {
    const bucket = simple();
    const before = look(bucket);
    bucket.segments(1, 7, 9);
    bucket.commits.clear();
    expect(look(bucket, before).window?.latest).toEqual(clock('05:00'));
    expect(look(bucket).window?.latest).toEqual(clock('02:10'));
    // Of another cluster nothing stands for this one.
    const foreign = { ...before, systemIdentifier: '7300000000000000009' };
    expect(look(bucket, foreign).window?.latest).toEqual(clock('02:10'));
  });

  it('counts a hole only when two looks in a row saw it, or when it is on record', () => {
    const bucket = simple().segments(1, 8, 9, '06:00');
    const first = look(bucket);
    expect(first).toMatchObject({ openHoles: 0, seenMissing: [lsnOf(7)] });
    expect(look(bucket, first).openHoles).toBe(1);
    expect(look(simple().segments(1, 8, 9, '06:00').hole(1, lsnOf(7), lsnOf(8))).openHoles).toBe(1);
    bucket.base('07:00', lsnOf(8, 40), lsnOf(8, 312));
    expect(look(bucket, first).openHoles).toBe(0);
  });

  it('passes over base backups from the future, and over holes of a timeline that was left', () => {
    const early = look(simple(), undefined, clock('02:00'));
    expect(early.newestBaseAt).toBeUndefined();
    const left = simple().segments(1, 8, 9, '06:00').hole(1, lsnOf(7), lsnOf(8));
    left.history(2, [[1, lsnOf(6, MIB)]], '08:00').segments(2, 6, 7, '09:00');
    expect(look(left)).toMatchObject({ openHoles: 0, window: { timeline: 2, latest: clock('09:00') } });
  });
});
