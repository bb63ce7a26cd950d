import { z } from 'zod';

/** When the nightly run starts: 02:00 UTC unless said otherwise. */
export const scheduleSchema = z.strictObject({
  at: z
    .string()
    .regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'is no time of day such as 02:00')
    .default('02:00')
    .describe('Time of day, every day.'),
  timeZone: z
    .string()
    .refine(isTimeZone, 'is no time zone such as Europe/Berlin')
    .optional()
    .describe(
      'Without it the time is UTC. A time that daylight saving repeats runs once; one that it skips on some day is refused.',
    ),
});

export type Schedule = z.infer<typeof scheduleSchema>;

/** `cron(0 2 * * ? *)`, for an EventBridge rule and the scheduler alike. */
export function cronExpression({ at }: Schedule): string {
  const [hour, minute] = at.split(':').map(Number);
  return `cron(${minute} ${hour} * * ? *)`;
}

/** Intl also takes `+02:00` and `europe/berlin`, which EventBridge Scheduler would refuse in the midst of a deployment. */
function isTimeZone(name: string): boolean {
  try {
    const { timeZone } = new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions();
    return /^[A-Z]/.test(name) && (timeZone === name || timeZone.toLowerCase() !== name.toLowerCase());
  } catch {
    return false;
  }
}
