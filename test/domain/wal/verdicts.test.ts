import {
  damagedBy,
  formatVerdict,
  objectOfVerdict,
  verdictKey,
  verdictPrefix,
  type Verdict,
  type VerdictFile,
} from '../../../lib/domain/wal/verdicts.ts';

const LABEL = 'hostmaster_base_20260117_020000';
const SEGMENT = '0000000200000016000000B3';
const VERDICT: Verdict = {
  schemaVersion: 1,
  kind: 'verdict',
  app: 'hostmaster',
  systemIdentifier: '7300000000000000001',
  object: LABEL,
  found: 'damaged',
  at: '2026-01-17T08:54:59.123Z',
  runId: 'r',
  why: 'base-00001.tar.zst has another SHA-256',
};
const key = (change: Partial<Verdict>): string => verdictKey({ ...VERDICT, ...change });

describe('What a verification leaves in the state bucket', () => {
  it('says in its key of which base backup or segment it is, when, and what', () => {
    expect(key({})).toBe(
      `verdicts/hostmaster/7300000000000000001/${LABEL}/20260117T085459.123Z-damaged.json`,
    );
    expect(key({}).startsWith(verdictPrefix(VERDICT))).toBe(true);
    expect([key({}), key({ object: SEGMENT })].map(objectOfVerdict)).toEqual([LABEL, SEGMENT]);
    expect(JSON.parse(formatVerdict(VERDICT))).toEqual(VERDICT);
  });

  it.each(['', 'x', '../x', `${LABEL}/x`, '0000000000000016000000B3'])('has none of %j', (object) => {
    expect(() => key({ object })).toThrow(/neither a base backup nor a segment/);
    expect(
      objectOfVerdict(`verdicts/hostmaster/7300000000000000001/${object}/20260117T085459.123Z-damaged.json`),
    ).toBeUndefined();
  });

  const received = (at: string, change: Partial<Verdict>): VerdictFile => ({
    key: key({ at, ...change }),
    modifiedAt: new Date(at),
  });

  it('counts for each object with its latest word, whatever the order of the listing', () => {
    const files = [
      received('2026-01-18T08:00:00.000Z', { found: 'sound' }),
      received('2026-01-17T08:54:59.123Z', {}),
      received('2026-01-18T08:00:00.000Z', { object: SEGMENT }),
      received('2026-01-17T08:00:00.000Z', { object: SEGMENT, found: 'sound' }),
      { key: 'verdicts/hostmaster/7300000000000000001/README', modifiedAt: new Date() },
    ];
    const damage = {
      at: '2026-01-18T08:00:00.000Z',
      why: 'a verification at 2026-01-18 08:00 UTC found it damaged',
    };
    expect([...damagedBy(files)]).toEqual([[SEGMENT, damage]]);
    expect([...damagedBy(files.toReversed())]).toEqual([[SEGMENT, damage]]);
  });

  it('counts by when S3 received it: a host whose clock is ahead has not the last word for ever', () => {
    const ahead = {
      ...received('2026-01-17T08:00:00.000Z', {}),
      key: key({ at: '9999-12-31T00:00:00.000Z' }),
    };
    const sound = received('2026-01-17T08:05:00.000Z', { found: 'sound' });
    expect([...damagedBy([ahead, sound])]).toEqual([]);
    const again = received('2026-01-17T09:00:00.000Z', {});
    expect(damagedBy([sound, again, ahead]).get(LABEL)).toEqual({
      at: '2026-01-17T09:00:00.000Z',
      why: 'a verification at 2026-01-17 09:00 UTC found it damaged',
    });
  });

  it('goes by the time in the key within the second that S3 tells', () => {
    const modifiedAt = new Date('2026-01-17T08:00:01.000Z');
    const [damaged, sound] = [
      { key: key({ at: '2026-01-17T08:00:00.100Z' }), modifiedAt },
      { key: key({ at: '2026-01-17T08:00:00.900Z', found: 'sound' }), modifiedAt },
    ];
    expect([...damagedBy([sound, damaged])]).toEqual([]);
  });
});
