import { z } from 'zod';
import { RUN_OPERATIONS } from './request.ts';

/**
 * How a run ended, as the host wrote it to the state bucket: `result.json`, once. It is authoritative; SSM's own word for
 * the run is only asked for when there is none. docs/formats.md explains every field.
 */

export const RESULT_SCHEMA_VERSION = 1;

const totals = z.object({ tables: z.int().nonnegative(), rows: z.int().nonnegative() });

const failure = z.object({ code: z.string(), message: z.string(), hint: z.string() });

const dump = z.object({
  id: z.string(),
  file: z.string(),
  bytes: z.int().nonnegative(),
  locations: z.array(z.string()),
  totals,
});

const base = z.object({
  label: z.string(),
  type: z.enum(['full', 'incremental']),
  /** The backup that an incremental one is combined with. */
  parent: z.string().nullable(),
  bytes: z.int().nonnegative(),
  rawBytes: z.int().nonnegative(),
  startLsn: z.string(),
  stopLsn: z.string(),
  /** The folder of its files, a path or an `s3://` URL. */
  location: z.string(),
  durationMs: z.number().nonnegative(),
  /** What can be recovered to from then on: instants, as PostgreSQL's clock told them; `null`: nobody could look. */
  restorable: z.object({ earliest: z.string(), latest: z.string(), holes: z.int().nonnegative() }).nullable(),
});

const dumpOutcome = dump.extend({ kind: z.literal('backup') });

/** Also of one that failed for the damaged pages in what it stored. */
const baseOutcome = base.extend({ kind: z.literal('base') });

/** Of a failed run what stands; `null`: that half failed. */
const bothOutcome = z.object({
  kind: z.literal('both'),
  dump: dump.extend({ durationMs: z.number().nonnegative() }).nullable(),
  base: base.nullable(),
});

/** What a recovery to a point in time reached. Times are ISO 8601, UTC. */
const recovered = z.object({
  /** In words, as in the request's source. */
  target: z.string(),
  base: z.string(),
  /** Of the recovered cluster, once promoted. */
  timeline: z.int().nullable(),
  lsn: z.string().nullable(),
  lastCommit: z.string().nullable(),
  /** What may be missing, in a sentence; `null`: the target is no time. */
  loss: z.string().nullable(),
  /** By the command's own names of its parts. */
  durationsMs: z.record(z.string(), z.number()),
  /** `null`: it was only the way to a database or to tables, and is gone. */
  cluster: z
    .object({
      dataDir: z.string(),
      state: z.enum(['open', 'paused', 'stopped']),
      /** Commands of a shell on the host. */
      look: z.string(),
      stop: z.string(),
      remove: z.string(),
    })
    .nullable(),
});

const restoreOutcome = z.object({
  kind: z.literal('restore'),
  source: z.string(),
  database: z.string(),
  /** `null`: the backup had no manifest to compare with. */
  checked: totals.nullable(),
  keptAs: z.string().nullable(),
  /** Of a recovery; without a cluster of its own `database` is what was loaded into. */
  recovered: recovered.optional(),
});

/** verify, status, list and retention: lines for people, and the command’s own JSON. */
const reportOutcome = z.object({
  kind: z.literal('report'),
  lines: z.array(z.string()),
  json: z.unknown(),
});

export const runResultSchema = z.object({
  schemaVersion: z.literal(RESULT_SCHEMA_VERSION),
  runId: z.string(),
  operation: z.enum([...RUN_OPERATIONS, 'restore']),
  app: z.string(),
  database: z.string(),
  /** The host’s name. */
  host: z.string(),
  instanceId: z.string(),
  /** The request's: only the host that was asked knows it. */
  nonce: z.string(),
  /** SSM’s; `null` when something else started the agent. */
  commandId: z.string().nullable(),
  agentVersion: z.string(),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  durationMs: z.number().nonnegative(),
  warnings: z.array(z.string()),
  /** `null` after a failure, unless something stands or was found all the same: half of two backups, a report. */
  outcome: z
    .discriminatedUnion('kind', [dumpOutcome, baseOutcome, bothOutcome, restoreOutcome, reportOutcome])
    .nullable(),
  /** `null` after success. */
  failure: failure.nullable(),
  /** A failed restore: whether the target is certainly as it was. */
  targetUntouched: z.boolean().optional(),
  exitStatus: z.int(),
});

export type RunResult = z.infer<typeof runResultSchema>;
export type RunOutcome = NonNullable<RunResult['outcome']>;
export type DumpFacts = z.infer<typeof dump>;
export type BaseFacts = z.infer<typeof base>;
export type RecoveredFacts = z.infer<typeof recovered>;

/** What the process that does the work, as the series’ user, tells the one that writes the result. */
export const workReportSchema = runResultSchema.pick({
  warnings: true,
  outcome: true,
  failure: true,
  targetUntouched: true,
  exitStatus: true,
});

export type WorkReport = z.infer<typeof workReportSchema>;

/**
 * What the agent prints first and last: one line of JSON, at most 2 KB, so that it survives SSM's cutting of the output
 * at 24,000 bytes from whichever side somebody looks.
 */
export const VERDICT_PREFIX = 'LIFEBOAT-VERDICT ';

const verdictSchema = z.object({
  runId: z.string(),
  succeeded: z.boolean(),
  exitStatus: z.int(),
  /** Why it failed; `null` after success. */
  code: z.string().nullable(),
  message: z.string(),
});

export type Verdict = z.infer<typeof verdictSchema>;

const LONGEST_MESSAGE = 400;

/** The first and the last line of the output, from which a lost result can be told. */
export function formatVerdict({ runId, exitStatus, failure: failed, outcome }: RunResult): string {
  return formatVerdictLine({
    runId,
    succeeded: failed === null,
    exitStatus,
    code: failed?.code ?? null,
    message: failed?.message ?? nameOf(outcome),
  });
}

function nameOf(outcome: RunOutcome | null): string {
  switch (outcome?.kind) {
    case 'backup':
      return outcome.id;
    case 'base':
      return outcome.label;
    case 'both':
      return [outcome.dump?.id, outcome.base?.label].filter((name) => name !== undefined).join(', ');
    default:
      return 'done';
  }
}

/** Also for a run that was refused and so has no result: `RUN_REPEATED` above all says nothing about the first one. */
export function formatVerdictLine(verdict: Verdict): string {
  // A control character or half of a pair takes six bytes in JSON, and a message may be made of them.
  const message = verdict.message
    .slice(0, LONGEST_MESSAGE)
    .toWellFormed()
    .replaceAll(/(?!\n)\p{Cc}/gu, '\uFFFD');
  return VERDICT_PREFIX + JSON.stringify({ ...verdict, message });
}

/** The verdict in a command's standard output; `undefined` when there is none, as when the agent was killed. */
export function findVerdict(output: string): Verdict | undefined {
  const line = output.split('\n').find((each) => each.startsWith(VERDICT_PREFIX));
  if (line === undefined) return undefined;
  try {
    return verdictSchema.parse(JSON.parse(line.slice(VERDICT_PREFIX.length)));
  } catch {
    return undefined; // cut off, or somebody else's
  }
}
