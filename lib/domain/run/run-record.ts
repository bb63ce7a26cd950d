import { z } from 'zod';

/** One line of the host's journal of runs: what `status` and `list` tell of the past, and what estimates are made from. */
export const runRecordSchema = z.object({
  /** When it ended. */
  at: z.iso.datetime(),
  operation: z.enum(['backup', 'restore', 'verify']),
  /** Of a backup; a dump when left out. */
  kind: z.enum(['dump', 'base']).optional(),
  runId: z.string(),
  succeeded: z.boolean(),
  durationMs: z.number().nonnegative(),
  /** The backup that was made, restored or verified. */
  id: z.string().optional(),
  store: z.enum(['local', 's3']).optional(),
  /** Stored bytes, and bytes before compression. */
  bytes: z.number().int().nonnegative().optional(),
  rawBytes: z.number().int().nonnegative().optional(),
  /** Since which boot, and for how long, the host had been up: a clock that was set shows against it. */
  boot: z.object({ id: z.string(), uptimeMs: z.number().nonnegative() }).optional(),
  code: z.string().optional(),
  message: z.string().optional(),
});

export type RunRecord = z.infer<typeof runRecordSchema>;

/** The codes by which a verification says that the copy is wrong, not that it could not be looked at. */
const PROVEN_WRONG: ReadonlySet<string> = new Set(['CORRUPT', 'BACKUP_NOT_FOUND']);

export function provesWrong(code: string): boolean {
  return PROVEN_WRONG.has(code);
}

/** Ids whose last verification in `store` proved the copy wrong, with what it said. @param runs oldest first */
export function failedVerifications(runs: readonly RunRecord[], store: 'local' | 's3'): Map<string, string> {
  const failed = new Map<string, string>();
  for (const run of runs) {
    if (run.operation !== 'verify' || run.store !== store || run.id === undefined) continue;
    if (run.succeeded) failed.delete(run.id);
    else if (run.code && provesWrong(run.code)) failed.set(run.id, run.message ?? 'verification failed');
  }
  return failed;
}

/** When each id was last proven right in `store`. @param runs oldest first */
export function lastVerified(runs: readonly RunRecord[], store: 'local' | 's3'): Map<string, Date> {
  const verified = new Map<string, Date>();
  for (const run of runs) {
    if (run.operation === 'verify' && run.store === store && run.succeeded && run.id)
      verified.set(run.id, new Date(run.at));
  }
  return verified;
}

const CLOCK_TOLERANCE_MS = 60 * 60 * 1000;
/** After a week of nights with the same clock it is taken for right. */
const RECORDS_COMPARED = 7;

/**
 * Whether the wall clock was set since one of the last runs of this boot: between two runs it must advance as the host's
 * uptime does. What is then called old may be new.
 * @param runs oldest first
 */
export function clockWasSet(
  runs: readonly RunRecord[],
  now: { readonly time: Date; readonly boot: { readonly id: string; readonly uptimeMs: number } },
): boolean {
  const sameBoot = runs.filter(({ boot }) => boot?.id === now.boot.id).slice(-RECORDS_COMPARED);
  return sameBoot.some(({ at, boot }) => {
    const byClock = now.time.getTime() - new Date(at).getTime();
    return Math.abs(byClock - (now.boot.uptimeMs - boot!.uptimeMs)) > CLOCK_TOLERANCE_MS;
  });
}
