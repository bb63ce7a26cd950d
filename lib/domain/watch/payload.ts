import { z } from 'zod';
import { LifeboatError } from '../errors.ts';
import { describeIssues } from '../start/payload.ts';

/** What the watch is invoked with: EventBridge's event, or by hand. */
export interface WatchPayload {
  /** `all`: tag in every folder now, not only in those whose turn it is. */
  readonly retention?: 'all' | undefined;
}

/** As far as it tells EventBridge from a person. */
const scheduledSchema = z.object({ source: z.literal('aws.events'), 'detail-type': z.string() });

const payloadSchema = z.strictObject({ retention: z.literal('all').optional() });

/** @throws LifeboatError USAGE naming every problem, with what is expected as its hint */
export function parseWatchPayload(event: unknown): WatchPayload {
  if (scheduledSchema.safeParse(event).success) return {};
  const parsed = payloadSchema.safeParse(event ?? {});
  if (parsed.success) return parsed.data;
  const problems = describeIssues(parsed.error).map((line) => `- ${line}`);
  throw new LifeboatError('USAGE', `The payload is wrong:\n${problems.join('\n')}`, {
    hint: 'Expected is {} to look now, or {"retention":"all"} to tag in every folder now what the lifecycle may remove',
  });
}
