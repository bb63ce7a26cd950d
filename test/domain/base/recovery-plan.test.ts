import type { LocatedTarget } from '../../../lib/domain/base/recovery-choice.ts';
import { findHostProblems, type HostDifference } from '../../../lib/domain/base/recovery-host.ts';
import { chooseCluster, planRecovery, type RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';
import { parseRecoveryRequest, type RecoveryOptions } from '../../../lib/domain/base/recovery-target.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatLsn } from '../../../lib/domain/wal/lsn.ts';
import { restorableWindow } from '../../../lib/domain/wal/window.ts';
import { clock, iso, lsnOf, nameOf, WalBucket } from '../wal/wal-bucket.ts';
import { incrementalManifest } from './manifests.ts';
import { sampleBase } from './sample-base.ts';

const MIB = 1024 * 1024;

function plan(bucket: WalBucket, options: RecoveryOptions, located?: LocatedTarget): RecoveryPlan {
  const { commits } = bucket;
  const facts = { archive: bucket.archive(), window: bucket.window(), commits, ...(located && { located }) };
  return planRecovery(parseRecoveryRequest(options), facts);
}

function refusal(action: () => unknown): LifeboatError {
  try {
    action();
  } catch (error) {
    if (error instanceof LifeboatError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

/** Commits at 03:00 to 09:00, one a segment, from 4 to 10; base backups at 02:10 and 06:30. */
function simple(): WalBucket {
  const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 3);
  for (let hour = 3; hour <= 9; hour += 1) bucket.segments(1, hour + 1, hour + 1, `0${hour}:00`);
  return bucket.base('06:30', lsnOf(8, 40), lsnOf(8, 312)).piece(1, 11, [0, MIB], '09:30');
}

/** Timeline 1 went on to 10:00; it was recovered to 05:00, in segment 6, and timeline 2 goes from 11:00 to 12:30. */
function forked(): WalBucket {
  const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 3);
  for (let hour = 3; hour <= 10; hour += 1)
    bucket.segments(1, hour + 1, hour + 1, `${String(hour).padStart(2, '0')}:00`);
  bucket
    .history(2, [[1, lsnOf(6, MIB)]], '11:00')
    .segments(2, 6, 6, '11:30')
    .segments(2, 7, 7, '12:00');
  return bucket.piece(2, 8, [0, MIB], '12:30');
}

/** Timeline 1 ended at 05:00 with its host, and timeline 2 goes on from there since 05:02. */
function failedOver(): WalBucket {
  const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 5, '04:00');
  bucket.partial(1, 6, { time: '05:00', lsn: lsnOf(6, MIB - 48) }).history(2, [[1, lsnOf(6, MIB)]], '05:02');
  return bucket.segments(2, 6, 7, '06:00');
}

describe('A recovery to a time', () => {
  it('begins with the newest base backup before it, and stops before the first commit after it', () => {
    const early = plan(simple(), { toTime: '2026-01-17T05:30:00.5Z' });
    expect(early).toMatchObject({
      systemIdentifier: '7300000000000000001',
      timeline: 1,
      stop: {
        kind: 'setting',
        setting: 'recovery_target_time',
        value: '2026-01-17 05:30:00.500000+00',
        inclusive: true,
        endOfWalSuffices: true,
      },
      earliest: { time: iso('02:10') },
      latest: { time: iso('09:30') },
      notes: [],
    });
    expect(early.base.label).toBe('hostmaster_base_20260117_020000');
    expect(plan(simple(), { toTime: '2026-01-17T06:30:00Z' }).base.label).toBe(
      'hostmaster_base_20260117_062000',
    );
    expect(plan(simple(), { toTime: '2026-01-17T06:29:59.999999Z' }).base.label).toBe(
      'hostmaster_base_20260117_020000',
    );
    expect(plan(simple(), { toTime: '2026-01-17T06:30:00Z', exclusive: true }).base.label).toBe(
      'hostmaster_base_20260117_020000',
    );
  });

  it('may be asked to begin with an older base backup, not with one that ended later', () => {
    const base = 'hostmaster_base_20260117_020000';
    expect(plan(simple(), { toTime: '2026-01-17T08:00:00Z', base }).base.label).toBe(base);
    const error = refusal(() =>
      plan(simple(), { toTime: '2026-01-17T05:00:00Z', base: 'hostmaster_base_20260117_062000' }),
    );
    expect(error.message).toContain(
      'hostmaster_base_20260117_062000 ended at 2026-01-17T06:30:00.000000Z, 0/8000138: after 2026-01-17T05',
    );
    const unknown = refusal(() => plan(simple(), { latest: true, base: 'hostmaster_base_20260101_000000' }));
    expect(unknown.message).toContain('hostmaster_base_20260101_000000 leads to no point');
  });

  it('lists all WAL that may be asked for, and how much of it will be', () => {
    const { wal, walNeeded, bytes } = plan(simple(), { toTime: '2026-01-17T05:30:00Z' });
    expect(wal.map(({ name }) => name)).toEqual(
      [3, 4, 5, 6, 7, 8, 9, 10, 11].map((number) => nameOf(1, number)),
    );
    expect(wal.at(-1)).toMatchObject({ kind: 'journal', end: lsnOf(11, MIB) });
    // The commit at 06:00 is in segment 7.
    expect(wal[walNeeded - 1]!.name).toBe(nameOf(1, 7));
    expect(bytes).toEqual({
      base: 9_200_000,
      baseRaw: 36 * MIB,
      combined: 0,
      wal: 5_000_000,
      walRaw: 80 * MIB,
      walOnDisk: 80 * MIB,
      disk: 116 * MIB,
    });
  });

  it('that is the last commit’s needs all WAL and no target; a microsecond later it is refused', () => {
    expect(plan(simple(), { toTime: '2026-01-17T09:30:00Z' })).toMatchObject({
      stop: { kind: 'end-of-wal' },
      walNeeded: 4,
      notes: ['S3 has no commit behind the target: all its WAL is replayed'],
    });
    expect(plan(simple(), { toTime: '2026-01-17T09:30:00Z', exclusive: true }).stop.kind).toBe('setting');
    const error = refusal(() => plan(simple(), { toTime: '2026-01-17T09:30:00.000001Z' }));
    expect(error).toMatchObject({ code: 'TARGET_OUTSIDE_WINDOW', exitStatus: 3 });
    expect(error.message).toBe(
      '2026-01-17T09:30:00.000001Z is after the last commit in S3 on timeline 1, 2026-01-17T09:30:00.000000Z\n' +
        'Restorable:\n- 2026-01-17T02:10:00.000000Z to 2026-01-17T09:30:00.000000Z, timeline 1',
    );
  });

  it('keeps a target where it is not known what was committed behind the last commit known of', () => {
    const bucket = simple();
    bucket.commits.delete(bucket.files.at(-1)!.key);
    expect(plan(bucket, { toTime: '2026-01-17T09:00:00Z' }).stop).toMatchObject({
      kind: 'setting',
      endOfWalSuffices: true,
    });
  });

  it('before the oldest base backup’s end is refused with the window', () => {
    const error = refusal(() => plan(simple(), { toTime: '2026-01-17T02:09:59Z' }));
    expect(error.message).toContain(
      'is before the oldest base backup of timeline 1 ended, 2026-01-17T02:10:00.000000Z\nRestorable:',
    );
  });

  it('in a hole is refused with the hole', () => {
    const bucket = simple();
    bucket.remove(nameOf(1, 6));
    const error = refusal(() => plan(bucket, { toTime: '2026-01-17T05:00:00Z' }));
    expect(error.message).toContain('2026-01-17T05:00:00.000000Z lies in a hole of timeline 1');
    expect(error.message).toContain('- hole: nothing after');
    expect(error.message).toContain('no WAL of timeline 1 from 0/6000000 to 0/7000000');
    expect(plan(bucket, { toTime: '2026-01-17T07:00:00Z' }).wal[0]!.name).toBe(nameOf(1, 8));
    const before = refusal(() =>
      plan(bucket, { toTime: '2026-01-17T07:00:00Z', base: 'hostmaster_base_20260117_020000' }),
    );
    expect(before.message).toContain(
      'A hole, or the WAL’s end, lies between hostmaster_base_20260117_020000 and 2026',
    );
  });

  it('has nothing to begin with where there is no base backup', () => {
    const error = refusal(() =>
      plan(new WalBucket().segments(1, 1, 5, '03:00'), { toTime: '2026-01-17T03:00:00Z' }),
    );
    expect(error.message).toContain(
      'There is no base backup to recover from\nRestorable:\n- nothing of the cluster',
    );
  });
});

describe('The timeline of a recovery to a time', () => {
  it('is the one that was live then, though a newer one has that time too', () => {
    expect(plan(forked(), { toTime: '2026-01-17T04:30:00Z' }).timeline).toBe(1);
    const abandoned = plan(forked(), { toTime: '2026-01-17T08:30:00Z' });
    expect(abandoned.timeline).toBe(1);
    expect(abandoned.wal.every(({ timeline }) => timeline === 1)).toBe(true);
    const live = plan(forked(), { toTime: '2026-01-17T11:45:00Z' });
    expect(live.timeline).toBe(2);
    expect(live.wal.map(({ name, end }) => `${name.slice(0, 8)} ${formatLsn(end)}`)).toEqual([
      '00000001 0/4000000',
      '00000001 0/5000000',
      '00000001 0/6000000',
      '00000002 0/7000000',
      '00000002 0/8000000',
      '00000002 0/8100000',
    ]);
    expect(live.path).toEqual([
      { timeline: 1, from: 0n, to: lsnOf(6, MIB) },
      { timeline: 2, from: lsnOf(6, MIB), to: undefined },
    ]);
  });

  it('may be said, and is refused with the window where it does not have the time', () => {
    expect(plan(forked(), { toTime: '2026-01-17T08:30:00Z', timeline: '2' }).timeline).toBe(2);
    expect(plan(forked(), { toTime: '2026-01-17T04:30:00Z', timeline: '2' }).timeline).toBe(2);
    const late = refusal(() => plan(forked(), { toTime: '2026-01-17T12:00:00Z', timeline: '1' }));
    expect(late.message).toContain(
      'is after the last commit in S3 on timeline 1, 2026-01-17T10:00:00.000000Z',
    );
    const unknown = refusal(() => plan(forked(), { toTime: '2026-01-17T04:30:00Z', timeline: '3' }));
    expect(unknown.message).toContain('Nothing can be recovered on timeline 3\nRestorable:\n- 2026');
  });

  it('is nobody’s to choose but the operator’s between the end of one and the beginning of another that left it earlier', () => {
    const error = refusal(() => plan(forked(), { toTime: '2026-01-17T10:30:00Z' }));
    expect(error.code).toBe('TARGET_OUTSIDE_WINDOW');
    expect(error.message).toContain(
      'lies between what can be recovered of timeline 1 and the beginning of timeline 2, which it left at 0/6100000, before the last commit there',
    );
    expect(error.message).toContain(
      'Choose: --timeline 2 for the state at its beginning, or an earlier time of timeline 1',
    );
    expect(plan(forked(), { toTime: '2026-01-17T10:30:00Z', timeline: '2' }).timeline).toBe(2);
  });

  it('is the successor where nothing was left behind, as in a failover', () => {
    const between = plan(failedOver(), { toTime: '2026-01-17T05:01:00Z' });
    expect(between).toMatchObject({ timeline: 2, stop: { kind: 'setting' } });
    expect(between.notes).toEqual([
      expect.stringContaining('between what can be recovered of timeline 1 and the beginning of timeline 2'),
    ]);
    expect(plan(failedOver(), { toTime: '2026-01-17T04:30:00Z' }).timeline).toBe(1);
    expect(plan(failedOver(), { toTime: '2026-01-17T05:30:00Z' }).timeline).toBe(2);
  });

  it('is not quietly an older one that went on beside the live one', () => {
    const bucket = forked();
    bucket
      .history(3, [[1, lsnOf(6, MIB)]], '08:00')
      .base('08:40', lsnOf(9, 40), lsnOf(9, 99), { startTimeline: 3, stopTimeline: 3 });
    bucket.remove('00000003.history');
    bucket.histories.delete(3);
    // Timeline 3 began at 08:30 and its WAL is not there: what was live at 09:00 is lost.
    const error = refusal(() => plan(bucket, { toTime: '2026-01-17T09:00:00Z' }));
    expect(error.message).toContain('on timeline 3');
    expect(error.message).toContain('; timeline 1, which was not the newest then, has it');
  });
});

describe('A recovery to an LSN', () => {
  it('stops there, from the newest base backup before it', () => {
    const { stop, base, walNeeded, wal } = plan(simple(), { toLsn: formatLsn(lsnOf(9, 5000)) });
    expect(stop).toEqual({
      kind: 'setting',
      setting: 'recovery_target_lsn',
      value: '0/9001388',
      inclusive: true,
      endOfWalSuffices: true,
    });
    expect(base.label).toBe('hostmaster_base_20260117_062000');
    expect(wal[walNeeded - 1]!.name).toBe(nameOf(1, 9));
    expect(plan(simple(), { toLsn: formatLsn(lsnOf(8, 311)), exclusive: true })).toMatchObject({
      stop: { inclusive: false },
      base: { label: 'hostmaster_base_20260117_020000' },
    });
  });

  it('behind the last commit takes all WAL, behind the WAL’s end it is refused', () => {
    expect(plan(simple(), { toLsn: formatLsn(lsnOf(11, MIB - 8)) }).stop).toEqual({ kind: 'end-of-wal' });
    expect(plan(simple(), { toLsn: formatLsn(lsnOf(11, MIB)) }).stop).toEqual({ kind: 'end-of-wal' });
    const late = refusal(() => plan(simple(), { toLsn: formatLsn(lsnOf(11, MIB + 1)) }));
    expect(late.message).toContain(
      'The LSN 0/B100001 is after the end of the WAL in S3 on timeline 1, 0/B100000',
    );
    const early = refusal(() => plan(simple(), { toLsn: '0/3000137' }));
    expect(early.message).toContain(
      'The LSN 0/3000137 is before the oldest base backup of timeline 1 ended, 0/3000138',
    );
    const bucket = simple();
    bucket.remove(nameOf(1, 6));
    expect(refusal(() => plan(bucket, { toLsn: '0/6000001' })).message).toContain(
      'lies in a hole of timeline 1',
    );
  });

  it('is on the newest timeline that has it, and says where another has other contents there', () => {
    const shared = plan(forked(), { toLsn: formatLsn(lsnOf(5, 99)) });
    expect(shared).toMatchObject({ timeline: 2, notes: [] });
    const divided = plan(forked(), { toLsn: formatLsn(lsnOf(7, 99)) });
    expect(divided).toMatchObject({
      timeline: 2,
      notes: ['0/7000063 is also on timeline 1, with other contents there'],
    });
    expect(plan(forked(), { toLsn: formatLsn(lsnOf(7, 99)), timeline: '1' })).toMatchObject({
      timeline: 1,
      notes: [],
    });
    expect(plan(forked(), { toLsn: formatLsn(lsnOf(10, 99)) })).toMatchObject({ timeline: 1 });
  });
});

describe('A recovery to a transaction or a restore point', () => {
  const located = { timeline: 1, lsn: lsnOf(9, 100), end: lsnOf(9, 150), time: iso('08:00') };

  it('goes to where WAL has it', () => {
    const found = plan(simple(), { toXid: '777' }, located);
    expect(found).toMatchObject({
      timeline: 1,
      base: { label: 'hostmaster_base_20260117_062000' },
      stop: { setting: 'recovery_target_xid', value: '777', inclusive: true, endOfWalSuffices: false },
      walNeeded: 2,
    });
    const named = plan(simple(), { toName: "it's" }, { timeline: 1, lsn: lsnOf(8, 311), end: lsnOf(8, 400) });
    expect(named).toMatchObject({
      base: { label: 'hostmaster_base_20260117_020000' },
      stop: { setting: 'recovery_target_name', value: "it's" },
    });
  });

  it('takes the timeline it was found on', () => {
    const first = { timeline: 1, lsn: lsnOf(7, 100), end: lsnOf(7, 150) };
    expect(plan(forked(), { toXid: '777' }, first).timeline).toBe(1);
    const second = plan(forked(), { toXid: '777' }, { ...first, timeline: 2 });
    expect(second.timeline).toBe(2);
    expect(second.notes).toEqual([
      expect.stringMatching(
        /^Transaction 777 was found at .* of timeline 2.*; not looked for on timeline 1, see --timeline$/,
      ),
    ]);
    const asked = plan(forked(), { toXid: '777', timeline: '2' }, { ...first, timeline: 2 });
    expect(asked.notes).toEqual([
      expect.stringMatching(/^Transaction 777 was found at .* of timeline 2[^;]*$/),
    ]);
    const error = refusal(() => plan(forked(), { toXid: '777', timeline: '2' }, first));
    expect(error.message).toContain(
      'Transaction 777, at 0/7000064 of timeline 1, cannot be recovered\nRestorable:',
    );
  });

  it('that was not found is refused, unless a base backup is named to look from', () => {
    const error = refusal(() => plan(simple(), { toXid: '777' }));
    expect(error.message).toContain('Transaction 777 is not in the WAL that is there\nRestorable:');
    const base = 'hostmaster_base_20260117_020000';
    expect(plan(simple(), { toName: 'x', base })).toMatchObject({ base: { label: base }, walNeeded: 9 });
    const bucket = simple();
    bucket.remove(nameOf(1, 6));
    expect(plan(bucket, { toName: 'x', base })).toMatchObject({ base: { label: base }, walNeeded: 3 });
  });
});

describe('A recovery to a time after a recovery in place was undone', () => {
  const timelineAt = (bucket: WalBucket, time: string): number =>
    plan(bucket, { toTime: `2026-01-17T${time}:00Z` }).timeline;

  it('is on the timeline that was in use then, and on the recovered one from when that was put in place again', () => {
    const bucket = forked().segments(1, 12, 13, '15:00').putBack(1, '12:31');
    expect(['09:00', '12:00', '14:00'].map((time) => timelineAt(bucket, time))).toEqual([1, 2, 1]);
    bucket.putBack(2, '15:30').piece(2, 8, [MIB, 2 * MIB], '16:00');
    expect(['14:00', '15:45'].map((time) => timelineAt(bucket, time))).toEqual([1, 2]);
    expect(plan(bucket, { latest: true }).timeline).toBe(2);
  });
});

describe('A recovery to the latest', () => {
  it('takes all WAL of the newest timeline', () => {
    expect(plan(simple(), { latest: true })).toMatchObject({
      stop: { kind: 'end-of-wal' },
      walNeeded: 4,
      notes: [],
    });
    expect(plan(forked(), { latest: true })).toMatchObject({ timeline: 2, latest: { time: iso('12:30') } });
    expect(plan(forked(), { latest: true, timeline: '1' })).toMatchObject({
      timeline: 1,
      latest: { time: iso('10:00') },
    });
  });

  it('is nobody’s to choose but the operator’s where an older timeline was written to later than the newest', () => {
    const bucket = forked().segments(1, 12, 13, '15:00');
    const error = refusal(() => plan(bucket, { latest: true }));
    expect(error).toMatchObject({ code: 'TARGET_OUTSIDE_WINDOW', exitStatus: 3 });
    expect(error.message).toContain(
      'timeline 1 has one of 2026-01-17T15:00:00.000000Z, which timeline 2, the newest, does not have; that one ends with 2026-01-17T12:30:00.000000Z\nRestorable:',
    );
    expect(error.hint).toMatch(/--timeline 1, .*--timeline 2, /);
    expect(plan(bucket, { latest: true, timeline: '1' })).toMatchObject({
      timeline: 1,
      latest: { time: iso('15:00') },
    });
    expect(plan(bucket, { latest: true, timeline: '2' })).toMatchObject({
      timeline: 2,
      latest: { time: iso('12:30') },
    });
    bucket.base('14:10', lsnOf(12, 40), lsnOf(12, 99));
    const base = 'hostmaster_base_20260117_140000';
    expect(plan(bucket, { latest: true, base })).toMatchObject({ timeline: 1, base: { label: base } });
  });

  it('is asked for where an older timeline was put back, though its next commit is not in S3 yet', () => {
    const bucket = forked().putBack(1, '12:31');
    const error = refusal(() => plan(bucket, { latest: true }));
    expect(error).toMatchObject({ code: 'TARGET_OUTSIDE_WINDOW', exitStatus: 3 });
    expect(error.message).toContain(
      'timeline 1 was put in place again at 2026-01-17T12:31:00.000000Z (--undo, --finish), and goes on since; S3 has its commits up to 2026-01-17T10:00:00.000000Z. Timeline 2, the newest, ends with 2026-01-17T12:30:00.000000Z\nRestorable:',
    );
    expect(error.hint).toMatch(/--timeline 1, .*--timeline 2, /);
    expect(plan(bucket, { latest: true, timeline: '1' }).timeline).toBe(1);
    expect(plan(bucket, { latest: true, timeline: '2' }).timeline).toBe(2);
    // Also where the recovered one had all of it.
    expect(refusal(() => plan(failedOver().putBack(1, '06:10'), { latest: true })).hint).toContain(
      '--timeline 1, ',
    );
    // The recovered one was put in place again, and goes on.
    bucket.piece(2, 8, [MIB, 2 * MIB], '12:40');
    expect(plan(bucket, { latest: true }).timeline).toBe(2);
    expect(plan(forked().putBack(1, '23:00', '12:20'), { latest: true }).timeline).toBe(2);
  });

  it('is the newest timeline’s where that has all of the older one, before its own first commit too', () => {
    expect(plan(failedOver(), { latest: true }).timeline).toBe(2);
    const bucket = failedOver();
    bucket.remove('/00000002/');
    expect(plan(bucket, { latest: true })).toMatchObject({ timeline: 2, latest: { time: iso('05:00') } });
  });

  it('says so where a hole follows, or a newer timeline that cannot be reached', () => {
    const bucket = simple().segments(1, 14, 15, '11:00').segments(2, 16, 16, '12:00');
    const { notes } = plan(bucket, { latest: true });
    expect(notes).toEqual([
      expect.stringContaining('hole: nothing after 2026-01-17T09:30:00.000000Z until the next base backup'),
      'timeline 2 has WAL, but nothing that can be recovered: its history or a base backup is missing',
    ]);
    const before = refusal(() =>
      plan(simple().segments(1, 14, 15).base('12:10', lsnOf(15, 40), lsnOf(15, 99)), {
        latest: true,
        base: 'hostmaster_base_20260117_020000',
      }),
    );
    expect(before.message).toContain('A hole, or the WAL’s end, lies between');
  });
});

describe('A recovery to the end of a base backup', () => {
  it('takes the newest one, and no more WAL than it needs', () => {
    const { base, stop, wal, timeline, notes } = plan(simple(), { immediate: true });
    expect(base.label).toBe('hostmaster_base_20260117_062000');
    expect(stop).toMatchObject({ setting: 'recovery_target', value: 'immediate' });
    expect(wal).toHaveLength(1);
    expect(timeline).toBe(1);
    expect(notes).toEqual([`the state is that of ${iso('06:30')}`]);
    const older = plan(simple(), { immediate: true, base: 'hostmaster_base_20260117_020000' });
    expect(older.base.label).toBe('hostmaster_base_20260117_020000');
  });

  it('goes by recorded time, and stays on the backup’s own timeline', () => {
    const bucket = forked().base('09:30', lsnOf(10, 40), lsnOf(10, 99));
    expect(plan(bucket, { immediate: true })).toMatchObject({
      timeline: 1,
      base: { label: 'hostmaster_base_20260117_092000' },
    });
  });
});

describe('A recovery with an incremental base backup', () => {
  it('fetches the chain, and needs room for what it is combined to', () => {
    const bucket = new WalBucket().base('02:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 9);
    bucket.manifests.push(
      incrementalManifest(bucket.manifests[0]!, {
        startLsn: formatLsn(lsnOf(7, 40)),
        stopLsn: formatLsn(lsnOf(7, 99)),
      }),
    );
    const { chain, base, bytes, wal } = plan(bucket, { latest: true });
    expect(chain.map(({ type }) => type)).toEqual(['full', 'incremental']);
    expect(base.manifest).toBe(chain[1]);
    // Without the full one's own WAL.
    expect(bytes).toMatchObject({
      base: 15_400_000,
      baseRaw: 60 * MIB,
      combined: 36 * MIB,
      disk: 96 * MIB + wal.length * 16 * MIB,
    });
  });
});

describe('The host of a recovery', () => {
  const like = { architecture: 'x64', libc: 'glibc 2.36', versionNumber: 150004 };
  const check = (host: object, overrides: readonly HostDifference[] = []): RecoveryPlan => {
    const bucket = simple();
    return planRecovery(parseRecoveryRequest({ latest: true }), {
      archive: bucket.archive(),
      window: bucket.window(),
      host: { ...like, ...host },
      overrides: new Set(overrides),
    });
  };

  it('is taken when it is like the base backup’s, another minor version included', () => {
    expect(check({})).toBeDefined();
  });

  it.each<[object, HostDifference, string]>([
    [{ architecture: 'arm64' }, 'architecture', 'was made on x64; this host is arm64'],
    [
      { libc: 'glibc 2.28' },
      'libc',
      'was made with glibc 2.36; this host has glibc 2.28: text may sort in another order',
    ],
    [{ versionNumber: 160002 }, 'version', 'is of PostgreSQL 15; found 16'],
  ])('is refused with %j, unless overridden', (host, override, message) => {
    const error = refusal(() => check(host));
    expect(error).toMatchObject({ code: 'HOST_DIFFERS', exitStatus: 3 });
    expect(error.message).toContain(`The base backup ${message}`);
    expect(check(host, [override])).toBeDefined();
    const others = (['architecture', 'libc', 'version'] as const).filter((each) => each !== override);
    expect(refusal(() => check(host, others)).code).toBe('HOST_DIFFERS');
  });

  it.each<['architecture' | 'libc', string]>([
    ['architecture', 'The base backup does not tell on what architecture; this host is x64'],
    ['libc', 'The base backup does not tell with which libc; this host has glibc 2.36'],
  ])('is refused where the base backup does not tell the %s, and told what to say', (difference, message) => {
    const { host, ...rest } = sampleBase(new Date(0));
    const manifest = { ...rest, host: { ...host, [difference]: 'unknown' } };
    const here = { ...like, versionNumber: manifest.server.versionNumber };
    const [problem] = findHostProblems(manifest, here);
    expect(problem).toMatchObject({ code: 'HOST_DIFFERS' });
    expect(problem?.message).toContain(message);
    expect(problem?.hint).toContain(`--despite ${difference}.`);
    expect(findHostProblems(manifest, here, new Set([difference]))).toEqual([]);
  });

  it('is refused without a server, and told everything at once', () => {
    expect(refusal(() => check({ versionNumber: undefined }, ['version'])).hint).toContain(
      'Install PostgreSQL 15',
    );
    const both = refusal(() => check({ architecture: 'arm64', libc: 'musl' }));
    expect(both).toMatchObject({ code: 'PREFLIGHT_FAILED' });
    expect(both.problems).toHaveLength(2);
  });
});

describe('The cluster of a recovery', () => {
  const old = simple();
  const oldWindow = old.window();
  const upgraded = new WalBucket().base('20:10', lsnOf(3, 40), lsnOf(3, 312)).segments(1, 3, 5, '21:00');
  const newWindow = {
    ...restorableWindow({ archive: upgraded.archive(), bases: upgraded.bases, commits: upgraded.commits }),
    systemIdentifier: '42',
  };
  const choose = (options: RecoveryOptions): string | undefined =>
    chooseCluster(parseRecoveryRequest(options), [newWindow, oldWindow])?.systemIdentifier;

  it('is the one that was there at the time, else the newest', () => {
    expect(choose({ toTime: clock('05:00').toISOString() })).toBe(oldWindow.systemIdentifier);
    expect(choose({ toTime: clock('20:30').toISOString() })).toBe('42');
    expect(choose({ toTime: clock('15:00').toISOString() })).toBe('42');
    expect(choose({ latest: true })).toBe('42');
    expect(choose({ latest: true, base: 'hostmaster_base_20260117_020000' })).toBe(
      oldWindow.systemIdentifier,
    );
    expect(chooseCluster(parseRecoveryRequest({ latest: true }), [])).toBeUndefined();
  });
});
