import { asLifeboatError, LifeboatError } from '../../../../lib/domain/errors.ts';
import { describeRestore } from '../../../../lib/domain/notify/wording.ts';
import type { RestoreOutcome } from '../../../../lib/domain/run/outcome.ts';
import type { Journal } from '../../ports/journal.ts';
import { deliver, type Channel, type Delivery } from '../../ports/notify.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import { restore, type RestoreRequest, type RestoreResult } from './restore.ts';

export interface ToldRestore {
  readonly result: RestoreResult | undefined;
  readonly failure: LifeboatError | undefined;
  readonly deliveries: readonly Delivery[];
}

export interface TellingPorts extends RestorePorts {
  readonly channels: readonly Channel[];
  readonly journal: Journal;
}

/**
 * A restore, its line in the journal, and its message; the verdict is the restore's alone.
 * @param work what ends in a restore, such as a recovery before it
 */
export async function restoreAndTell(
  ports: TellingPorts,
  request: RestoreRequest,
  work: () => Promise<RestoreResult> = () => restore(ports, request),
): Promise<ToldRestore> {
  const started = ports.clock.monotonic();
  const tried = await work().then(
    (result) => ({ result, failure: undefined }),
    (error: unknown) => ({ result: undefined, failure: asLifeboatError(error) }),
  );
  const durationMs = ports.clock.monotonic() - started;
  await writeJournal(ports, request, { ...tried, durationMs });
  const outcome = describeOutcome(ports, request, { ...tried, durationMs });
  const deliveries = await deliver(ports.channels, describeRestore(outcome));
  for (const { name, delivered, error } of deliveries) {
    if (!delivered) ports.log.warn(`The ${name} message was not delivered: ${error ?? 'no reason given'}`);
  }
  return { ...tried, deliveries };
}

interface Tried {
  readonly result: RestoreResult | undefined;
  readonly failure: LifeboatError | undefined;
  readonly durationMs: number;
}

async function writeJournal(
  ports: TellingPorts,
  request: RestoreRequest,
  { result, failure, durationMs }: Tried,
): Promise<void> {
  // A run that another one kept from starting says nothing.
  if (failure?.code === 'BUSY') return;
  const plan = result?.plan;
  await ports.journal.append({
    at: ports.clock.now().toISOString(),
    operation: 'restore',
    runId: request.runId,
    succeeded: failure === undefined,
    durationMs: Math.round(durationMs),
    ...(plan
      ? { id: plan.backup.label, bytes: plan.copies[0]?.size ?? 0, rawBytes: plan.backup.rawSize }
      : {}),
    ...(failure ? { code: failure.code, message: failure.message } : {}),
  });
}

function describeOutcome(ports: TellingPorts, request: RestoreRequest, tried: Tried): RestoreOutcome {
  const { result, failure } = tried;
  const common = {
    app: ports.app,
    host: ports.host.facts().name,
    runId: request.runId,
    database: request.database,
    durationMs: tried.durationMs,
  };
  if (failure) {
    const { code, message, hint } = failure;
    const error = { code, message, hint };
    return {
      ...common,
      source: request.source,
      warnings: [],
      succeeded: false,
      error,
      targetUntouched: isUntouched(failure),
    };
  }
  const completed = result?.completed;
  return {
    ...common,
    source: result?.plan.backup.label ?? request.source,
    warnings: completed?.warnings ?? [],
    succeeded: true,
    checked: completed?.checked,
    keptAs: completed?.keptAs,
  };
}

/** Only a server that was lost in the middle of the rename leaves it open which database has the name. */
export function isUntouched(failure: LifeboatError): boolean {
  const { cause } = failure;
  return !(
    failure.code === 'RESTORE_FAILED' &&
    cause instanceof LifeboatError &&
    cause.code === 'DB_CONNECT'
  );
}
