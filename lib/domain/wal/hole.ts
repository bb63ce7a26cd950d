import { z } from 'zod';
import { formatDocument, parseDocument } from '../versioned-document.ts';
import { tryParseLsn } from './lsn.ts';
import { tryParsePgTime } from './pg-time.ts';

/**
 * The record of WAL that is lost for good: written once, by who found that the server has it no more. The window is
 * computed from the WAL that is there; the record adds why a stretch is missing, and since when.
 */

const HOLE_SCHEMA_VERSION = 1;

const lsn = z.string().refine((text) => tryParseLsn(text) !== undefined, 'no LSN');
const time = z.string().refine((text) => tryParsePgTime(text) !== undefined, 'no time in UTC');

export const holeRecordSchema = z.object({
  schemaVersion: z.literal(HOLE_SCHEMA_VERSION),
  kind: z.literal('hole'),
  app: z.string(),
  systemIdentifier: z.string().regex(/^[1-9]\d{0,19}$/),
  timeline: z.number().int().min(1).max(0xffff_ffff),
  /** First byte that is missing. */
  from: lsn,
  /** First byte that is there again. */
  to: lsn,
  /** Time of the last commit before it, with microseconds; null when none is known. */
  since: time.nullable(),
  /** When it was found. */
  recordedAt: z.iso.datetime(),
  runId: z.string(),
  /** For people: what the server said. */
  reason: z.string(),
});

export type HoleRecord = z.infer<typeof holeRecordSchema>;

const DOCUMENT = {
  schema: holeRecordSchema,
  version: HOLE_SCHEMA_VERSION,
  name: 'record of a hole',
};

/** @throws ZodError: what is written must be what can be read */
export function formatHoleRecord(record: HoleRecord): string {
  return formatDocument(DOCUMENT, record);
}

/** @throws LifeboatError MANIFEST_NEWER for a later schema version, CORRUPT for anything that is no record of a hole */
export function parseHoleRecord(text: string, where: string): HoleRecord {
  return parseDocument(DOCUMENT, text, where);
}
