import type { BackupCopy, CopyState } from '../../../lib/domain/backup/catalog.ts';
import { decideRetention } from '../../../lib/domain/backup/retention.ts';

const DAY = 24 * 60 * 60 * 1000;
const now = new Date('2026-03-01T02:00:00Z');

function copy(daysOld: number, state: CopyState = 'complete'): BackupCopy {
  const time = new Date(now.getTime() - daysOld * DAY);
  return {
    id: `d${daysOld}`,
    store: 'local',
    state,
    detail: undefined,
    time,
    manifest: undefined,
    files: [],
    dump: undefined,
  };
}

function goes(copies: readonly BackupCopy[], days = 7, pinned: readonly string[] = []): string[] {
  const decisions = decideRetention(copies, { days, now, pinned: new Set(pinned) });
  return decisions.filter(({ expire }) => expire).map(({ copy: { id } }) => id);
}

describe('Retention', () => {
  it('lets go what is as old as the limit once a newer one stands', () => {
    expect(goes([copy(0), copy(6.9), copy(7), copy(8)])).toEqual(['d7', 'd8']);
  });

  it('never lets the newest verified backup go, however old', () => {
    expect(goes([copy(400), copy(500)])).toEqual(['d500']);
    expect(goes([copy(400)])).toEqual([]);
  });

  it('takes nothing but a complete backup for a replacement', () => {
    for (const state of ['damaged', 'unreadable', 'without manifest', 'unfinished'] as const) {
      expect(goes([copy(0, state), copy(20), copy(30)])).toEqual(['d30']);
      expect(goes([copy(0, state), copy(20, 'without manifest')])).toEqual([]);
    }
  });

  it('keeps what is newer than the newest verified one, whatever its state and age', () => {
    expect(goes([copy(20, 'damaged'), copy(30)])).toEqual([]);
  });

  it('lets orphans and dumps of earlier scripts go like any other', () => {
    expect(goes([copy(1), copy(9, 'without manifest'), copy(10, 'unfinished')])).toEqual(['d9', 'd10']);
  });

  it('takes nothing that is dated in the future for newer than the newest', () => {
    expect(goes([copy(-400), copy(40), copy(50)])).toEqual(['d50']);
    expect(goes([copy(-400)])).toEqual([]);
  });

  it('keeps what is pinned', () => {
    expect(goes([copy(0), copy(9), copy(10)], 7, ['d10'])).toEqual(['d9']);
  });

  it('gives each verdict a reason', () => {
    const reasons = decideRetention([copy(0), copy(1), copy(9)], { days: 7, now }).map(
      ({ reason }) => reason,
    );
    expect(reasons).toEqual([
      'the newest verified backup is never removed',
      '1 day old, kept for 7 days',
      '9 days old, kept for 7 days; newer: d0',
    ]);
  });

  it('keeps a good backup at every moment of two years with outages, failures and clock skew', () => {
    let seed = 42;
    const random = (): number => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;
    let stored: BackupCopy[] = [];
    let outage = 0;
    let everGood = false;
    for (let day = 0; day < 730; day += 1) {
      const today = new Date(
        now.getTime() + day * DAY + (random() - 0.5) * DAY * (random() < 0.02 ? 40 : 0.1),
      );
      if (outage === 0 && random() < 0.03) outage = Math.floor(random() * 60);
      else if (outage > 0) outage -= 1;
      if (outage === 0) {
        const state: CopyState = random() < 0.9 ? 'complete' : random() < 0.5 ? 'unfinished' : 'damaged';
        everGood ||= state === 'complete';
        stored.push({ ...copy(0, state), id: `n${day}`, time: today });
      }
      const decisions = decideRetention(stored, { days: 30, now: today });
      for (const { copy: gone, expire } of decisions) {
        if (expire) expect(today.getTime() - gone.time.getTime()).toBeGreaterThanOrEqual(30 * DAY);
      }
      stored = decisions.filter(({ expire }) => !expire).map(({ copy: kept }) => kept);
      if (everGood) expect(stored.some(({ state }) => state === 'complete')).toBe(true);
    }
    expect(stored.length).toBeLessThan(90);
  });
});
