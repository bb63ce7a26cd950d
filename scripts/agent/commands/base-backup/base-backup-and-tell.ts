import { newestUsable } from '../../../../lib/domain/base/base-catalog.ts';
import { holdsDamage } from '../../../../lib/domain/base/increment.ts';
import { asLifeboatError, type LifeboatError } from '../../../../lib/domain/errors.ts';
import {
  describeBaseBackup,
  type BaseBackupOutcome,
  type StoredBaseBackup,
} from '../../../../lib/domain/notify/base-wording.ts';
import type { LastGoodBackup } from '../../../../lib/domain/run/outcome.ts';
import { readBaseViews } from '../../catalog/bases.ts';
import type { BaseBackupPorts } from '../../ports/base-backup.ts';
import { deliver, type Delivery } from '../../ports/notify.ts';
import { baseBackup, rawSizeOf, sizeOf, type CompletedBaseBackup } from './base-backup.ts';
import type { BaseBackupRequest } from './base-backup-request.ts';

export interface ToldBaseBackup {
  /** Also of a run that failed for the damaged pages in what it stored. */
  readonly completed: CompletedBaseBackup | undefined;
  readonly failure: LifeboatError | undefined;
  readonly deliveries: readonly Delivery[];
}

/** A base backup, its line in the journal, and its message; the verdict is the backup's alone. */
export async function baseBackupAndTell(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
): Promise<ToldBaseBackup> {
  const started = ports.clock.monotonic();
  const tried = await baseBackup(ports, request).then(
    (completed) => ({ completed, failure: completed.damage }),
    (error: unknown) => ({ completed: undefined, failure: describeEnd(ports, asLifeboatError(error)) }),
  );
  const run = { ...tried, durationMs: ports.clock.monotonic() - started };
  await writeJournal(ports, request, run);
  const message = describeBaseBackup(await describeOutcome(ports, request, run), ports.clock.now());
  const deliveries = await deliver(ports.channels, message);
  for (const { name, delivered, error } of deliveries) {
    if (!delivered) ports.log.warn(`The ${name} message was not delivered: ${error ?? 'no reason given'}`);
  }
  return { ...tried, deliveries };
}

interface Run {
  readonly completed: CompletedBaseBackup | undefined;
  readonly failure: LifeboatError | undefined;
  readonly durationMs: number;
}

/** Whatever broke first, an interruption is why. */
function describeEnd({ interrupted }: BaseBackupPorts, error: LifeboatError): LifeboatError {
  if (!interrupted.aborted) return error;
  const reason = asLifeboatError(interrupted.reason);
  return error.code === reason.code ? error : reason;
}

async function writeJournal(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
  { completed, failure, durationMs }: Run,
): Promise<void> {
  // A run that another one kept from starting says nothing about the series.
  if (failure?.code === 'BUSY') return;
  await ports.journal.append({
    at: ports.clock.now().toISOString(),
    operation: 'backup',
    kind: 'base',
    runId: request.runId,
    succeeded: failure === undefined,
    durationMs: Math.round(durationMs),
    boot: ports.host.boot(),
    ...(completed
      ? {
          id: completed.manifest.label,
          bytes: sizeOf(completed.manifest),
          rawBytes: rawSizeOf(completed.manifest),
        }
      : {}),
    ...(failure ? { code: failure.code, message: failure.message } : {}),
  });
}

async function describeOutcome(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
  { completed, failure, durationMs }: Run,
): Promise<BaseBackupOutcome> {
  const { app, runId } = request;
  return {
    app,
    runId,
    host: ports.host.facts().name,
    durationMs,
    // Of damaged pages the failure itself tells.
    warnings: failure ? [] : (completed?.warnings ?? []),
    stored: completed && describeStored(completed),
    failure: failure && { code: failure.code, message: failure.message, hint: failure.hint },
    ...(failure ? { lastGood: await findLastGood(ports, app) } : {}),
  };
}

function describeStored({ manifest, location }: CompletedBaseBackup): StoredBaseBackup {
  const { label, parent, startLsn, stopLsn } = manifest;
  return {
    label,
    parent,
    bytes: sizeOf(manifest),
    rawBytes: rawSizeOf(manifest),
    startLsn,
    stopLsn,
    location,
  };
}

/** S3 may be what failed, and the message must not wait for it for minutes. */
const LOOK_MS = 10_000;

async function findLastGood(
  ports: BaseBackupPorts,
  app: string,
): Promise<LastGoodBackup | 'unknown' | undefined> {
  if (ports.interrupted.aborted) return 'unknown';
  const look = async (): Promise<LastGoodBackup | undefined> => {
    const { state, stores, journal } = ports;
    const bases = await readBaseViews(app, stores[1] ?? stores[0], { runs: await journal.records(), state });
    const last = newestUsable(
      bases.verified.filter((base) => !holdsDamage(base)),
      ports.clock.now(),
    );
    return last && { id: last.label, finishedAt: last.time };
  };
  return await Promise.race([
    look().catch(() => 'unknown' as const),
    ports.clock.sleep(LOOK_MS).then(() => 'unknown' as const),
  ]);
}
