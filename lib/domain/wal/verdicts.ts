import { z } from 'zod';
import type { ListedFile } from '../backup/catalog.ts';
import { parseBaseLabel } from '../base/base-label.ts';
import { LifeboatError } from '../errors.ts';
import { formatDocument } from '../versioned-document.ts';
import type { WalSeries } from './keys.ts';
import { timelineOfSegment } from './segment.ts';

/**
 * What a verification found, where others than its host can see it: objects of the state bucket, written once, whose keys say it
 * all, so that who may only list learns it too. An object is written when a base backup or a segment is found damaged, and when one
 * that was is found sound again; of several that counts which S3 received last, whatever its host's clock said.
 */

const VERDICT_SCHEMA_VERSION = 1;

const verdictSchema = z.object({
  schemaVersion: z.literal(VERDICT_SCHEMA_VERSION),
  kind: z.literal('verdict'),
  app: z.string(),
  systemIdentifier: z.string(),
  /** A base backup's label, or a complete segment's name. */
  object: z.string(),
  found: z.enum(['damaged', 'sound']),
  /** By the host's clock, for people. */
  at: z.iso.datetime(),
  runId: z.string(),
  /** For people; null of a sound one. */
  why: z.string().nullable(),
});

export type Verdict = z.infer<typeof verdictSchema>;

export function formatVerdict(verdict: Verdict): string {
  const kind = { schema: verdictSchema, version: VERDICT_SCHEMA_VERSION, name: 'verdict' };
  return formatDocument(kind, verdict);
}

/** Ends in a slash. */
export function verdictPrefix({ app, systemIdentifier }: WalSeries): string {
  return `verdicts/${app}/${systemIdentifier}/`;
}

/** `verdicts/<app>/<system>/<object>/20260117T085459.123Z-damaged.json`. */
export function verdictKey({
  app,
  systemIdentifier,
  object,
  at,
  found,
}: Pick<Verdict, 'app' | 'systemIdentifier' | 'object' | 'at' | 'found'>): string {
  if (!isVerifiable(object))
    throw new LifeboatError('BUG', `${JSON.stringify(object)} is neither a base backup nor a segment`);
  return `${verdictPrefix({ app, systemIdentifier })}${object}/${at.replaceAll(/[-:]/g, '')}-${found}.json`;
}

function isVerifiable(object: string): boolean {
  return parseBaseLabel(object) !== undefined || timelineOfSegment(object) !== undefined;
}

const KEY =
  /^verdicts\/[^/]+\/[1-9]\d{0,19}\/(?<object>[^/]+)\/\d{8}T\d{6}\.\d{3}Z-(?<found>damaged|sound)\.json$/;

/** The object that a key tells of; `undefined`: it is no verdict's. */
export function objectOfVerdict(key: string): string | undefined {
  const object = KEY.exec(key)?.groups?.['object'];
  return object !== undefined && isVerifiable(object) ? object : undefined;
}

export interface Damage {
  /** When S3 received the word; ISO 8601, UTC. */
  readonly at: string;
  /** For people. */
  readonly why: string;
}

/** As a listing tells it, its key without the store's prefix. */
export type VerdictFile = Pick<ListedFile, 'key' | 'modifiedAt'>;

/** By object: since when and why it counts as damaged. @param files of one cluster, in any order */
export function damagedBy(files: Iterable<VerdictFile>): Map<string, Damage> {
  const damaged = new Map<string, Damage>();
  for (const { key, modifiedAt } of [...files].toSorted(byReceipt)) {
    const object = objectOfVerdict(key);
    if (object === undefined) continue;
    const at = modifiedAt.toISOString();
    const why = `a verification at ${at.slice(0, 10)} ${at.slice(11, 16)} UTC found it damaged`;
    if (KEY.exec(key)!.groups!['found'] === 'sound') damaged.delete(object);
    else damaged.set(object, { at, why });
  }
  return damaged;
}

/** S3 tells whole seconds; within one the key's time decides. */
function byReceipt(one: VerdictFile, other: VerdictFile): number {
  const later = one.modifiedAt.getTime() - other.modifiedAt.getTime();
  if (later !== 0) return later;
  return one.key < other.key ? -1 : 1;
}
