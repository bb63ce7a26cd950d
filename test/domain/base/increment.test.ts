import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import { decideIncrement, type IncrementQuestion } from '../../../lib/domain/base/increment.ts';
import { CLUSTER, DAY_MS, HOUR_MS, sampleBase, sampleIncrement, storedBases } from './sample-base.ts';

const SUNDAY = new Date('2026-01-18T02:00:00Z');
const after = (days: number, hours = 0): Date => new Date(SUNDAY.getTime() + days * DAY_MS + hours * HOUR_MS);
const SERVER = { versionNumber: 17_00_04, systemIdentifier: CLUSTER, summarizesWal: true };
const full = sampleBase(SUNDAY);

function decide(manifests: readonly BaseManifest[], now: Date, rest: Partial<IncrementQuestion> = {}) {
  return decideIncrement({ wanted: true, server: SERVER, bases: storedBases(manifests), now, ...rest });
}

describe('An incremental base backup', () => {
  it('is built on the newest whole one, within a week of the full one', () => {
    const first = sampleIncrement(after(1), full);
    expect(decide([full], after(1))).toEqual({ type: 'incremental', parent: full });
    expect(decide([first, full], after(2))).toEqual({ type: 'incremental', parent: first });
    expect(decide([first, full], after(6, 3))).toMatchObject({ type: 'incremental' });
  });

  it('makes place for a full one in the same night a week later, a minute early too', () => {
    for (const now of [after(7), new Date(after(7).getTime() - 60_000)]) {
      expect(decide([full], now)).toEqual({
        type: 'full',
        reason: `the last full one, ${full.label}, is a week old`,
      });
    }
  });

  it('comes every night but one in a week, whatever the night’s delay, for months', () => {
    const made: BaseManifest[] = [];
    for (let night = 0; night < 60; night += 1) {
      // Up to half an hour after two, as a busy host may begin.
      const now = new Date(after(night).getTime() + ((night * 7) % 31) * 60_000);
      const answer = decide(made.toReversed(), now);
      made.push(answer.type === 'full' ? sampleBase(now) : sampleIncrement(now, answer.parent));
    }
    const nights = made.map(({ type }) => (type === 'full' ? 'F' : 'i')).join('');
    expect(nights).toMatch(/^(Fiiiiii)+F?i*$/);
    expect(Math.max(...made.map(({ chain }) => chain.length))).toBe(6);
  });

  it('is none that nobody asked for', () => {
    expect(decide([full], after(1), { wanted: false })).toEqual({ type: 'full', reason: undefined });
  });

  it.each<[string, Partial<IncrementQuestion['server']>, RegExp]>([
    ['of a server before 17', { versionNumber: 16_00_03 }, /PostgreSQL 16 has no incremental ones/],
    ['where the server keeps no account of changes', { summarizesWal: false }, /summarize_wal is off/],
    ['of another cluster', { systemIdentifier: '42' }, /no whole one of this cluster/],
  ])('cannot be had %s: a full one with the reason', (_what, server, reason) => {
    const answer = decide([full], after(1), { server: { ...SERVER, ...server } });
    expect(answer).toMatchObject({ type: 'full', reason: expect.stringMatching(reason) as string });
  });

  it('passes over what is damaged, has a broken chain, or comes from the future', () => {
    const first = sampleIncrement(after(1), full);
    const second = sampleIncrement(after(2), first);
    const bases = storedBases([second, first, full], [`${first.label}/wal-00001.tar.zst`]);
    expect(decide([], after(3), { bases })).toEqual({ type: 'incremental', parent: full });
    const damaged = sampleBase(after(1), { pageChecksums: { verified: false, failures: 1 } });
    expect(decide([damaged, full], after(2))).toEqual({ type: 'incremental', parent: full });
    const ahead = sampleBase(after(30));
    expect(decide([ahead, full], after(1))).toEqual({ type: 'incremental', parent: full });
    expect(decide([sampleBase(SUNDAY, { backupManifest: null })], after(1))).toMatchObject({
      type: 'full',
      reason: expect.stringContaining('has no backup manifest') as string,
    });
  });
});
