/**
 * A run's id is its start's UTC time and twelve hex digits, as in `20260117T020000Z-3f9a0c1b2d4e`: it says where in the
 * state bucket the run lies, and the same trigger asked twice gives the same id.
 */

const RUN_ID = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z-[0-9a-f]{12}$/;

/** What makes a run this run and no other; hash it (SHA-256) for `formatRunId`. */
export interface RunIdentity {
  /** The scheduled time, or the invocation's own id for a manual start: what a repeated delivery repeats too. */
  readonly trigger: string;
  readonly app: string;
  readonly instanceId: string;
  readonly operation: string;
}

/** The text whose SHA-256 `formatRunId` takes; a field's end cannot be mistaken for another's start. */
export function describeIdentity({ trigger, app, instanceId, operation }: RunIdentity): string {
  return JSON.stringify([trigger, app, instanceId, operation]);
}

/** @param sha256 hex, of `describeIdentity` */
export function formatRunId(time: Date, sha256: string): string {
  const stamp = time.toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
  return `${stamp}Z-${sha256.slice(0, 12)}`;
}

export function isRunId(text: string): boolean {
  return runTime(text) !== undefined;
}

/** When the run was due; `undefined` for what is no run id. */
export function runTime(runId: string): Date | undefined {
  const [, year, month, day, hour, minute, second] = RUN_ID.exec(runId) ?? [];
  if (year === undefined) return undefined;
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) || time.toISOString() !== iso ? undefined : time;
}
