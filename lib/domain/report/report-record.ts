import { z } from 'zod';

/** `report.json`: whoever wrote it publishes the message that it holds. */
const reportRecordSchema = z.object({
  runId: z.string(),
  claimedAt: z.iso.datetime(),
  /** The invocation's id: a retry of the same invocation knows that its first try is over. */
  claimedBy: z.string(),
  succeeded: z.boolean(),
  subject: z.string(),
  body: z.string(),
});

export type ReportRecord = z.infer<typeof reportRecordSchema>;

/** `undefined` for what is no such record. */
export function parseReportRecord(json: string): ReportRecord | undefined {
  try {
    return reportRecordSchema.parse(JSON.parse(json));
  } catch {
    return undefined;
  }
}

/** A publisher that has not finished after this long is dead: publishing takes seconds. */
const PUBLISHER_DEAD_MS = 5 * 60 * 1000;

/** Whether a claim that has no `reported.json` is to be published again, by whoever looks at it now. */
export function isAbandoned(record: ReportRecord, who: { now: Date; requestId: string }): boolean {
  if (record.claimedBy === who.requestId) return true;
  return who.now.getTime() - new Date(record.claimedAt).getTime() > PUBLISHER_DEAD_MS;
}
