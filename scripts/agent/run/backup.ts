import { totalRows } from '../../../lib/domain/backup/compose-manifest.ts';
import type { BackupPart } from '../../../lib/domain/run/both-failure.ts';
import type { BaseFacts, DumpFacts } from '../../../lib/domain/run/result.ts';
import { describeRequest, openBackupPorts } from '../cli/backup.ts';
import { attemptBoth } from '../cli/backup-both.ts';
import { describeBaseRequest, openBaseBackupPorts } from '../cli/base-backup.ts';
import { readRestorable } from '../cli/wal.ts';
import { backupAndTell } from '../commands/backup/backup-and-tell.ts';
import { baseBackupAndTell } from '../commands/base-backup/base-backup-and-tell.ts';
import { rawSizeOf, sizeOf, type CompletedBaseBackup } from '../commands/base-backup/base-backup.ts';
import type { Context } from '../context.ts';
import type { OperationEnd } from './operations.ts';
import { requireDatabaseName } from '../settings.ts';

/** Both left out of an attempt that could not even be begun. */
interface Part<Facts> extends BackupPart {
  readonly facts?: Facts | undefined;
  readonly warnings?: readonly string[];
}
type DumpPart = Part<DumpFacts & { readonly durationMs: number }>;
type BasePart = Part<BaseFacts>;

/** What a request for a backup makes: by the request's kind, which stands among the settings, or the host's own. */
export async function runBackup(context: Context): Promise<OperationEnd> {
  switch (context.settings.backupKind) {
    case 'dump': {
      const { facts, warnings = [], failure } = await makeDump(context);
      if (!facts) return { outcome: null, warnings, failure };
      const { durationMs: _, ...dump } = facts;
      return { outcome: { kind: 'backup', ...dump }, warnings, failure };
    }
    case 'base': {
      const { facts, warnings = [], failure } = await makeBase(context);
      return { outcome: facts ? { kind: 'base', ...facts } : null, warnings, failure };
    }
    case 'both':
      return await makeBoth(context);
  }
}

async function makeBoth(context: Context): Promise<OperationEnd> {
  const parts = { dump: () => makeDump(context), base: () => makeBase(context) };
  const attempts = await attemptBoth(context, parts);
  const [dump, base]: [DumpPart, BasePart] = [attempts.dump, attempts.base ?? {}];
  return {
    outcome:
      dump.facts || base.facts ? { kind: 'both', dump: dump.facts ?? null, base: base.facts ?? null } : null,
    warnings: [...(dump.warnings ?? []), ...(base.warnings ?? [])],
    failure: attempts.failure,
  };
}

async function makeDump(context: Context): Promise<DumpPart> {
  const database = requireDatabaseName(context.settings);
  const ports = openBackupPorts(context, database);
  const { completed, failure } = await backupAndTell(ports, describeRequest(context, database, {}));
  if (!completed) return { failure };
  const { manifest, locations, warnings, durationMs } = completed;
  const facts = {
    id: manifest.id,
    file: manifest.dump.key,
    bytes: manifest.dump.size,
    locations: [...locations],
    totals: { tables: manifest.tables.length, rows: totalRows(manifest) },
    durationMs: Math.round(durationMs),
  };
  return { facts, made: manifest.id, warnings, failure };
}

async function makeBase(context: Context): Promise<BasePart> {
  const { completed, failure } = await baseBackupAndTell(
    openBaseBackupPorts(context),
    describeBaseRequest(context, {}),
  );
  if (!completed) return { failure };
  // Of damaged pages the failure itself tells.
  const warnings = failure ? [] : completed.warnings;
  const facts = { ...describeBase(completed), restorable: await findRestorable(context) };
  return { facts, made: completed.manifest.label, warnings, failure };
}

function describeBase({
  manifest,
  location,
  durationMs,
}: CompletedBaseBackup): Omit<BaseFacts, 'restorable'> {
  const { label, type, parent, startLsn, stopLsn } = manifest;
  const sizes = { bytes: sizeOf(manifest), rawBytes: rawSizeOf(manifest) };
  return { label, type, parent, ...sizes, startLsn, stopLsn, location, durationMs: Math.round(durationMs) };
}

/** The backup is made; a look at the WAL behind it that fails changes nothing about that. */
async function findRestorable(context: Context): Promise<BaseFacts['restorable']> {
  if (!context.settings.s3) return null;
  try {
    return await readRestorable(context);
  } catch (error) {
    context.log.warn(`What can be restored to is not known: ${(error as Error).message}`);
    return null;
  }
}
