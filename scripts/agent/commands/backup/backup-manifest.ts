import type { BackupId } from '../../../../lib/domain/backup/backup-id.ts';
import { composeManifest } from '../../../../lib/domain/backup/compose-manifest.ts';
import type { Manifest } from '../../../../lib/domain/backup/manifest.ts';
import type { BackupPorts, CollectedDump, SourceDescription, WrittenDump } from '../../ports/backup.ts';
import type { BackupPreflight } from './backup-preflight.ts';
import type { BackupRequest } from './backup-request.ts';

/** What the run learnt, from which its manifest is composed. */
export interface RunFindings {
  readonly id: BackupId;
  readonly ready: BackupPreflight;
  /** On the monotonic clock. */
  readonly started: number;
  readonly description: SourceDescription;
  readonly globals: CollectedDump;
  readonly written: WrittenDump;
  readonly keys: { readonly globals: string; readonly dump: string };
}

export function describeRun(ports: BackupPorts, request: BackupRequest, findings: RunFindings): Manifest {
  const { id, ready, started, description, globals, written, keys } = findings;
  const { facts, tools, warnings } = ready;
  // Start plus elapsed time, not the wall clock: that may have been set meanwhile, even to before the start.
  const elapsed = ports.clock.monotonic() - started;
  return composeManifest({
    ...description,
    ...written,
    id,
    runId: request.runId,
    lifeboatVersion: request.lifeboatVersion,
    finishedAt: new Date(id.time.getTime() + elapsed),
    host: ports.host.facts(),
    server: facts,
    pgDumpVersion: tools.pgDump.version,
    dump: {
      ...request.encoding,
      key: keys.dump,
      size: written.size,
      sha256: written.sha256,
      crc32: written.crc32,
      level: written.level,
      rawSize: written.rawSize,
      rawFrameSize: written.rawFrameSize,
      frameSizes: [...written.frameSizes],
    },
    globals: {
      key: keys.globals,
      size: globals.size,
      sha256: globals.sha256,
      crc32: globals.crc32,
      rolePasswords: facts.mayReadPasswords,
    },
    warnings: [...warnings, ...description.warnings, ...[globals.warnings, written.warnings].filter(Boolean)],
  });
}
