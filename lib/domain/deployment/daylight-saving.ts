import { LifeboatError } from '../errors.ts';
import type { Schedule } from './schedule.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Every rule of a year comes up twice; later ones parliaments may change. */
const DAYS_AHEAD = 2 * 366;
/** No clock is put forward at any other than a quarter of an hour. */
const QUARTERS = Array.from({ length: 96 }, (_, index) => index * 15);

/**
 * EventBridge Scheduler starts nothing on a day on which the clocks jump over the time of day; a time that they repeat it
 * takes once (https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#daylist-savings-time).
 * @throws LifeboatError SETTINGS_INVALID naming the nights without a backup, and a time that every day has
 */
export function refuseSkippedNights(schedule: Schedule, now: Date): void {
  const { at, timeZone } = schedule;
  if (timeZone === undefined) return;
  const days = skippedDays(minutesOf(at), timeZone, now);
  if (days.length === 0) return;
  throw new LifeboatError(
    'SETTINGS_INVALID',
    `schedule.at: ${timeZone} has no ${at} on ${days.join(', ')}, when its clocks are put forward: EventBridge ` +
      'Scheduler would skip the backup of that night',
    {
      hint: `Set schedule.at to ${nextSafeTime(at, timeZone, now)}, or leave schedule.timeZone out: UTC skips nothing.`,
    },
  );
}

function nextSafeTime(at: string, timeZone: string, now: Date): string {
  const from = minutesOf(at);
  const later = [...QUARTERS.filter((minutes) => minutes > from), ...QUARTERS];
  const safe = later.find((minutes) => skippedDays(minutes, timeZone, now).length === 0) ?? from;
  return [Math.floor(safe / 60), safe % 60].map((part) => String(part).padStart(2, '0')).join(':');
}

/** The coming days, as `2027-03-28`, on which the zone's clocks never show that time. */
function skippedDays(minutes: number, timeZone: string, now: Date): string[] {
  const wall = wallClock(timeZone);
  const today = Math.floor(wall(now.getTime()) / DAY_MS) * DAY_MS;
  const days = Array.from({ length: DAYS_AHEAD }, (_, index) => today + index * DAY_MS);
  return days
    .filter((day) => !isShown(day + minutes * MINUTE_MS, wall))
    .map((day) => new Date(day).toISOString().slice(0, 10));
}

/** Whatever the zone's offset was a day before and will be a day after: one of them holds at the time, if it exists. */
function isShown(time: number, wall: (instant: number) => number): boolean {
  return [time - DAY_MS, time + DAY_MS].some((near) => {
    const instant = time - (wall(near) - near);
    return wall(instant) === time;
  });
}

/** What a zone's clocks show at an instant, as the instant at which those of UTC show the same. */
function wallClock(timeZone: string): (instant: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  });
  return (instant) => {
    const parts = format.formatToParts(instant);
    const part = (wanted: string): number => Number(parts.find(({ type }) => type === wanted)?.value);
    return Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'));
  };
}

function minutesOf(at: string): number {
  const [hour = 0, minute = 0] = at.split(':').map(Number);
  return hour * 60 + minute;
}
