import { clockWasSet, failedVerifications, type RunRecord } from '../../../lib/domain/run/run-record.ts';

const HOUR = 60 * 60 * 1000;
const start = Date.parse('2026-01-01T02:00:00Z');

function record(change: Partial<RunRecord>): RunRecord {
  return {
    at: new Date(start).toISOString(),
    operation: 'backup',
    runId: 'r',
    succeeded: true,
    durationMs: 1,
    ...change,
  };
}

function night(day: number, offset = 0, id = 'boot'): RunRecord {
  return record({
    at: new Date(start + day * 24 * HOUR + offset).toISOString(),
    boot: { id, uptimeMs: day * 24 * HOUR },
  });
}

describe('The clock', () => {
  const now = { time: new Date(start + 3 * 24 * HOUR), boot: { id: 'boot', uptimeMs: 3 * 24 * HOUR } };

  it('is trusted while it advances as the host’s uptime does', () => {
    expect(clockWasSet([night(0), night(1, 20_000), night(2)], now)).toBe(false);
    expect(clockWasSet([], now)).toBe(false);
  });

  it('is not trusted when it jumped since one of the last runs of this boot', () => {
    const jumped = { ...now, time: new Date(now.time.getTime() + 365 * 24 * HOUR) };
    expect(clockWasSet([night(0), night(1)], jumped)).toBe(true);
    expect(clockWasSet([night(0, -365 * 24 * HOUR), night(1)], now)).toBe(true);
  });

  it('says nothing across a reboot', () => {
    expect(clockWasSet([night(0, 365 * 24 * HOUR, 'another boot'), record({})], now)).toBe(false);
  });
});

describe('The verifications on record', () => {
  it('mark a copy as wrong until it is proven right again, and only when it was looked at', () => {
    const verify = (change: Partial<RunRecord>) =>
      record({ operation: 'verify', store: 'local', id: 'a', ...change });
    const wrong = verify({ succeeded: false, code: 'CORRUPT', message: 'differs' });
    expect(failedVerifications([wrong], 'local')).toEqual(new Map([['a', 'differs']]));
    expect(failedVerifications([wrong], 's3').size).toBe(0);
    expect(failedVerifications([wrong, verify({})], 'local').size).toBe(0);
    expect(failedVerifications([verify({ succeeded: false, code: 'S3_UNAVAILABLE' })], 'local').size).toBe(0);
  });
});
