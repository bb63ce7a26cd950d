import type { RunRequest } from '../run/request.ts';
import { parseRunKey, runDayPrefix, type RunObject } from '../run/run-keys.ts';
import type { CommandRecord } from '../start/command-record.ts';

/** What the state bucket's listing alone tells of a run: when each of its objects was written, by S3's clock. */
export interface SeenRun {
  readonly runId: string;
  readonly written: Readonly<Partial<Record<RunObject, Date>>>;
}

const MINUTE_MS = 60 * 1000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** The longest that delivery and execution may take together is three days. */
const DAYS_WATCHED = 4;
/** report-run has had its event, and its retries, by then. */
const EVENT_LOST_MS = 10 * MINUTE_MS;

/** Listing prefixes; tomorrow's too, because a run is named after the time that it was meant for. */
export function watchedDays(prefix: string, now: Date): string[] {
  return Array.from({ length: DAYS_WATCHED + 2 }, (_, index) =>
    runDayPrefix(prefix, new Date(now.getTime() + (1 - index) * DAY_MS)),
  );
}

/** @param objects a listing of the state bucket’s runs; what is no object of a run is passed over */
export function groupRuns(
  prefix: string,
  objects: readonly { readonly key: string; readonly modifiedAt: Date }[],
): SeenRun[] {
  const runs = new Map<string, Partial<Record<RunObject, Date>>>();
  for (const { key, modifiedAt } of objects) {
    const parsed = parseRunKey(prefix, key);
    if (!parsed) continue;
    runs.set(parsed.runId, { ...runs.get(parsed.runId), [parsed.object]: modifiedAt });
  }
  return [...runs].map(([runId, written]) => ({ runId, written }));
}

/** Whether anything about the run is still open, so that it is worth reading. */
export function isOpen({ written }: SeenRun): boolean {
  return written.request !== undefined && written.reported === undefined;
}

export type RunAction =
  | { readonly do: 'nothing' }
  /** The message was claimed, and whoever claimed it died before it was published. */
  | { readonly do: 'publish' }
  /** The host has written its result, and no event came. */
  | { readonly do: 'report result' }
  | { readonly do: 'report refused'; readonly refused: NonNullable<CommandRecord['refused']> }
  | { readonly do: 'report lost'; readonly commandSent: boolean }
  /** `share`: of the time that the run may take. */
  | { readonly do: 'wait'; readonly share: number };

export interface WatchedRun {
  readonly run: SeenRun;
  readonly request: Pick<RunRequest, 'requestedAt' | 'deadline'>;
  readonly command: CommandRecord | undefined;
  /** What the configuration allows a run. */
  readonly runMinutes: number;
}

/** What the watch does about one run, told by the times at which its objects were written. */
export function decideRun({ run, request, command, runMinutes }: WatchedRun, now: Date): RunAction {
  const { written } = run;
  if (!isOpen(run)) return { do: 'nothing' };
  if (written.report) return isOlder(written.report, now) ? { do: 'publish' } : { do: 'nothing' };
  if (written.result) return isOlder(written.result, now) ? { do: 'report result' } : { do: 'nothing' };
  if (command?.refused) return { do: 'report refused', refused: command.refused };
  if (isOver(request, written.command, now)) return { do: 'report lost', commandSent: command !== undefined };
  if (!written.command) return { do: 'nothing' };
  const share = (now.getTime() - written.command.getTime()) / (runMinutes * MINUTE_MS);
  return { do: 'wait', share: Math.max(0, share) };
}

/** Whether the run is certainly over. The deadline counts from the request; a command may have been sent much later. */
export function isOver(
  { requestedAt, deadline }: WatchedRun['request'],
  sentAt: Date | undefined,
  now: Date,
): boolean {
  const late = sentAt ? Math.max(0, sentAt.getTime() - new Date(requestedAt).getTime()) : 0;
  return now.getTime() > new Date(deadline).getTime() + late;
}

/**
 * Whether a run whose request cannot be read is to be told of as such. While a new version of the stack is deployed, old and
 * new functions read each other's requests for a moment: whoever understands it tells of it better.
 */
export function isOverdueToRead(run: SeenRun, now: Date): boolean {
  const { request } = run.written;
  return request !== undefined && isOpen(run) && isOlder(request, now);
}

function isOlder(time: Date, now: Date): boolean {
  return now.getTime() - time.getTime() > EVENT_LOST_MS;
}
