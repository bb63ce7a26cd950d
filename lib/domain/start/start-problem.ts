import type { SeriesConfig } from '../deployment/config.ts';
import type { Message } from '../notify/message.ts';
import { describeReport, OPERATION_TITLE, withLinks } from '../notify/run-wording.ts';
import type { RunFailure } from '../run/outcome.ts';
import type { RunOperation } from '../run/request.ts';

/** A series of which no run could be asked for, and no retry will change that. */
export interface StartProblem {
  readonly operation: RunOperation;
  readonly series: Pick<SeriesConfig, 'app' | 'database' | 'host'>;
  readonly runId: string;
  readonly error: RunFailure;
}

/** The message of a run that could not be started. */
export function describeStartProblem(problem: StartProblem, dashboardUrl: string | undefined): Message {
  const { operation, series, runId, error } = problem;
  const { app, database, host } = series;
  const message = describeReport({
    what: OPERATION_TITLE[operation],
    app,
    database,
    runId,
    error,
    host: 'tag' in host ? `the hosts with the tag ${host.tag.key}=${host.tag.value}` : host.instanceId,
    durationMs: 0,
    lines: [],
    warnings: [],
  });
  return withLinks(message, { dashboardUrl, commandId: undefined, outputUrl: undefined });
}
