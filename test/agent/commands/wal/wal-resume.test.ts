import { formatLsnDigits } from '../../../../lib/domain/wal/lsn.ts';
import { segmentName } from '../../../../lib/domain/wal/segment.ts';
import { timelinePath } from '../../../../lib/domain/wal/timeline.ts';
import { MOST_NEIGHBOURS } from '../../../../scripts/agent/commands/wal/wal-push.ts';
import { MOST_AHEAD } from '../../../../scripts/agent/commands/wal/wal-receiver.ts';
import { findResumePoints, type ResumeInput } from '../../../../scripts/agent/commands/wal/wal-resume.ts';
import { memoryArchive, type MemoryArchive } from './wal-memory-archive.ts';

const SIZE = 1024 * 1024;
const at = (segment: number, offset = 0): bigint => BigInt(segment) * BigInt(SIZE) + BigInt(offset);

function holding(segments: readonly number[], timeline = 1): MemoryArchive {
  const archive = memoryArchive();
  hold(archive, segments, timeline);
  return archive;
}

function hold(archive: MemoryArchive, segments: readonly number[], timeline: number): void {
  for (const segment of segments)
    archive.objects.set(segmentName(timeline, at(segment), SIZE), Buffer.alloc(1));
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_value, index) => from + index);

async function resume(archive: MemoryArchive, input: Partial<ResumeInput>) {
  return await findResumePoints(archive, {
    path: timelinePath(1, []),
    segmentSize: SIZE,
    slotRestart: undefined,
    flushLsn: at(9_999),
    ...input,
  });
}

const SWITCHED = timelinePath(2, [{ timeline: 1, switchLsn: at(20, 500), reason: '' }]);

describe('Where streaming goes on', () => {
  it('is where the slot holds WAL from while S3 has nothing, at the segment’s start', async () => {
    expect(await resume(memoryArchive(), { slotRestart: at(5, 77) })).toEqual({
      wanted: { timeline: 1, from: at(5) },
      promised: { timeline: 1, from: at(5) },
      compared: undefined,
    });
  });

  it('is after the segments that S3 holds without a gap, looked for from where the slot is', async () => {
    const archive = holding([...range(3, 300), 301, 302]);
    expect((await resume(archive, { slotRestart: at(10, 5) })).wanted.from).toBe(at(300));
    expect((await resume(archive, { slotRestart: at(300, 5) })).wanted.from).toBe(at(300));
  });

  it('is where S3’s WAL ends although the slot is gone, was made anew, or is further on', async () => {
    const archive = holding(range(3, 40));
    expect(await resume(archive, { slotRestart: undefined })).toMatchObject({ wanted: { from: at(40) } });
    expect(await resume(archive, { slotRestart: at(50, 9) })).toEqual({
      wanted: { timeline: 1, from: at(40) },
      promised: { timeline: 1, from: at(50) },
      compared: at(39),
    });
  });

  it('is a segment that was under way when the run before was killed, though later ones arrived', async () => {
    const archive = holding([...range(3, 37), 38, 39]);
    expect((await resume(archive, { slotRestart: undefined })).wanted.from).toBe(at(37));
    expect((await resume(archive, { slotRestart: at(60) })).wanted.from).toBe(at(37));
  });

  it('is that segment too although a slot made anew begins behind it, which was confirmed nothing', async () => {
    const archive = holding([...range(3, 37), ...range(38, 61)]);
    expect(await resume(archive, { slotRestart: at(45, 9) })).toEqual({
      wanted: { timeline: 1, from: at(37) },
      promised: { timeline: 1, from: at(45) },
      compared: at(36),
    });
  });

  it('is found however far ahead of it segments were stored, with a slot made anew and without one', async () => {
    for (const ahead of [MOST_AHEAD, MOST_NEIGHBOURS]) {
      const archive = holding([...range(3, 200), ...range(201, 201 + ahead)]);
      for (const slotRestart of [undefined, at(201 + ahead), at(202, 5)]) {
        expect((await resume(archive, { slotRestart })).wanted.from).toBe(at(200));
      }
    }
  });

  it('is behind a recorded hole, and never before what S3 first held, with a slot that begins shortly after', async () => {
    const archive = holding([...range(3, 30), 36, 37, 38]);
    const hole = { timeline: 1, since: undefined, recordedAt: new Date(), reason: '' };
    archive.recorded.push({ ...hole, from: at(30), to: at(35) });
    expect((await resume(archive, { slotRestart: at(38) })).wanted.from).toBe(at(35));
    expect((await resume(holding(range(36, 40)), { slotRestart: at(38) })).wanted.from).toBe(at(40));
  });

  it('is the first segment where no more than pieces of it arrived, or later ones alone, with a slot or without', async () => {
    const piece = (segment: number, timeline = 1): [string, Buffer] => [
      `${segmentName(timeline, at(segment), SIZE)}.${formatLsnDigits(at(segment))}`,
      Buffer.alloc(1),
    ];
    const begun = holding([]);
    begun.objects.set(...piece(10));
    for (const slotRestart of [undefined, at(10, 5), at(14)])
      expect((await resume(begun, { slotRestart })).wanted.from).toBe(at(10));
    const ahead = holding([11, 12, 13]);
    ahead.objects.set(...piece(10));
    for (const slotRestart of [undefined, at(10, 5), at(12), at(14)])
      expect((await resume(ahead, { slotRestart })).wanted.from).toBe(at(10));
    // Never confirmed, whatever arrived before it.
    expect((await resume(holding([11, 12]), { slotRestart: at(9, 7) })).wanted.from).toBe(at(9));
    const later = holding([11, 12]);
    later.objects.set(...piece(10));
    expect((await resume(later, { slotRestart: at(9, 7) })).wanted.from).toBe(at(9));
  });

  it('is a timeline’s first segment where that did not arrive, but the ones behind it did', async () => {
    const archive = holding(range(10, 20));
    archive.objects.set(`${segmentName(1, at(20), SIZE)}.partial`, Buffer.alloc(1));
    hold(archive, [21, 22, 23], 2);
    for (const slotRestart of [undefined, at(22), at(24)]) {
      const { wanted } = await resume(archive, { path: SWITCHED, slotRestart });
      expect(wanted).toEqual({ timeline: 2, from: at(20) });
    }
    const hole = { timeline: 2, since: undefined, recordedAt: new Date(), reason: '' };
    archive.recorded.push({ ...hole, from: at(20), to: at(21) });
    for (const slotRestart of [undefined, at(22), at(24)]) {
      const { wanted } = await resume(archive, { path: SWITCHED, slotRestart });
      expect(wanted).toEqual({ timeline: 2, from: at(24) });
    }
    // Nor is the end of the timeline before looked for within it.
    archive.objects.delete(`${segmentName(1, at(20), SIZE)}.partial`);
    expect((await resume(archive, { path: SWITCHED, slotRestart: undefined })).wanted).toEqual({
      timeline: 2,
      from: at(24),
    });
  });

  it('is on the timeline that the slot is on, whatever became of the end of the one before', async () => {
    const archive = holding(range(10, 20));
    hold(archive, [20, 21, 23], 2);
    for (const slotRestart of [at(22), at(24)]) {
      const { wanted } = await resume(archive, { path: SWITCHED, slotRestart });
      expect(wanted).toEqual({ timeline: 2, from: at(22) });
    }
  });

  it('is not within a hole that is on record', async () => {
    const archive = holding([...range(3, 30), ...range(35, 40)]);
    const hole = { timeline: 1, since: undefined, recordedAt: new Date(), reason: '' };
    archive.recorded.push({ ...hole, from: at(30, 1234), to: at(35) });
    expect((await resume(archive, { slotRestart: undefined })).wanted.from).toBe(at(40));
    expect((await resume(archive, { slotRestart: at(38, 1) })).wanted.from).toBe(at(40));
    archive.recorded.push({ ...hole, from: at(40), to: at(44) });
    expect((await resume(archive, { slotRestart: at(44) })).wanted.from).toBe(at(44));
    expect((await resume(archive, { slotRestart: undefined })).wanted.from).toBe(at(44));
  });

  it('is the end of the timeline that was left, until S3 has its last segment', async () => {
    const archive = holding(range(10, 20));
    expect((await resume(archive, { path: SWITCHED, slotRestart: at(12) })).wanted).toEqual({
      timeline: 1,
      from: at(20),
    });
    archive.objects.set(`${segmentName(1, at(20), SIZE)}.partial`, Buffer.alloc(1));
    expect((await resume(archive, { path: SWITCHED, slotRestart: at(12) })).wanted).toEqual({
      timeline: 2,
      from: at(20),
    });
    hold(archive, [20, 21], 2);
    expect((await resume(archive, { path: SWITCHED, slotRestart: at(12) })).wanted).toEqual({
      timeline: 2,
      from: at(22),
    });
    expect((await resume(archive, { path: SWITCHED, slotRestart: undefined })).wanted).toEqual({
      timeline: 2,
      from: at(22),
    });
  });

  it('takes no notice of what the old primary wrote after its successor had begun', async () => {
    const archive = holding(range(10, 25));
    // The new primary's slot was made at its promotion.
    expect(await resume(archive, { path: SWITCHED, slotRestart: at(20, 800) })).toEqual({
      wanted: { timeline: 2, from: at(20) },
      promised: { timeline: 2, from: at(20) },
      compared: undefined,
    });
    const hole = { timeline: 1, since: undefined, recordedAt: new Date(), reason: '' };
    archive.recorded.push({ ...hole, from: at(22), to: at(24) });
    expect((await resume(archive, { path: SWITCHED, slotRestart: at(20, 800) })).wanted).toEqual({
      timeline: 2,
      from: at(20),
    });
  });
});
