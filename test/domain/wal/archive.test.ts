import {
  followWal,
  nextAvailable,
  pathOf,
  timelinesOf,
  unclearPartials,
  WalArchiveBuilder,
  type WalFile,
} from '../../../lib/domain/wal/archive.ts';
import type { Lsn } from '../../../lib/domain/wal/lsn.ts';
import { lsnOf, nameOf, SERIES, WalBucket } from './wal-bucket.ts';

const MIB = 1024 * 1024;

function follow(bucket: WalBucket, timeline: number, from: Lsn): WalFile[] {
  const archive = bucket.archive();
  return [...followWal(archive, pathOf(archive, timeline), from)];
}

/** Each as `name kind end`, the end as the segment's number and MiB into it. */
function outline(files: readonly WalFile[]): string[] {
  return files.map(({ name, kind, end }) => {
    return `${name.slice(6, 8)}/${Number.parseInt(name.slice(16), 16)} ${kind} to ${end / lsnOf(1)}+${Number(end % lsnOf(1)) / MIB}`;
  });
}

describe('WAL that recovery can follow', () => {
  it('goes through complete segments, then the journal of the open one', () => {
    const bucket = new WalBucket()
      .segments(1, 1, 3)
      .piece(1, 4, [0, MIB])
      .piece(1, 4, [MIB, 3 * MIB]);
    expect(outline(follow(bucket, 1, lsnOf(2, 40)))).toEqual([
      '01/2 segment to 3+0',
      '01/3 segment to 4+0',
      '01/4 journal to 4+3',
    ]);
    expect(follow(bucket, 1, lsnOf(4, 3 * MIB))).toEqual([]);
    expect(follow(bucket, 1, lsnOf(9))).toEqual([]);
    expect(follow(new WalBucket(), 1, 0n)).toEqual([]);
  });

  it('ends where a segment is missing', () => {
    const bucket = new WalBucket().segments(1, 1, 3).segments(1, 5, 9).piece(1, 10, [0, MIB]);
    expect(outline(follow(bucket, 1, lsnOf(2))).at(-1)).toBe('01/3 segment to 4+0');
    expect(outline(follow(bucket, 1, lsnOf(5)))).toHaveLength(6);
  });

  it('takes a complete segment before its pieces, whose bytes it holds', () => {
    const bucket = new WalBucket()
      .segments(1, 1, 1)
      .piece(1, 1, [0, MIB])
      .piece(1, 2, [0, 2 * MIB]);
    expect(outline(follow(bucket, 1, lsnOf(1)))).toEqual(['01/1 segment to 2+0', '01/2 journal to 2+2']);
  });

  it('joins pieces in the order of the WAL, those alone that add something, and stops at a gap', () => {
    const bucket = new WalBucket()
      .piece(1, 1, [2 * MIB, 4 * MIB])
      .piece(1, 1, [0, MIB])
      .piece(1, 1, [0, 2 * MIB])
      .piece(1, 1, [MIB, 2 * MIB])
      .piece(1, 1, [3 * MIB, 5 * MIB])
      .piece(1, 1, [6 * MIB, 7 * MIB]);
    const [file, ...more] = follow(bucket, 1, lsnOf(1));
    expect(more).toEqual([]);
    expect(outline([file!])).toEqual(['01/1 journal to 1+5']);
    const ranges = file!.files.map(({ key }) =>
      key
        .split('/')
        .at(-1)!
        .replace('.zst', '')
        .split('-')
        .map((lsn) => Number(BigInt(`0x${lsn}`) - lsnOf(1)) / MIB),
    );
    expect(ranges).toEqual([
      [0, 2],
      [2, 4],
      [3, 5],
    ]);
  });

  it('needs a piece with the segment’s first byte', () => {
    expect(follow(new WalBucket().segments(1, 1, 1).piece(1, 2, [8, MIB]), 1, lsnOf(1))).toHaveLength(1);
  });

  it('takes a full set of pieces for the segment', () => {
    const bucket = new WalBucket()
      .segments(1, 1, 1)
      .piece(1, 2, [0, 16 * MIB])
      .segments(1, 3, 3);
    expect(outline(follow(bucket, 1, lsnOf(1)))).toEqual([
      '01/1 segment to 2+0',
      '01/2 journal to 3+0',
      '01/3 segment to 4+0',
    ]);
  });

  it('changes to the successor in the segment where its ancestor was left', () => {
    const bucket = new WalBucket().segments(1, 1, 3).history(2, [[1, lsnOf(4, 5 * MIB)]], '10:00');
    bucket.segments(2, 4, 5);
    const expected = ['01/3 segment to 4+0', '02/4 segment to 5+0', '02/5 segment to 6+0'];
    expect(outline(follow(bucket, 2, lsnOf(3)))).toEqual(expected);
    // The ancestor's own copy of that segment, complete or not, changes nothing.
    expect(outline(follow(bucket.partial(1, 4), 2, lsnOf(3)))).toEqual(expected);
    expect(outline(follow(bucket.segments(1, 4, 6), 2, lsnOf(3)))).toEqual(expected);
    expect(outline(follow(bucket, 1, lsnOf(3)))).toHaveLength(4);
  });

  it('goes as far as the ancestor’s last segment does while the successor’s is not there, or is shorter', () => {
    const bucket = new WalBucket()
      .segments(1, 1, 3)
      .partial(1, 4)
      .history(2, [[1, lsnOf(4, 5 * MIB)]], '10:00');
    const alone = ['01/3 segment to 4+0', '01/4 partial to 4+5'];
    expect(outline(follow(bucket, 2, lsnOf(3)))).toEqual(alone);
    bucket.piece(2, 4, [0, 2 * MIB]);
    expect(outline(follow(bucket, 2, lsnOf(3)))).toEqual(alone);
    bucket.piece(2, 4, [2 * MIB, 6 * MIB]);
    expect(outline(follow(bucket, 2, lsnOf(3)))).toEqual(['01/3 segment to 4+0', '02/4 journal to 4+6']);
  });

  it('never reads an ancestor’s WAL behind the place where it was left', () => {
    const bucket = new WalBucket()
      .segments(1, 1, 9)
      .history(2, [[1, lsnOf(4, 5 * MIB)]], '10:00')
      .segments(2, 6, 7);
    expect(outline(follow(bucket, 2, lsnOf(3)))).toEqual(['01/3 segment to 4+0', '01/4 segment to 4+5']);
    expect(outline(follow(bucket, 2, lsnOf(6)))).toEqual(['02/6 segment to 7+0', '02/7 segment to 8+0']);
  });

  it('changes at a segment’s border, and twice within one', () => {
    const border = new WalBucket()
      .segments(1, 1, 3)
      .history(2, [[1, lsnOf(4)]], '10:00')
      .segments(2, 4, 4);
    expect(outline(follow(border, 2, lsnOf(3)))).toEqual(['01/3 segment to 4+0', '02/4 segment to 5+0']);
    const twice = new WalBucket()
      .segments(1, 1, 3)
      .partial(2, 4)
      .history(
        3,
        [
          [1, lsnOf(4, MIB)],
          [2, lsnOf(4, 3 * MIB)],
        ],
        '10:00',
      );
    expect(outline(follow(twice, 3, lsnOf(3)))).toEqual(['01/3 segment to 4+0', '02/4 partial to 4+3']);
    expect(outline(follow(twice.segments(3, 4, 4), 3, lsnOf(3)))).toEqual([
      '01/3 segment to 4+0',
      '03/4 segment to 5+0',
    ]);
  });

  it('knows the end of a partial segment from a history alone', () => {
    const bucket = new WalBucket().segments(1, 1, 3).partial(1, 4);
    expect(outline(follow(bucket, 1, lsnOf(3)))).toEqual(['01/3 segment to 4+0']);
    bucket.history(2, [[1, lsnOf(4, 5 * MIB)]], '10:00');
    expect(outline(follow(bucket, 1, lsnOf(3)))).toEqual(['01/3 segment to 4+0', '01/4 partial to 4+5']);
    expect(outline(follow(bucket, 2, lsnOf(3))).at(-1)).toBe('01/4 partial to 4+5');
  });

  it.each([
    [undefined, '01/4 partial to 4+2'],
    [2 * MIB, '01/4 partial to 4+2'],
    [4 * MIB, '01/4 partial to 4+2'],
    [5 * MIB, '01/4 partial to 4+5'],
    [16 * MIB, '01/4 partial to 4+5'],
  ])(
    'takes no more of a partial segment than is in it, where its timeline was left twice: %s bytes',
    (size, expected) => {
      const twice = new WalBucket()
        .segments(1, 1, 3)
        .partial(1, 4, undefined, size)
        .history(2, [[1, lsnOf(4, 2 * MIB)]], '10:00')
        .history(3, [[1, lsnOf(4, 5 * MIB)]], '11:00');
      expect(outline(follow(twice, 1, lsnOf(3))).at(-1)).toBe(expected);
      expect(unclearPartials(twice.archive())).toEqual([nameOf(1, 4)]);
      // The journal of the timeline that went on has what the partial segment has not.
      const journal = twice.piece(1, 4, [0, 3 * MIB]);
      const whole = expected.endsWith('4+5') ? expected : '01/4 journal to 4+3';
      expect(outline(follow(journal, 1, lsnOf(3))).at(-1)).toBe(whole);
    },
  );
});

describe('What a listing holds', () => {
  it('of a damaged segment is nothing, neither its pieces nor a partial one, listed before or after it was found', () => {
    const bucket = new WalBucket().segments(1, 1, 3).partial(1, 2).piece(1, 2, [0, MIB]);
    const builder = new WalArchiveBuilder(SERIES, 16 * MIB);
    for (const file of bucket.files) builder.add(file);
    const damage = { at: '2026-01-17T12:00:00.000Z', why: 'a bit has flipped' };
    builder.setDamaged(new Map([[nameOf(1, 2), damage]]));
    for (const file of bucket.files) builder.add(file);
    const archive = builder.archive();
    expect([...archive.segments.keys()]).toEqual([nameOf(1, 1), nameOf(1, 3)]);
    expect([archive.partials.size, archive.pieces.size]).toEqual([0, 0]);
    expect(archive.holes).toMatchObject([{ from: '0/2000000', to: '0/3000000', reason: damage.why }]);
    builder.setHoles([]);
    builder.setDamaged(new Map());
    for (const file of bucket.files) builder.add(file);
    expect([archive.segments.size, archive.partials.size, archive.pieces.size]).toEqual([3, 1, 1]);
  });

  it('is this cluster’s alone, and of this segment size', () => {
    const bucket = new WalBucket().segments(1, 1, 1);
    const [{ key, ...file }] = bucket.files as [(typeof bucket.files)[number]];
    bucket.files.push(
      { key: key.replace('hostmaster', 'hostmaster_staging'), ...file },
      { key: key.replace('7300000000000000001', '7300000000000000002'), ...file },
      { key: key.replaceAll(nameOf(1, 1), '000000010000000000000FFF'), ...file },
      { key: 'hostmaster_db_20260117_020000.sql.gz', ...file },
    );
    const archive = bucket.archive();
    expect([...archive.segments.keys()]).toEqual([nameOf(1, 1)]);
    expect(archive.series).toEqual(SERIES);
  });

  it('tells its timelines, and where WAL goes on behind a gap', () => {
    const bucket = new WalBucket().segments(1, 1, 2).segments(1, 7, 8).segments(1, 5, 5).piece(3, 9, [0, 10]);
    bucket.history(2, [[1, lsnOf(8)]], '10:00');
    const archive = bucket.archive();
    expect(timelinesOf(archive)).toEqual([1, 2, 3]);
    expect(nextAvailable(archive, pathOf(archive, 1), lsnOf(3))).toBe(lsnOf(5));
    expect(nextAvailable(archive, pathOf(archive, 1), lsnOf(5, 1))).toBe(lsnOf(7));
    expect(nextAvailable(archive, pathOf(archive, 2), lsnOf(8))).toBeUndefined();
    expect(nextAvailable(archive, pathOf(archive, 1), lsnOf(9))).toBeUndefined();
  });
});
