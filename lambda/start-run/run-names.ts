import { createHash } from 'node:crypto';
import { describeIdentity, formatRunId, runTime } from '../../lib/domain/run/run-id.ts';
import { runDayPrefix } from '../../lib/domain/run/run-keys.ts';
import type { StartPayload } from '../../lib/domain/start/payload.ts';
import type { Bucket } from '../bucket.ts';

/** What a run is of: a series on a host, or with no host the series itself. */
interface Named {
  readonly app: string;
  readonly instanceId: string;
}

export type RunNames = (named: Named) => string;

/**
 * The same trigger gives every host the same run id again. A schedule says when it was due; a manual start is known by its
 * invocation's id alone, so what an earlier try of it named is looked up.
 */
export async function nameRuns(
  { state, prefix, now }: { state: Bucket; prefix: string; now: Date },
  { operation, scheduledFor }: StartPayload,
  requestId: string,
): Promise<RunNames> {
  const trigger = scheduledFor?.toISOString() ?? requestId;
  const hashOf = ({ app, instanceId }: Named): string =>
    createHash('sha256').update(describeIdentity({ trigger, app, instanceId, operation })).digest('hex');
  const time = scheduledFor ?? now;
  if (scheduledFor) return (named) => formatRunId(time, hashOf(named));
  const before = await runsOfLastHours(state, prefix, time);
  return (named) => {
    const fresh = formatRunId(time, hashOf(named));
    return before.get(hashPart(fresh)) ?? fresh;
  };
}

/** Lambda tries an invocation again for six hours at most. */
const RETRIED_MS = 6 * 60 * 60 * 1000;

async function runsOfLastHours(state: Bucket, prefix: string, now: Date): Promise<Map<string, string>> {
  const days = new Set([new Date(now.getTime() - RETRIED_MS), now].map((day) => runDayPrefix(prefix, day)));
  const runs = new Map<string, string>();
  for (const day of days) {
    for await (const folder of state.folders(day)) {
      const runId = folder.slice(day.length, -1);
      if (runTime(runId)) runs.set(hashPart(runId), runId);
    }
  }
  return runs;
}

function hashPart(runId: string): string {
  return runId.slice(runId.indexOf('-') + 1);
}
