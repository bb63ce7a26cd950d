import { isUsable, type UsableBase } from '../../../lib/domain/base/base-catalog.ts';
import { describePassedOver, findPassedOver } from '../../../lib/domain/base/passed-over.ts';
import type { RecoveryTarget } from '../../../lib/domain/base/recovery-target.ts';
import { DAY_MS, sampleBase, sampleIncrement, storedBases } from './sample-base.ts';

const SUNDAY = new Date('2026-01-18T02:00:00Z');
const after = (days: number): Date => new Date(SUNDAY.getTime() + days * DAY_MS);
const full = sampleBase(SUNDAY);
const first = sampleIncrement(after(1), full);
const second = sampleIncrement(after(2), first);

const toTime = (time: string): RecoveryTarget => ({ kind: 'time', time, inclusive: true });

describe('Base backups that are passed over', () => {
  const bases = storedBases([second, first, full], [`${first.label}/wal-00001.tar.zst`]);
  const chosen = bases.find(isUsable) as UsableBase;

  it('are those nearer to the target than the chosen one, that cannot be used', () => {
    expect(chosen.label).toBe(full.label);
    const passedOver = findPassedOver(bases, chosen, { kind: 'latest' });
    expect(passedOver.map(({ label }) => label)).toEqual([second.label, first.label]);
    expect(describePassedOver(passedOver[0]!, chosen)).toBe(
      `${second.label} cannot be used, chain broken: ${first.label}, which it builds on, is damaged: wal-00001.tar.zst is missing. ${full.label} before it is taken, with the WAL since then`,
    );
  });

  it('are not those that ended after the time asked for', () => {
    const target = toTime('2026-01-19T12:00:00.000000Z');
    expect(findPassedOver(bases, chosen, target).map(({ label }) => label)).toEqual([first.label]);
    expect(findPassedOver(bases, chosen, toTime('2026-01-18T12:00:00.000000Z'))).toEqual([]);
  });

  it('are neither whole ones, nor ones without a manifest, nor another cluster’s', () => {
    const manifests = [sampleBase(after(3)), full];
    const unfinished = storedBases(manifests, [`${manifests[0]!.label}/manifest.json`]);
    expect(findPassedOver(unfinished, chosen, { kind: 'latest' })).toEqual([]);
    const other = sampleBase(after(1), {
      server: { ...full.server, systemIdentifier: '42' },
    });
    const mixed = storedBases([other, full], [`${other.label}/wal-00001.tar.zst`]);
    expect(mixed.some(({ state }) => state === 'damaged')).toBe(true);
    expect(findPassedOver(mixed, chosen, { kind: 'latest' })).toEqual([]);
    expect(findPassedOver(storedBases([second, first, full]), chosen, { kind: 'latest' })).toEqual([]);
  });
});
