import type { RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';
import { parseLsn } from '../../../lib/domain/wal/lsn.ts';
import { requireReplayedWhole } from '../../../scripts/agent/recovery/replayed-whole.ts';

const COMMIT = parseLsn('0/5000100');

function planTo(target: RecoveryPlan['target']): RecoveryPlan {
  return {
    target,
    latest: { lsn: COMMIT, time: '2026-01-17T08:54:59.000000Z' },
    wal: [
      { name: '000000010000000000000004', start: parseLsn('0/4000000'), end: parseLsn('0/5000000') },
      { name: '000000010000000000000005', start: parseLsn('0/5000000'), end: parseLsn('0/5000180') },
    ],
    base: { manifest: { server: { walSegmentSize: 16 * 1024 * 1024 } } },
  } as unknown as RecoveryPlan;
}

describe('Whether a recovery that went to the end of the WAL has replayed all of it', () => {
  const latest = planTo({ kind: 'latest' });
  const reaching = (lsn: string | undefined, asked = '') => ({
    lsn: lsn === undefined ? undefined : parseLsn(lsn),
    asked,
    said: '',
  });

  it.each(['0/5000100', '0/5000138', '0/6000000'])('it has at %s, at or behind the last commit', (lsn) => {
    expect(() => requireReplayedWhole(latest, reaching(lsn))).not.toThrow();
  });

  it('it has not before the last commit, and PostgreSQL’s reason is told', () => {
    const said = `2026-01-17 09:00:00.000 UTC [7] LOG:  starting archive recovery
2026-01-17 09:00:01.000 UTC [7] LOG:  incorrect resource manager data checksum in record at 0/4001000
2026-01-17 09:00:01.000 UTC [7] LOG:  redo done at 0/4000FC8`;
    expect(() => requireReplayedWhole(latest, { ...reaching('0/4001000'), said })).toThrow(
      expect.objectContaining({
        code: 'CORRUPT',
        message: expect.stringMatching(
          /beyond 0\/4001000, in 000000010000000000000004 \(incorrect resource manager data checksum in record at 0\/4001000\).* 0\/5000100/,
        ),
        hint: expect.stringContaining('--to-lsn 0/4001000.'),
      }),
    );
  });

  it('it has at the LSN asked for, though a commit behind it cannot be read', () => {
    const before = planTo({ kind: 'lsn', lsn: parseLsn('0/4001000'), inclusive: true });
    expect(() => requireReplayedWhole(before, reaching('0/4001000'))).not.toThrow();
    expect(() => requireReplayedWhole(before, reaching('0/4000FF8'))).toThrow(/beyond 0\/4000FF8/);
  });

  it('is told by the segment asked for last where the paused server does not answer', () => {
    const early = reaching(undefined, '000000010000000000000004');
    expect(() => requireReplayedWhole(latest, early)).toThrow(/in 000000010000000000000004\./);
    for (const asked of ['000000010000000000000005', '000000010000000000000006', '', '00000002.history'])
      expect(() => requireReplayedWhole(latest, reaching(undefined, asked))).not.toThrow();
  });
});
