/** `rate(5 minutes)` and `cron(0 2 * * ? *)`, as EventBridge's rules and its Scheduler read them. */

interface WallTime {
  readonly minute: number;
  readonly hour: number;
  readonly day: number;
  readonly month: number;
  readonly year: number;
  /** 1 = Sunday, as EventBridge counts. */
  readonly weekday: number;
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];
const MINUTE = 60_000;
const UNITS: Readonly<Record<string, number>> = { minute: MINUTE, hour: 60 * MINUTE, day: 24 * 60 * MINUTE };

/**
 * Whether the schedule fires in the minute of `time`. A time of day that the zone's clocks skip comes on no such day, and of
 * one that they repeat only the first does, as with EventBridge Scheduler.
 * @throws Error for an expression that EventBridge would refuse
 */
export function isDue(expression: string, time: Date, timeZone = 'UTC'): boolean {
  const rate = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(expression);
  if (rate) {
    const period = Number(rate[1]) * (UNITS[rate[2] ?? ''] ?? MINUTE);
    return Math.floor(time.getTime() / MINUTE) % (period / MINUTE) === 0;
  }
  return isCronDue(expression, time, timeZone) && !isSecondTime(time, timeZone);
}

function isCronDue(expression: string, time: Date, timeZone: string): boolean {
  const cron = /^cron\((.+)\)$/.exec(expression)?.[1]?.split(/\s+/);
  if (cron?.length !== 6) throw new Error(`${JSON.stringify(expression)} is no schedule`);
  const [minute, hour, day, month, weekday, year] = cron as [string, string, string, string, string, string];
  if ((day === '?') === (weekday === '?'))
    throw new Error(`${expression}: exactly one of day of month and day of week must be "?"`);
  const wall = wallTime(time, timeZone);
  return (
    fits(minute, wall.minute, []) &&
    fits(hour, wall.hour, []) &&
    fits(day, wall.day, []) &&
    fits(month, wall.month, MONTHS) &&
    fits(weekday, wall.weekday, WEEKDAYS) &&
    fits(year, wall.year, [])
  );
}

/** Clocks are put back by half an hour to two hours. */
function isSecondTime(time: Date, timeZone: string): boolean {
  const shown = JSON.stringify(wallTime(time, timeZone));
  const earlier = [30, 60, 120].map((minutes) => new Date(time.getTime() - minutes * MINUTE));
  return earlier.some((before) => JSON.stringify(wallTime(before, timeZone)) === shown);
}

/** The first full minute after `after` at which the schedule fires, within two days. */
export function nextTime(expression: string, after: Date, timeZone = 'UTC'): Date | undefined {
  const first = Math.floor(after.getTime() / MINUTE) * MINUTE + MINUTE;
  for (let time = first; time < first + 2 * 24 * 60 * MINUTE; time += MINUTE) {
    if (isDue(expression, new Date(time), timeZone)) return new Date(time);
  }
  return undefined;
}

/** Lists, ranges and steps; what only whole calendars need (L, W, #) is refused. */
function fits(field: string, value: number, names: readonly string[]): boolean {
  return field.split(',').some((part) => {
    if (part === '*' || part === '?') return true;
    const [range = '', step] = part.split('/');
    const [from = '', to] = range.split('-');
    const low = range === '*' ? 0 : numberOf(from, names);
    const high =
      range === '*' || (step !== undefined && to === undefined) ? Infinity : numberOf(to ?? from, names);
    return value >= low && value <= high && (value - low) % Number(step ?? 1) === 0;
  });
}

function numberOf(text: string, names: readonly string[]): number {
  const name = names.indexOf(text.toUpperCase());
  const number = name < 0 ? Number(text) : name + 1;
  if (!Number.isInteger(number) || text === '')
    throw new Error(`${JSON.stringify(text)} in a cron expression`);
  return number;
}

function wallTime(time: Date, timeZone: string): WallTime {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    weekday: 'short',
  });
  const parts = Object.fromEntries(format.formatToParts(time).map(({ type, value }) => [type, value]));
  return {
    minute: Number(parts['minute']),
    hour: Number(parts['hour']),
    day: Number(parts['day']),
    month: Number(parts['month']),
    year: Number(parts['year']),
    weekday: WEEKDAYS.indexOf((parts['weekday'] ?? '').toUpperCase()) + 1,
  };
}
