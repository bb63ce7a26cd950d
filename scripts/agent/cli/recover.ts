import path from 'node:path';
import type { HostDifference } from '../../../lib/domain/base/recovery-host.ts';
import { parseRecoveryRequest, type RecoveryOptions } from '../../../lib/domain/base/recovery-target.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import { describeRecovered, planOnly, recover, type RecoverRequest } from '../commands/recover/recover.ts';
import { openContext, type Context } from '../context.ts';
import type { RecoveryAction, RecoveryPlace, RecoveryPorts } from '../ports/recovery.ts';
import { openRecoveryServers } from '../recovery/recovery-servers.ts';
import { openWalSearch } from '../recovery/wal-search.ts';
import { recoveredAsJson, recoveryPlanAsJson, renderRecoveryPlan } from '../render/recovery.ts';
import { openWalReader } from '../wal-archive/wal-reader.ts';
import { openWalStores } from '../wal-stores.ts';

type Options = Readonly<Record<string, unknown>>;

const TARGETS = ['toTime', 'toLsn', 'toXid', 'toName', 'latest', 'immediate'] as const;

/** Whether `restore` was given a point in time, instead of a dump. */
export function namesRecoveryTarget(options: Options): boolean {
  return TARGETS.some((name) => options[name] !== undefined);
}

/** `lifeboat restore --to-time …` and its like. */
export async function runRecover(options: Options): Promise<Answer> {
  const context = openContext({ json: options['json'] === true });
  const asked = describeRecovery(context, options);
  const { place } = asked;
  const ports = openRecoveryPorts(context);
  if (options['dryRun'] === true) {
    const planned = await planOnly(ports, asked);
    return { lines: renderRecoveryPlan(planned), json: recoveryPlanAsJson(planned) };
  }
  if (!place) {
    throw new LifeboatError('USAGE', 'Where to recover to is not said', {
      hint: 'Name a folder that is not there yet, as in: --data-dir /var/lib/postgresql/recovered (or look first: --dry-run)',
    });
  }
  const recovered = await recover(ports, { ...asked, place });
  for (const line of describeRecovered(recovered)) context.log.info(line);
  return { lines: [], json: recoveredAsJson(recovered) };
}

/** @throws LifeboatError USAGE */
export function describeRecovery({ settings, host }: Context, options: Options): RecoverRequest {
  return {
    request: parseRecoveryRequest(options as RecoveryOptions),
    overrides: parseOverrides(options['despite']),
    place: parsePlace(options),
    action: parseAction(options['action']),
    runId: settings.runId ?? host.newRunId(),
  };
}

export function openRecoveryPorts(context: Context): RecoveryPorts {
  const { settings, interrupted } = context;
  const { app, database, environment } = settings;
  const [local] = context.stores;
  const stores = openWalStores(context) ?? { backups: local, state: local };
  const reader = openWalReader(stores);
  return {
    ...context,
    app,
    stores,
    search: openWalSearch(reader, interrupted),
    servers: openRecoveryServers({ ...context, app, stores, reader, database, environment }),
  };
}

export function parsePlace(options: Options): RecoveryPlace | undefined {
  const { dataDir: named, tablespaceDir, osUser, port } = options;
  if (typeof named !== 'string') return undefined;
  const dataDir = path.resolve(named);
  return {
    dataDir,
    tablespaceDir: typeof tablespaceDir === 'string' ? path.resolve(tablespaceDir) : `${dataDir}_tablespaces`,
    osUser: typeof osUser === 'string' ? osUser : undefined,
    port: parsePort(port),
  };
}

function parsePort(text: unknown): number | undefined {
  if (text === undefined) return undefined;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new LifeboatError('USAGE', `--port ${JSON.stringify(text)} is no port`);
}

const ACTIONS: readonly unknown[] = ['promote', 'pause', 'shutdown'] satisfies RecoveryAction[];

function parseAction(text: unknown = 'promote'): RecoveryAction {
  if (ACTIONS.includes(text)) return text as RecoveryAction;
  throw new LifeboatError('USAGE', `--action ${JSON.stringify(text)} is none of ${ACTIONS.join(', ')}`);
}

const DIFFERENCES: readonly string[] = ['architecture', 'libc', 'version'] satisfies HostDifference[];

export function parseOverrides(text: unknown): ReadonlySet<HostDifference> {
  const names = typeof text === 'string' ? text.split(',') : [];
  for (const name of names) {
    if (DIFFERENCES.includes(name)) continue;
    throw new LifeboatError(
      'USAGE',
      `--despite ${JSON.stringify(name)} is none of ${DIFFERENCES.join(', ')}`,
    );
  }
  return new Set(names as HostDifference[]);
}
