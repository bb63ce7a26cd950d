import {
  damagedBy,
  formatVerdict,
  objectOfVerdict,
  verdictKey,
  verdictPrefix,
  type Verdict,
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

  it('counts for each object with its latest word, whatever the order of the listing', () => {
    const keys = [
      key({ at: '2026-01-18T08:00:00.000Z', found: 'sound' }),
      key({}),
      key({ object: SEGMENT, at: '2026-01-18T08:00:00.000Z' }),
      key({ object: SEGMENT, at: '2026-01-17T08:00:00.000Z', found: 'sound' }),
      'verdicts/hostmaster/7300000000000000001/README',
    ];
    const damage = {
      at: '2026-01-18T08:00:00.000Z',
      why: 'a verification at 2026-01-18 08:00 UTC found it damaged',
    };
    expect([...damagedBy(keys)]).toEqual([[SEGMENT, damage]]);
  });
});
