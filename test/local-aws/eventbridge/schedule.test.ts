import { isDue, nextTime } from '../../../scripts/local-aws/eventbridge/schedule.ts';

describe('isDue', () => {
  it.each([
    ['cron(0 2 * * ? *)', '2026-01-17T02:00:30Z', true],
    ['cron(0 2 * * ? *)', '2026-01-17T02:01:00Z', false],
    ['cron(0/15 8-10 ? * MON-FRI *)', '2026-01-16T09:45:00Z', true],
    ['cron(0/15 8-10 ? * MON-FRI *)', '2026-01-17T09:45:00Z', false],
    ['cron(0 0 1 JAN,JUL ? 2026)', '2026-07-01T00:00:00Z', true],
    ['rate(5 minutes)', '2026-01-17T02:05:00Z', true],
    ['rate(5 minutes)', '2026-01-17T02:06:00Z', false],
    ['rate(1 hour)', '2026-01-17T03:00:00Z', true],
  ])('%s at %s: %s', (expression, time, due) => {
    expect(isDue(expression, new Date(time))).toBe(due);
  });

  it('reads the wall clock of a time zone', () => {
    expect(isDue('cron(0 2 * * ? *)', new Date('2026-07-17T00:00:00Z'), 'Europe/Berlin')).toBe(true);
  });

  it.each(['every night', 'cron(0 2 * * * *)', 'cron(0 2 * *)'])('refuses %s', (expression) => {
    expect(() => isDue(expression, new Date())).toThrow();
  });
});

describe('nextTime', () => {
  it('is the next full minute at which the schedule fires', () => {
    const after = new Date('2026-01-17T02:00:00Z');
    expect(nextTime('cron(0 2 * * ? *)', after)?.toISOString()).toBe('2026-01-18T02:00:00.000Z');
    expect(nextTime('rate(5 minutes)', after)?.toISOString()).toBe('2026-01-17T02:05:00.000Z');
  });

  const night = (after: string): string | undefined =>
    nextTime('cron(30 2 * * ? *)', new Date(after), 'Europe/Berlin')?.toISOString();

  it('comes on no day whose clocks skip the time, as with EventBridge Scheduler', () => {
    expect(night('2027-03-26T12:00:00Z')).toBe('2027-03-27T01:30:00.000Z');
    // On the 28th 01:59 is followed by 03:00.
    expect(night('2027-03-27T01:30:00Z')).toBe('2027-03-29T00:30:00.000Z');
  });

  it('comes once on the day whose clocks repeat the time', () => {
    expect(night('2027-10-30T12:00:00Z')).toBe('2027-10-31T00:30:00.000Z');
    expect(night('2027-10-31T00:30:00Z')).toBe('2027-11-01T01:30:00.000Z');
  });
});
