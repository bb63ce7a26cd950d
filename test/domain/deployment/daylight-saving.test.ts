import { refuseSkippedNights } from '../../../lib/domain/deployment/daylight-saving.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';

const NOW = new Date('2026-11-23T12:00:00Z');

function refusal(at: string, timeZone?: string, now = NOW): LifeboatError | undefined {
  try {
    refuseSkippedNights({ at, timeZone }, now);
  } catch (error) {
    if (error instanceof LifeboatError) return error;
    throw error;
  }
  return undefined;
}

describe('A time of day that the clocks skip', () => {
  it('is refused with the nights that would have no backup, and with a time that every day has', () => {
    const { code, message, hint } = refusal('02:00', 'Europe/Berlin') ?? {};
    expect(code).toBe('SETTINGS_INVALID');
    expect(message).toContain('Europe/Berlin has no 02:00 on 2027-03-28, 2028-03-26');
    expect(hint).toContain('Set schedule.at to 03:00');
  });

  it.each([
    ['02:59', 'Europe/Berlin', '03:00'],
    ['02:00', 'America/New_York', '03:00'],
    // Half an hour only.
    ['02:00', 'Australia/Lord_Howe', '02:30'],
    ['00:00', 'Africa/Cairo', '01:00'],
    // Over midnight.
    ['23:30', 'America/Nuuk', '00:00'],
  ])('%s in %s gives way to %s', (at, timeZone, other) => {
    expect(refusal(at, timeZone)?.hint).toContain(`to ${other},`);
    expect(refusal(other, timeZone)).toBeUndefined();
  });

  it.each([
    ['01:59', 'Europe/Berlin'],
    ['03:00', 'Europe/Berlin'],
    ['02:00', 'Europe/London'],
    ['02:00', 'Asia/Kolkata'],
    ['02:00', 'UTC'],
    ['02:00', undefined],
  ])('is not %s in %s', (at, timeZone) => {
    expect(refusal(at, timeZone)).toBeUndefined();
  });

  it('is not missed on the eve of the change', () => {
    expect(refusal('02:30', 'Europe/Berlin', new Date('2027-03-27T23:30:00Z'))?.message).toContain(
      '2027-03-28',
    );
  });
});
