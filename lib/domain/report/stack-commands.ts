import type { ToldRequest } from './told-request.ts';

/** The functions that stand in for the command line where SSM starts the agent; by name, as far as it is known. */
export interface FunctionNames {
  readonly startRun: string | undefined;
  readonly restore: string | undefined;
}

/** Whole commands alone: what comes with options or other words is meant for somebody who sits at the host. */
const COMMAND =
  /\blifeboat (backup|verify|status|list|retention|restore)(?: ([\w.-]+_db_\d{8}_\d{6}))?(?![\w-])(?! [\w<-])/g;

/**
 * A host that SSM commands has no `lifeboat` in its PATH, and its settings come with each request. So where a message names
 * the command, it gets what does the same from any place: an invocation of one of the stack's functions.
 */
export function withStackCommands(text: string, request: ToldRequest, functions: FunctionNames): string {
  if (request.unreadable !== undefined) return text;
  return text.replaceAll(COMMAND, (_, operation: string, id: string | undefined) =>
    operation === 'restore'
      ? invocation('restore', functions.restore, planPayload(request, id))
      : invocation('start-run', functions.startRun, startPayload(request, operation, id)),
  );
}

function startPayload(
  { series, instanceId }: ToldRequest,
  operation: string,
  id: string | undefined,
): object {
  return { operation, app: series.app, instanceId, ...(id !== undefined && { backupId: id }) };
}

/** A plan touches nothing; its answer says what to send next. */
function planPayload({ series, instanceId }: ToldRequest, id = 'latest'): object {
  return {
    action: 'plan',
    app: series.app,
    instanceId,
    source: id,
    database: harmlessName(series.database),
  };
}

/** Of a new database; what it stands in is a shell's single quotes. */
function harmlessName(database: string): string {
  return /^\w{1,54}$/.test(database) ? `${database}_restored` : 'restored';
}

function invocation(what: string, name: string | undefined, payload: object): string {
  const json = JSON.stringify(payload);
  return name === undefined
    ? `invoke the ${what} function with ${json}`
    : `aws lambda invoke --function-name ${name} --cli-binary-format raw-in-base64-out --payload '${json}' /dev/stdout`;
}
