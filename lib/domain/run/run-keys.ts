import { LifeboatError } from '../errors.ts';
import { runTime } from './run-id.ts';

/**
 * What lies in the state bucket about a run, under `<prefix>/runs/<yyyy>/<mm>/<dd>/<run-id>/`, each written once:
 *
 * - `request`: by start-run or restore, before the command is sent; its being there is what makes a run unique
 * - `command`: by the same, after SSM took the command
 * - `result`: by the host; authoritative
 * - `report`: by report-run or watch, before the message is published: who writes it publishes
 * - `reported`: after it was published
 */
export type RunObject = 'request' | 'command' | 'result' | 'report' | 'reported';

/** @throws LifeboatError USAGE for what is no run id */
export function runKey(prefix: string, runId: string, object: RunObject): string {
  return `${runFolder(prefix, runId)}${object}.json`;
}

function runFolder(prefix: string, runId: string): string {
  const time = runTime(runId);
  if (!time) throw new LifeboatError('USAGE', `${JSON.stringify(runId)} is no run id`);
  return `${runDayPrefix(prefix, time)}${runId}/`;
}

/** A listing prefix: all runs of a day. */
export function runDayPrefix(prefix: string, day: Date): string {
  return `${prefix === '' ? '' : `${prefix}/`}runs/${day.toISOString().slice(0, 10).replaceAll('-', '/')}/`;
}

/** The reverse of `runKey`; `undefined` for a key that is none of ours. */
export function parseRunKey(prefix: string, key: string): { runId: string; object: RunObject } | undefined {
  const [, runId, object] = /([^/]+)\/(request|command|result|report|reported)\.json$/.exec(key) ?? [];
  if (runId === undefined || !runTime(runId)) return undefined;
  const parsed = { runId, object: object as RunObject };
  return runKey(prefix, runId, parsed.object) === key ? parsed : undefined;
}

/** A restore that was planned and not yet executed. */
export function planKey(prefix: string, planId: string): string {
  return `${prefix === '' ? '' : `${prefix}/`}plans/${planId}.json`;
}
