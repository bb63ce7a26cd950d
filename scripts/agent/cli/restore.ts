import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import { restoreAndTell } from '../commands/restore/restore-and-tell.ts';
import { restore, type RestoreRequest } from '../commands/restore/restore.ts';
import { openContext, type Context } from '../context.ts';
import { planAsJson, renderRestorePlan, renderTablePlan, restoreAsJson } from '../render/restore.ts';
import { openRestorePorts } from '../restore-ports.ts';
import { requireDatabaseName } from '../settings.ts';
import { namesRecoveryTarget, runRecover } from './recover.ts';
import { runRecoverInto, takesOut } from './recover-into.ts';
import { parseJobs } from './restore-options.ts';

type Options = Readonly<Record<string, unknown>>;

/** `lifeboat restore`, whatever is to come back: a backup, a cluster beside or in place, a database or tables of then. */
export async function runRestore(options: Options, source: string | undefined): Promise<Answer> {
  const recovers = namesRecoveryTarget(options);
  if (options['inPlace'] === true && source === undefined) {
    return await (await import('./recover-in-place.ts')).runInPlace(options);
  }
  requireInPlace(options);
  if (source !== undefined && !recovers) return await restoreBackup(options, source);
  if (source === undefined && recovers)
    return takesOut(options) ? await runRecoverInto(options) : await runRecover(options);
  const seen = recovers ? `both a backup, ${JSON.stringify(source)}, and a point in time` : 'nothing';
  throw new LifeboatError(
    'USAGE',
    `restore was told of ${seen}: one is needed, a backup or a point in time`,
    { hint: 'lifeboat restore latest, or as in: lifeboat restore --to-time 2026-01-17T08:54:59Z' },
  );
}

async function restoreBackup(options: Options, source: string): Promise<Answer> {
  refuseRecoveryOptions(options);
  const context = openContext({ json: options['json'] === true });
  const ports = { ...context, ...openRestorePorts(context) };
  const request = describeRequest(context, options, source);
  if (request.dryRun) {
    const { plan } = await restore(ports, request);
    const lines = plan.action === 'tables' ? renderTablePlan(plan) : renderRestorePlan(plan);
    return { lines, json: planAsJson(plan) };
  }
  const told = await restoreAndTell(ports, request);
  if (told.failure && options['json'] !== true) throw told.failure;
  return { lines: [], json: restoreAsJson(request, told), failure: told.failure };
}

/** They would be passed over in silence. */
function requireInPlace(options: Options): void {
  for (const [name, option] of Object.entries(IN_PLACE_ALONE)) {
    if (options[name] !== undefined)
      throw new LifeboatError('USAGE', `${option} is for a recovery of the live cluster in its place`, {
        hint: 'As in: lifeboat restore --to-time 2026-01-17T08:54:59Z --in-place',
      });
  }
}

const IN_PLACE_ALONE = {
  inPlace: '--in-place',
  yes: '--yes',
  finish: '--finish',
  undo: '--undo',
  stopCommand: '--stop-command',
  startCommand: '--start-command',
};

function describeRequest({ settings, host }: Context, options: Options, source: string): RestoreRequest {
  const named = options['toDatabase'];
  return {
    source,
    database: typeof named === 'string' ? named : requireDatabaseName(settings),
    replace: options['replace'] === true,
    globals: options['globals'] === true,
    tables: typeof options['table'] === 'string' ? options['table'] : undefined,
    jobs: parseJobs(options['jobs']),
    forceOlder: options['forceOlder'] === true,
    dryRun: options['dryRun'] === true,
    runId: settings.runId ?? host.newRunId(),
  };
}

/** A dump is of one database, and nothing is recovered for it. */
function refuseRecoveryOptions(options: Options): void {
  for (const [name, option] of Object.entries({ database: '--database', keep: '--keep' })) {
    if (options[name] === undefined) continue;
    throw new LifeboatError('USAGE', `${option} is for a recovery to a point in time, not for a dump`, {
      hint: 'The database to restore a dump into is DB_NAME, or --to-database NAME.',
    });
  }
}
