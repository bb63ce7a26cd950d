import { catalogBases, type Base } from '../../../lib/domain/base/base-catalog.ts';
import { decideBaseRetention, decideWithVerdicts } from '../../../lib/domain/base/base-floor.ts';
import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import type { ListedFile } from '../../../lib/domain/backup/catalog.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { readWalListing, type WalArchive } from '../../../lib/domain/wal/archive.ts';
import {
  baseManifestKey,
  basePrefix,
  historyKey,
  holeKey,
  journalKey,
  partialWalKey,
  walKey,
  type WalSeries,
} from '../../../lib/domain/wal/keys.ts';
import { formatLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import { DEFAULT_SEGMENT_SIZE } from '../../../lib/domain/wal/segment.ts';
import type { TimelineSwitch } from '../../../lib/domain/wal/timeline.ts';
import { withoutDamaged } from '../../../lib/domain/wal/damaged-wal.ts';
import { decidePitrRetention, judgeWalOf, type PitrDecision } from '../../../lib/domain/wal/wal-retention.ts';
import { at, incrementalManifest } from '../base/manifests.ts';
import { lsnOf, nameOf, SERIES } from './wal-bucket.ts';

const DAY_MS = 86_400_000;
const START = Date.UTC(2026, 0, 1, 2);
const day = (count: number): Date => new Date(START + count * DAY_MS);

/** One segment a day, with the day's number; base backups in the midst of them. */
class Month {
  readonly manifests: BaseManifest[] = [];
  readonly files: ListedFile[] = [];
  readonly histories = new Map<number, TimelineSwitch[]>();
  readonly unreadable = new Map<string, Error>();
  readonly series: WalSeries;

  constructor(series: WalSeries = SERIES) {
    this.series = series;
  }

  put(key: string, modifiedAt: Date): this {
    this.files.push({ key, size: 1000, modifiedAt });
    return this;
  }

  wal(timeline: number, first: number, last: number): this {
    for (let each = first; each <= last; each += 1) {
      this.put(walKey(this.series, timeline, nameOf(timeline, each)), day(each));
    }
    return this;
  }

  base(time: number, overrides: Partial<BaseManifest> = {}, parent?: BaseManifest): BaseManifest {
    const ends = { startLsn: formatLsn(lsnOf(time, 40)), stopLsn: formatLsn(lsnOf(time, 312)) };
    const full = at(day(time), { ...ends, ...overrides });
    const times = {
      label: full.label,
      startedAt: full.startedAt,
      finishedAt: full.finishedAt,
      stopTime: full.stopTime,
    };
    const manifest = parent ? incrementalManifest(parent, { ...ends, ...times, ...overrides }) : full;
    const server = { ...manifest.server, systemIdentifier: this.series.systemIdentifier };
    this.manifests.push({ ...manifest, server });
    return this.manifests.at(-1)!;
  }

  history(timeline: number, left: number, switchLsn: Lsn, time: number): this {
    this.histories.set(timeline, [{ timeline: left, switchLsn, reason: '' }]);
    return this.put(historyKey(this.series, timeline), day(time));
  }

  get bases(): Base[] {
    const files = this.manifests.flatMap(({ label, volumes, backupManifest, finishedAt }) => {
      const prefix = basePrefix(this.series, label);
      const named = [...volumes, backupManifest!, { key: 'manifest.json', size: 5000 }];
      return named.map(({ key, size }) => ({ key: prefix + key, size, modifiedAt: new Date(finishedAt) }));
    });
    const read = this.manifests.map((each) => {
      return [baseManifestKey(this.series, each.label), this.unreadable.get(each.label) ?? each] as const;
    });
    return catalogBases('hostmaster', { files, manifests: new Map(read) });
  }

  archive(): WalArchive {
    const { series, files, histories } = this;
    return readWalListing({ series, segmentSize: DEFAULT_SEGMENT_SIZE, files, histories });
  }
}

interface Verdict {
  readonly bases: Record<string, string>;
  readonly wal: Record<string, string>;
}

/** `gone`, or why it stays. */
function verdict(
  month: Month,
  now: number,
  options: { pinned?: string[]; proven?: string[]; others?: ListedFile[]; more?: Month } = {},
): Verdict {
  const { pinned = [], proven = [], others = [], more } = options;
  const retention = decidePitrRetention(
    {
      bases: [...month.bases, ...(more?.bases ?? [])],
      archives: [month.archive(), ...(more ? [more.archive()] : [])],
      others,
    },
    { days: 7, now: day(now), pinned: new Set(pinned), proven: new Set(proven) },
  );
  const says = ({ expire, reason }: { expire: boolean; reason: string }): string =>
    expire ? 'gone' : reason;
  const wal = retention.objects.filter(({ key }) => !key.includes('/base/'));
  return {
    bases: Object.fromEntries(retention.bases.map((each) => [each.base.label.slice(16, 24), says(each)])),
    wal: Object.fromEntries(
      wal.map((each) => [each.key.split('/').slice(4).join('/') || each.key.split('/').at(-1)!, says(each)]),
    ),
  };
}

const walOf = ({ wal }: Verdict): string[] =>
  Object.entries(wal)
    .filter(([, says]) => says === 'gone')
    .map(([key]) => `${Number.parseInt(key.slice(0, 8), 16)}/${Number.parseInt(key.slice(25, 33), 16)}`);

const NEWEST = 'the newest verified base backup is never removed';
const FLOOR = 'recovery to the first of the last 7 days begins with it';

describe('Retention of base backups in S3', () => {
  it('keeps the days asked for, and the base backup that recovery to the first of them begins with', () => {
    const month = new Month().wal(1, 0, 20);
    for (const each of [0, 4, 8, 12, 16, 20]) month.base(each);
    expect(verdict(month, 20.5).bases).toEqual({
      '20260121': NEWEST,
      '20260117': '4 days old, kept for 7 days',
      '20260113': FLOOR,
      '20260109': 'gone',
      '20260105': 'gone',
      '20260101': 'gone',
    });
    expect(verdict(month, 18.9).bases).toMatchObject({
      '20260113': '6 days old, kept for 7 days',
      '20260109': FLOOR,
    });
  });

  it('never removes the newest verified one, however old, nor what a restore has proven, nor what is pinned', () => {
    const month = new Month().wal(1, 0, 9);
    const [first, second, third] = [month.base(0), month.base(1), month.base(2)];
    expect(verdict(month, 900).bases).toEqual({ '20260103': NEWEST, '20260102': 'gone', '20260101': 'gone' });
    const kept = verdict(month, 900, { pinned: [second.label], proven: [first.label] }).bases;
    expect(kept).toMatchObject({
      '20260102': 'pinned',
      '20260101': 'the newest base backup that a restore has proven is never removed',
    });
    expect(third.label).toContain('20260103');
  });

  it('lets nothing that is damaged, unfinished or from the future take the place of a good one', () => {
    const month = new Month().wal(1, 0, 20);
    month.base(0);
    month.base(3, { pageChecksums: { verified: true, failures: 2 } });
    const unreadable = month.base(4);
    month.unreadable.set(unreadable.label, new LifeboatError('MANIFEST_NEWER', 'newer'));
    expect(verdict(month, 40).bases).toEqual({
      '20260105': 'no newer verified base backup stands',
      '20260104': 'no newer verified base backup stands',
      '20260101': NEWEST,
    });
    const future = new Month();
    future.base(0);
    future.base(5000);
    const received = future.bases.map((base) => {
      if (base.label.includes('20260101')) return base;
      return { ...base, files: base.files.map((file) => ({ ...file, modifiedAt: day(1) })) };
    });
    const decisions = decideBaseRetention(received, [], { days: 7, now: day(40) });
    expect(decisions.map(({ expire }) => expire)).toEqual([false, false]);
  });

  it('keeps a chain’s members as long as the youngest that builds on them', () => {
    const month = new Month().wal(1, 0, 20);
    const full = month.base(0);
    const monday = month.base(1, {}, full);
    month.base(2, {}, monday);
    month.base(3, {}, full);
    month.base(7);
    const label = (each: number): string => `hostmaster_base_2026010${each + 1}_020000`;
    expect(verdict(month, 9.5).bases).toEqual({
      '20260108': NEWEST,
      '20260104': '6 days old, kept for 7 days',
      '20260103': FLOOR,
      '20260102': `${label(2)} builds on it`,
      '20260101': expect.stringMatching(/builds on it$/),
    });
    expect(verdict(month, 10.5).bases).toMatchObject({
      '20260104': FLOOR,
      '20260103': 'gone',
      '20260102': 'gone',
    });
    expect(verdict(month, 14.5).bases).toMatchObject({ '20260104': 'gone', '20260101': 'gone' });
  });

  it('keeps what a backup that cannot be read may build on', () => {
    const month = new Month().wal(1, 0, 20);
    const full = month.base(0);
    const monday = month.base(1, {}, full);
    const unreadable = month.base(12, {}, monday).label;
    month.unreadable.set(unreadable, new LifeboatError('MANIFEST_NEWER', 'newer'));
    month.base(13);
    expect(verdict(month, 30).bases).toMatchObject({
      '20260113': 'gone',
      '20260102': 'gone',
      '20260101': 'gone',
    });
    const needed = `${unreadable} builds on it`;
    expect(verdict(month, 30, { pinned: [unreadable] }).bases).toMatchObject({
      '20260102': needed,
      '20260101': needed,
    });
  });

  it('lets an old cluster go when the new one’s backup is verified, and not before', () => {
    const old = new Month().wal(1, 0, 9);
    old.base(0);
    old.base(8, { startTimeline: 1 });
    const upgraded = new Month({ ...SERIES, systemIdentifier: '42' }).wal(1, 10, 30);
    expect(verdict(old, 60, { more: upgraded }).bases).toMatchObject({ '20260109': NEWEST });
    upgraded.base(10);
    upgraded.base(30);
    expect(verdict(old, 12, { more: upgraded }).bases).toMatchObject({ '20260101': FLOOR });
    const later = verdict(old, 60, { more: upgraded });
    expect(later.bases).toMatchObject({
      '20260131': NEWEST,
      '20260111': 'gone',
      '20260109': 'gone',
      '20260101': 'gone',
    });
    expect(walOf(later)).toContain('1/8');
  });

  it('keeps an old enough backup whose timeline is still in use, also under another timeline', () => {
    const month = new Month().wal(1, 0, 3).history(2, 1, lsnOf(4), 4).wal(2, 4, 30);
    month.base(0);
    month.base(2);
    expect(verdict(month, 30).bases).toEqual({ '20260103': NEWEST, '20260101': 'gone' });
    month.base(29, { startTimeline: 2, stopTimeline: 2 });
    expect(verdict(month, 30).bases).toMatchObject({ '20260103': FLOOR, '20260101': 'gone' });
    month.histories.delete(2);
    const lost = 'where timeline 2 comes from is not known, so it may be needed';
    expect(verdict(month, 30)).toMatchObject({ bases: { '20260103': lost, '20260101': lost } });
    expect(walOf(verdict(month, 30))).toEqual([]);
  });
});

describe('Retention of WAL in S3', () => {
  it('keeps what any base backup that stays needs, and lets the older go', () => {
    const month = new Month().wal(1, 0, 20);
    for (const each of [1, 4, 12, 20]) month.base(each);
    const now = verdict(month, 20.5);
    expect(now.bases).toMatchObject({ '20260113': FLOOR });
    expect(walOf(now)).toEqual(Array.from({ length: 12 }, (_, each) => `1/${each}`));
    expect(now.wal[`00000001/${nameOf(1, 12)}.zst`]).toBe('hostmaster_base_20260113_020000 needs it');
    // The newest that stays decides nothing: a pinned one of old keeps all WAL since.
    expect(walOf(verdict(month, 20.5, { pinned: ['hostmaster_base_20260102_020000'] }))).toEqual(['1/0']);
  });

  it('keeps the days asked for where no base backup needs it, and everything while none stands', () => {
    const month = new Month().wal(1, 0, 30);
    expect(walOf(verdict(month, 30.5))).toEqual([]);
    expect(Object.values(verdict(month, 30.5).wal)[0]).toBe('no newer verified base backup stands');
    month.base(30);
    expect(walOf(verdict(month, 30.5))).toHaveLength(24);
    expect(verdict(month, 30.5).wal[`00000001/${nameOf(1, 24)}.zst`]).toBe('6 days old, kept for 7 days');
  });

  it('keeps an ancestor’s WAL that leads on to the timeline in use, and no branch that nothing can be recovered on', () => {
    const month = new Month().wal(1, 0, 9).history(2, 1, lsnOf(4, 500), 10).wal(2, 10, 20);
    month.base(3);
    month.base(6);
    month.put(walKey(SERIES, 2, nameOf(2, 4)), day(10)).put(walKey(SERIES, 2, nameOf(2, 5)), day(10));
    for (const each of [6, 7, 8, 9]) month.put(walKey(SERIES, 2, nameOf(2, each)), day(10));
    const early = verdict(month, 20);
    // Timeline 2 passes through the backup of day 3, not through that of day 6.
    expect(early.bases).toMatchObject({ '20260107': NEWEST, '20260104': FLOOR });
    expect(walOf(early)).toEqual(['1/0', '1/1', '1/2']);
    month.base(21, { startTimeline: 2, stopTimeline: 2 });
    const late = verdict(month, 40);
    expect(late.bases).toMatchObject({ '20260122': NEWEST, '20260107': 'gone', '20260104': 'gone' });
    expect(walOf(late)).toHaveLength(10 + 17);
    expect(late.wal['00000002.history']).toBe(
      'it says which timelines there were, and something of the cluster stays',
    );
  });

  it('lets journal pieces go a day after their segment is complete, others as the WAL they are', () => {
    const month = new Month().wal(1, 0, 20);
    month.base(20);
    const piece = (segment: number, time: number): string => {
      const key = journalKey(SERIES, 1, nameOf(1, segment), lsnOf(segment), lsnOf(segment, 99));
      month.put(key, day(time));
      return key;
    };
    const superseded = piece(19, 18.5);
    const fresh = piece(20, 20);
    const open = piece(21, 13);
    const forgotten = new Map(
      decidePitrRetention(
        { bases: month.bases, archives: [month.archive()] },
        { days: 7, now: day(20.5) },
      ).objects.map(({ key, expire, reason }) => [key, { expire, reason }]),
    );
    expect(forgotten.get(superseded)).toEqual({ expire: true, reason: 'its segment is complete in S3' });
    expect(forgotten.get(fresh)).toEqual({ expire: false, reason: 'its segment is complete in S3' });
    expect(forgotten.get(open)).toEqual({
      expire: false,
      reason: 'hostmaster_base_20260121_020000 needs it',
    });
  });

  it('keeps the journal’s pieces of a segment that a verification called damaged: they may be all that is left', () => {
    const month = new Month().wal(1, 0, 20);
    month.base(16);
    const key = journalKey(SERIES, 1, nameOf(1, 18), lsnOf(18), lsnOf(18, 99));
    month.put(key, day(17.5));
    const policy = { days: 7, now: day(20.5) };
    const decisions = decideBaseRetention(month.bases, [month.archive()], policy);
    const says = (...damaged: string[]): PitrDecision => {
      const judge = judgeWalOf(month.archive(), decisions, policy, new Set(damaged));
      return judge.piece({ key, size: 99, modifiedAt: day(17.5) })!;
    };
    expect(says()).toMatchObject({ expire: true });
    expect(says(nameOf(1, 17))).toMatchObject({ expire: true });
    expect(says(nameOf(1, 18))).toMatchObject({
      expire: false,
      reason: `${month.manifests[0]!.label} needs it`,
    });
  });

  it('lets no more go, only less, where it believes that a segment is damaged', () => {
    // S3 was away: it received in one day what was written in three.
    const month = new Month().wal(1, 0, 0).wal(1, 4, 20);
    for (const late of [1, 2, 3]) month.put(walKey(SERIES, 1, nameOf(1, late)), day(14));
    month.base(0);
    month.base(3);
    month.base(20);
    const listed = month.archive();
    const policy = { days: 7, now: day(20.5) };
    const gone = (...segments: number[]): string[] => {
      const damage = { at: day(20).toISOString(), why: 'a verification found it damaged' };
      const damaged = new Map(segments.map((each) => [nameOf(1, each), damage]));
      const verified = withoutDamaged(listed, damaged);
      const views = { listed: month.bases, verified: month.bases };
      const decisions = decideWithVerdicts(views, [{ listed, verified }], policy);
      return decisions.flatMap(({ base, expire }) => (expire ? [base.label.slice(16, 24)] : []));
    };
    expect(withoutDamaged(listed, new Map([[nameOf(1, 99), { at: '', why: '' }]]))).toBe(listed);
    expect(gone()).toEqual(['20260101']);
    expect(gone(2)).toEqual([]);
    expect(gone(2, 3, 8)).toEqual([]);
    expect([...listed.segments.keys()]).toHaveLength(21);
  });

  it('lets partial segments, holes and at last the history files go with the rest', () => {
    const month = new Month().wal(1, 0, 3).history(2, 1, lsnOf(4, 500), 4);
    month.base(1);
    const partial = partialWalKey(SERIES, 1, nameOf(1, 4));
    month.put(partial, day(4));
    const hole = { key: holeKey(SERIES, 1, lsnOf(2), lsnOf(3)), size: 300, modifiedAt: day(3) };
    const other = new Month({ ...SERIES, systemIdentifier: '42' });
    const standing = verdict(month, 60, { others: [hole], more: other });
    expect(Object.values(standing.wal)).toContain('hostmaster_base_20260102_020000 needs it');
    other.base(50);
    const gone = verdict(month, 60, { others: [hole], more: other });
    expect(new Set(Object.values(gone.wal))).toEqual(new Set(['gone']));
    expect(Object.keys(gone.wal)).toHaveLength(7);
  });

  it('keeps WAL that a backup whose manifest cannot be read may need', () => {
    const month = new Month().wal(1, 0, 30);
    const newer = month.base(20);
    month.unreadable.set(newer.label, new LifeboatError('MANIFEST_NEWER', 'newer'));
    month.base(30);
    const { wal, bases } = verdict(month, 30.5, { pinned: [newer.label] });
    expect(bases).toMatchObject({ '20260121': 'pinned' });
    expect(wal[`00000001/${nameOf(1, 19)}.zst`]).toContain('whose manifest cannot be read, may need it');
    expect(walOf({ bases, wal })).toHaveLength(19);
  });

  it('gives every object of every listing exactly one verdict', () => {
    const month = new Month().wal(1, 0, 9).history(2, 1, lsnOf(4), 5);
    month.base(0);
    month.base(9);
    const { objects } = decidePitrRetention(
      { bases: month.bases, archives: [month.archive()] },
      { days: 7, now: day(40) },
    );
    expect(new Set(objects.map(({ key }) => key)).size).toBe(objects.length);
    expect(objects).toHaveLength(10 + 1 + 2 * 5);
  });
});
