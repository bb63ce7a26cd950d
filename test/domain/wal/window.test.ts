import { formatLsn } from '../../../lib/domain/wal/lsn.ts';
import { describeWindow, windowJson } from '../../../lib/domain/wal/window-report.ts';
import {
  commitCandidates,
  lastWritten,
  restorableWindow,
  withCommits,
} from '../../../lib/domain/wal/window.ts';
import { clock, iso, lsnOf, SERIES, WalBucket } from './wal-bucket.ts';

const MIB = 1024 * 1024;

/** The stretches, as `timeline: earliest to latest, end of WAL`. */
function stretchesOf(bucket: WalBucket): string[] {
  return bucket.window().timelines.flatMap(({ timeline, stretches }) =>
    stretches.map(({ earliest, latest, walEnd, bases }) => {
      const times = `${earliest.time.slice(11, 16)} to ${latest.time.slice(11, 16)}`;
      return `${timeline}: ${times}, ${formatLsn(walEnd)}, ${bases.length}`;
    }),
  );
}

describe('The restorable window', () => {
  it('goes from the end of the oldest base backup to the last commit in S3', () => {
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312));
    bucket
      .segments(1, 3, 9, '10:00')
      .piece(1, 10, [0, MIB], '10:05')
      .piece(1, 10, [MIB, 2 * MIB]);
    const window = bucket.window();
    expect(window).toMatchObject({
      systemIdentifier: SERIES.systemIdentifier,
      earliest: { time: iso('02:10'), lsn: lsnOf(3, 312) },
      latest: { time: iso('10:05'), lsn: lsnOf(10, MIB - 8) },
      holes: [],
    });
    const [line] = window.timelines;
    expect(line).toMatchObject({ timeline: 1, bases: ['hostmaster_base_20260117_020000'] });
    expect(line!.stretches[0]!.walEnd).toBe(lsnOf(10, 2 * MIB));
  });

  it('is empty without a usable base backup, whatever WAL there is', () => {
    const bucket = new WalBucket().segments(1, 1, 9, '10:00');
    expect(bucket.window()).toEqual({
      systemIdentifier: SERIES.systemIdentifier,
      timelines: [],
      holes: [],
      earliest: undefined,
      latest: undefined,
    });
    expect(describeWindow(bucket.window())).toEqual([
      'nothing of the cluster 7300000000000000001 can be recovered',
    ]);
  });

  it('is one instant with a base backup alone, which holds the WAL of its own duration', () => {
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312));
    expect(stretchesOf(bucket)).toEqual([`1: 02:10 to 02:10, ${formatLsn(lsnOf(3, 312))}, 1`]);
    const [manifest] = bucket.manifests;
    bucket.manifests[0] = {
      ...manifest!,
      volumes: manifest!.volumes.filter(({ series }) => series !== 'wal'),
    };
    expect(stretchesOf(bucket)).toEqual([]);
    expect(stretchesOf(bucket.segments(1, 3, 3, '02:20'))).toEqual(['1: 02:10 to 02:20, 0/4000000, 1']);
  });

  it('has WAL before the oldest base backup for nothing', () => {
    const bucket = new WalBucket().segments(1, 1, 1, '01:00').segments(1, 3, 9, '10:00');
    bucket.base('02:10', lsnOf(5, 40), lsnOf(5, 312));
    expect(stretchesOf(bucket)).toEqual(['1: 02:10 to 10:00, 0/A000000, 1']);
    expect(bucket.window().holes).toEqual([]);
  });

  it('ends at a hole, and begins anew with the next base backup', () => {
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 4, '03:00');
    bucket.piece(1, 5, [0, MIB], '03:01').segments(1, 8, 9, '04:00');
    expect(stretchesOf(bucket)).toEqual(['1: 02:10 to 03:01, 0/5100000, 1']);
    expect(bucket.window().holes).toEqual([
      {
        timeline: 1,
        from: lsnOf(5, MIB),
        to: lsnOf(8),
        since: iso('03:01'),
        until: undefined,
        reason: undefined,
      },
    ]);
    bucket.hole(1, lsnOf(5, MIB), lsnOf(8));
    bucket.base('05:10', lsnOf(9, 40), lsnOf(9, 400)).segments(1, 10, 11, '06:00');
    expect(stretchesOf(bucket)).toEqual([
      '1: 02:10 to 03:01, 0/5100000, 1',
      '1: 05:10 to 06:00, 0/C000000, 1',
    ]);
    const window = bucket.window();
    expect(window.holes).toEqual([
      {
        timeline: 1,
        from: lsnOf(5, MIB),
        to: lsnOf(8),
        since: iso('03:01'),
        until: iso('05:10'),
        reason: 'the slot was lost',
      },
    ]);
    expect(window.earliest!.time).toBe(iso('02:10'));
    expect(window.latest!.time).toBe(iso('06:00'));
    expect(describeWindow(window)).toEqual([
      `${iso('02:10')} to ${iso('03:01')}, timeline 1`,
      `${iso('05:10')} to ${iso('06:00')}, timeline 1`,
      `hole: nothing after ${iso('03:01')} to ${iso('05:10')}; no WAL of timeline 1 from 0/5100000 to 0/8000000 (the slot was lost)`,
    ]);
  });

  it('has one hole where several lie before the next base backup', () => {
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312));
    bucket
      .segments(1, 3, 3, '03:00')
      .segments(1, 5, 5)
      .segments(1, 7, 9, '05:00')
      .base('04:10', lsnOf(7, 40), lsnOf(7, 90));
    expect(bucket.window().holes).toMatchObject([{ from: lsnOf(4), to: lsnOf(5), until: iso('04:10') }]);
  });

  it('tells a recorded hole at the end of the WAL, and forgets one that is filled', () => {
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 4, '03:00');
    bucket.hole(1, lsnOf(5), lsnOf(8), '03:07');
    expect(bucket.window().holes).toMatchObject([
      { from: lsnOf(5), to: lsnOf(8), since: iso('03:07'), until: undefined },
    ]);
    expect(bucket.segments(1, 5, 9, '05:00').window().holes).toEqual([]);
  });

  it('asks for the metadata of the newest objects first, and finds the last commit among idle ones', () => {
    const bucket = new WalBucket()
      .base('02:10', lsnOf(3, 40), lsnOf(3, 312))
      .segments(1, 3, 5, '10:00')
      .segments(1, 6, 7);
    bucket.piece(1, 8, [0, 100]);
    const bare = restorableWindow({ archive: bucket.archive(), bases: bucket.bases });
    const stretch = bare.timelines[0]!.stretches[0]!;
    expect(stretch.latest).toEqual({ time: iso('02:10'), lsn: lsnOf(3, 312) });
    const asked = [...commitCandidates(stretch)].map((key) => key.split('/').at(-1));
    expect(asked).toHaveLength(6);
    expect(asked[0]).toMatch(/^0{9}8/);
    expect(asked[1]).toBe('000000010000000000000007.zst');
    const known = withCommits(bare, bucket.commits);
    expect(known.latest).toEqual({ time: iso('10:00'), lsn: lsnOf(6, -100) });
    expect(known).toEqual(bucket.window());
  });

  it('does not ask for WAL from before the newest base backup', () => {
    const bucket = new WalBucket()
      .base('02:10', lsnOf(3, 40), lsnOf(3, 312))
      .base('09:10', lsnOf(8, 40), lsnOf(8, 900));
    bucket.segments(1, 3, 8).segments(1, 9, 9);
    const [stretch] = bucket.window().timelines[0]!.stretches;
    expect(stretch!.bases).toHaveLength(2);
    expect([...commitCandidates(stretch!)]).toHaveLength(2);
    expect(stretch!.latest).toEqual({ time: iso('09:10'), lsn: lsnOf(8, 900) });
  });

  it('goes on across a timeline switch, and tells both timelines', () => {
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 5, '09:00');
    bucket.partial(1, 6, { time: '10:00', lsn: lsnOf(6, MIB - 8) }).history(2, [[1, lsnOf(6, MIB)]], '10:02');
    bucket.segments(2, 6, 7, '11:00').piece(2, 8, [0, MIB], '11:30');
    expect(stretchesOf(bucket)).toEqual([
      '1: 02:10 to 10:00, 0/6100000, 1',
      '2: 02:10 to 11:30, 0/8100000, 1',
    ]);
    const window = bucket.window();
    expect(window.holes).toEqual([]);
    expect(window.latest!.time).toBe(iso('11:30'));
    expect(window.timelines.map(({ began }) => began)).toEqual([
      { time: iso('02:00'), lsn: 0n },
      { time: iso('10:02'), lsn: lsnOf(6, MIB) },
    ]);
  });

  it('knows nothing of a timeline whose history is missing, but for its own base backups', () => {
    const bucket = new WalBucket()
      .base('02:10', lsnOf(3, 40), lsnOf(3, 312))
      .segments(1, 3, 5, '09:00')
      .segments(2, 6, 9, '11:00');
    expect(stretchesOf(bucket)).toEqual(['1: 02:10 to 09:00, 0/6000000, 1']);
    bucket.base('11:10', lsnOf(9, 40), lsnOf(9, 50), { startTimeline: 2, stopTimeline: 2 });
    expect(stretchesOf(bucket)).toEqual([
      '1: 02:10 to 09:00, 0/6000000, 1',
      '2: 11:10 to 11:10, 0/A000000, 1',
    ]);
  });

  it('does not take what was committed on an abandoned timeline for the other’s', () => {
    // Recovered to 09:00, in segment 4; the old timeline had gone on to 10:00, in segment 6.
    const bucket = new WalBucket()
      .base('02:10', lsnOf(3, 40), lsnOf(3, 312))
      .segments(1, 3, 3, '08:00')
      .segments(1, 4, 6, '10:00');
    bucket.history(2, [[1, lsnOf(4, MIB)]], '11:00');
    expect(stretchesOf(bucket)).toEqual([
      '1: 02:10 to 10:00, 0/7000000, 1',
      '2: 02:10 to 08:00, 0/4100000, 1',
    ]);
    bucket.segments(2, 4, 5, '12:00');
    expect(stretchesOf(bucket)[1]).toBe('2: 02:10 to 12:00, 0/6000000, 1');
  });

  it('ends with the last commit by recorded time, also of an older timeline that went on', () => {
    // Recovered in place to 09:00, and taken back at 11:30.
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 5, '09:00');
    bucket.history(2, [[1, lsnOf(5, MIB)]], '10:00').segments(2, 5, 6, '11:00');
    expect(bucket.window().latest).toEqual({ time: iso('11:00'), lsn: lsnOf(7, -100) });
    bucket.segments(1, 6, 8, '15:00');
    const window = bucket.window();
    expect(window.latest).toEqual({ time: iso('15:00'), lsn: lsnOf(9, -100) });
    expect(lastWritten(window.timelines)!.timeline).toBe(1);
    const bare = restorableWindow({ archive: bucket.archive(), bases: bucket.bases });
    expect(withCommits(bare, bucket.commits).latest).toEqual(window.latest);
    bucket.segments(2, 7, 7, '15:00');
    expect(lastWritten(bucket.window().timelines)!.timeline).toBe(2);
    expect(bucket.putBack(1, '15:01').window().latest).toEqual({ time: iso('15:00'), lsn: lsnOf(9, -100) });
    expect(lastWritten(bucket.window().timelines)!.timeline).toBe(1);
  });

  it('goes on with the newest timeline when nothing was left behind, though its clock is slow', () => {
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 5, '09:00');
    bucket.partial(1, 6, { time: '10:00', lsn: lsnOf(6, MIB - 8) }).history(2, [[1, lsnOf(6, MIB)]], '10:02');
    expect(lastWritten(bucket.window().timelines)!.timeline).toBe(2);
    bucket.segments(2, 6, 6, '09:59');
    expect(lastWritten(bucket.window().timelines)!.timeline).toBe(2);
  });

  it('leaves out a base backup that lies on a branch, or whose cluster is another', () => {
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 6, '10:00');
    bucket
      .base('09:10', lsnOf(5, 40), lsnOf(5, 90))
      .history(2, [[1, lsnOf(4, MIB)]], '11:00')
      .segments(2, 4, 5, '12:00');
    const [first, second] = bucket.window().timelines;
    expect(first!.bases).toHaveLength(2);
    expect(second!.bases).toEqual(['hostmaster_base_20260117_020000']);
    const other = { ...bucket.archive(), series: { ...SERIES, systemIdentifier: '42' } };
    expect(restorableWindow({ archive: other, bases: bucket.bases }).timelines).toEqual([]);
  });

  it('knows a timeline’s beginning from what was committed on it, where the bucket is a copy with later dates', () => {
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 5, '09:00');
    bucket.history(2, [[1, lsnOf(5, MIB)]], '23:00').segments(2, 5, 7, '12:00');
    expect(bucket.window().timelines[1]!.began.time).toBe(iso('12:00'));
  });

  it('has an end not before its beginning, where the server’s clock was not read', () => {
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 4, '02:10');
    const { stopTime: _, ...manifest } = bucket.manifests[0]!;
    bucket.manifests[0] = { ...manifest, finishedAt: clock('03:00').toISOString() };
    const { earliest, latest } = bucket.window();
    expect(earliest!.time).toBe(iso('03:00'));
    expect(latest).toEqual({ time: iso('03:00'), lsn: lsnOf(5, -100) });
  });

  it('is measured without a name for each of its segments, however many there are', () => {
    const bucket = new WalBucket()
      .base('02:10', lsnOf(3, 40), lsnOf(3, 312))
      .segments(1, 3, 5000, '03:00')
      .segments(1, 5002, 9000, '04:00')
      .base('03:30', lsnOf(5003, 40), lsnOf(5003, 90))
      .segments(1, 9001, 9001, '10:00');
    const [archive, bases] = [bucket.archive(), bucket.bases];
    const looks = jest.spyOn(archive.segments, 'get');
    const bare = restorableWindow({ archive, bases });
    const [newest] = commitCandidates(bare.timelines[0]!.stretches.at(-1)!);
    const window = withCommits(bare, new Map([[newest!, bucket.commits.get(newest!)!]]));
    expect(window.latest!.time).toBe(iso('10:00'));
    expect(window.timelines[0]!.stretches).toHaveLength(2);
    expect(looks.mock.calls.length).toBeLessThan(20);
  });

  it('is told as JSON without anything that JSON does not have', () => {
    const bucket = new WalBucket()
      .base('02:10', lsnOf(3, 40), lsnOf(3, 312))
      .segments(1, 3, 4, '03:00')
      .segments(1, 8, 8);
    const json = windowJson(bucket.window());
    expect(JSON.parse(JSON.stringify(json))).toEqual(json);
    expect(json).toEqual({
      systemIdentifier: SERIES.systemIdentifier,
      earliest: { time: iso('02:10'), lsn: '0/3000138' },
      latest: { time: iso('03:00'), lsn: '0/4FFFF9C' },
      timelines: [
        {
          timeline: 1,
          began: { time: iso('02:00'), lsn: '0/0' },
          stretches: [
            {
              earliest: { time: iso('02:10'), lsn: '0/3000138' },
              latest: { time: iso('03:00'), lsn: '0/4FFFF9C' },
              walEnd: '0/5000000',
              bases: ['hostmaster_base_20260117_020000'],
            },
          ],
        },
      ],
      holes: [
        { timeline: 1, from: '0/5000000', to: '0/8000000', since: iso('03:00'), until: null, reason: null },
      ],
    });
  });
});
