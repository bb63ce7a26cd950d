import { z } from 'zod';
import { formatDocument } from '../versioned-document.ts';

/**
 * The record of a timeline that is in use again: the old cluster's, which an undone recovery in place put back although the
 * recovered one's has a higher number and S3 may have later commits of that one; or the recovered one's, put in place after that. All that is decided on it is in its key; the rest is for people.
 */

const IN_USE_SCHEMA_VERSION = 1;

const inUseSchema = z.object({
  schemaVersion: z.literal(IN_USE_SCHEMA_VERSION),
  kind: z.literal('in use'),
  app: z.string(),
  systemIdentifier: z.string(),
  timeline: z.number().int().min(1).max(0xffff_ffff),
  /** By the database host's clock. */
  at: z.iso.datetime(),
  /** Of the recovery that was undone. */
  runId: z.string(),
});

/** @throws ZodError: what is written must be what can be read */
export function formatInUse(record: z.infer<typeof inUseSchema>): string {
  return formatDocument(
    { schema: inUseSchema, version: IN_USE_SCHEMA_VERSION, name: 'record of a timeline' },
    record,
  );
}
