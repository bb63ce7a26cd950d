import path from 'node:path';
import { describeTarget } from '../../../lib/domain/base/recovery-target.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import {
  planRecoverInto,
  recoverInto,
  type RecoveredInto,
  type RecoverIntoRequest,
  type TakeoverPorts,
} from '../commands/recover/recover-into.ts';
import { restoreAndTell, type ToldRestore } from '../commands/restore/restore-and-tell.ts';
import { openContext, type Context } from '../context.ts';
import { openRateBook } from '../data-path/restore-rates.ts';
import { openLocalStore } from '../host/local-store.ts';
import type { RecoveryPlace } from '../ports/recovery.ts';
import { chooseSideFolder } from '../recovery/side-place.ts';
import { openSideClusters } from '../recovery/side-clusters.ts';
import { recoverIntoPlanAsJson, recoveredIntoAsJson, renderRecoverIntoPlan } from '../render/recover-into.ts';
import { openRestorePorts } from '../restore-ports.ts';
import { requireDatabaseName } from '../settings.ts';
import { LIFEBOAT_VERSION } from '../version.ts';
import { describeRecovery, openRecoveryPorts, parsePlace } from './recover.ts';
import { parseJobs } from './restore-options.ts';

type Options = Readonly<Record<string, unknown>>;

/** Options that only mean something when a database or tables are taken out of the recovered cluster. */
const OF_THE_LOAD = {
  toDatabase: '--to-database',
  replace: '--replace',
  globals: '--globals',
  jobs: '--jobs',
  forceOlder: '--force-older',
  keep: '--keep',
} as const;

/** Options that are about a cluster which stays. */
const OF_THE_CLUSTER = { inPlace: '--in-place', action: '--action' } as const;

/**
 * Whether a recovery is to end in a database of the live server.
 * @throws LifeboatError USAGE for options that do not go together
 */
export function takesOut(options: Options): boolean {
  const taking = options['database'] !== undefined || options['table'] !== undefined;
  const [refused, why] = taking
    ? [OF_THE_CLUSTER, 'a database or tables are taken out of a cluster beside the live one, which then goes']
    : [OF_THE_LOAD, 'a recovery without --database or --table is of the whole cluster'];
  for (const [name, option] of Object.entries(refused)) {
    if (options[name] === undefined || options[name] === false) continue;
    throw new LifeboatError('USAGE', `${option} does not go with this recovery: ${why}`, {
      hint: taking
        ? `Leave ${option} out, or leave out --database and --table.`
        : `Add --database NAME or --table NAMES, or leave ${option} out.`,
    });
  }
  return taking;
}

/** `lifeboat restore --to-time … --database app`, and `--table …`. */
export async function runRecoverInto(options: Options): Promise<Answer> {
  const json = options['json'] === true;
  const context = openContext({ json });
  const ports = openTakeoverPorts(context);
  const request = await describeInto(context, options);
  if (options['dryRun'] === true) {
    const planned = await planRecoverInto(ports, request);
    return { lines: renderRecoverIntoPlan(planned), json: recoverIntoPlanAsJson(planned) };
  }
  const { told, into } = await recoverIntoAndTell(context, ports, request);
  if (told.failure && !json) throw told.failure;
  return { lines: [], json: recoveredIntoAsJson(request, told, into), failure: told.failure };
}

/** @throws LifeboatError USAGE, SETTINGS_INVALID */
export async function describeInto(context: Context, options: Options): Promise<RecoverIntoRequest> {
  const asked = describeRecovery(context, options);
  const { runId } = asked;
  const database = text(options['database']) ?? requireDatabaseName(context.settings);
  const jobs = parseJobs(options['jobs']);
  const place = asked.place ?? (await chooseSidePlace(context, options));
  return {
    recovery: { ...asked, place },
    database,
    load: {
      source: `recovery to ${describeTarget(asked.request.target)}`,
      database: text(options['toDatabase']) ?? database,
      replace: options['replace'] === true,
      globals: options['globals'] === true,
      tables: text(options['table']),
      jobs,
      forceOlder: options['forceOlder'] === true,
      dryRun: false,
      runId,
    },
    keep: options['keep'] === true,
    lifeboatVersion: LIFEBOAT_VERSION,
  };
}

/** With its line in the journal and its message, as any restore. */
export async function recoverIntoAndTell(
  context: Context,
  ports: TakeoverPorts,
  request: RecoverIntoRequest,
): Promise<{ told: ToldRestore; into: RecoveredInto | undefined }> {
  let into: RecoveredInto | undefined;
  const told = await restoreAndTell({ ...context, ...openRestorePorts(context) }, request.load, async () => {
    into = await recoverInto(ports, request);
    return into.restored;
  });
  return { told, into };
}

export function openTakeoverPorts(context: Context): TakeoverPorts {
  const { settings } = context;
  const { app, database, environment } = settings;
  return {
    ...openRecoveryPorts(context),
    sides: openSideClusters({ ...context, app, database, environment }),
    restoreFrom: (folder) => ({
      ...openRestorePorts({
        ...context,
        settings: { ...settings, backupDir: folder },
        stores: [openLocalStore(folder)],
      }),
      // What is learnt of this host's speed is for later restores as well.
      rates: openRateBook(path.join(settings.backupDir, 'restore-rates.json')),
    }),
  };
}

/** In BACKUP_DIR. */
export async function chooseSidePlace({ settings }: Context, options: Options): Promise<RecoveryPlace> {
  const dataDir = await chooseSideFolder(settings.backupDir, settings.app);
  return parsePlace({ ...options, dataDir })!;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
