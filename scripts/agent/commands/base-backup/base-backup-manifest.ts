import {
  BASE_MANIFEST_SCHEMA_VERSION,
  type BaseManifest,
} from '../../../../lib/domain/base/base-manifest.ts';
import { UNKNOWN } from '../../../../lib/domain/base/recovery-host.ts';
import type { Increment } from '../../../../lib/domain/base/increment.ts';
import { formatLsn } from '../../../../lib/domain/wal/lsn.ts';
import type {
  BaseBackupPorts,
  BaseServerDescription,
  ServerBuild,
  WrittenBase,
} from '../../ports/base-backup.ts';
import type { HostFacts } from '../../ports/host.ts';
import type { BaseBackupStream } from '../../ports/replication.ts';
import type { BaseRun } from './base-backup-making.ts';
import type { BaseBackupRequest } from './base-backup-request.ts';

/** What the run learnt, from which its manifest is composed. */
export interface WrittenParts {
  readonly stream: BaseBackupStream;
  /** What was made in the end, which may be a full one all the same. */
  readonly increment: Increment;
  readonly written: WrittenBase;
  readonly config: BaseManifest['volumes'];
  readonly description: BaseServerDescription;
  readonly onThisHost: boolean;
  readonly warnings: readonly string[];
}

export function composeBase(
  ports: BaseBackupPorts,
  request: BaseBackupRequest,
  { ready, label, startedAt, started }: BaseRun,
  parts: WrittenParts,
): BaseManifest {
  const { facts } = ready;
  const { stream, increment, written, description } = parts;
  const { checksumFailures: failures, ...end } = written.end;
  const parent = increment.type === 'incremental' ? increment.parent : undefined;
  // Start plus elapsed time, not the wall clock: that may have been set meanwhile, even to before the start.
  const finishedAt = new Date(startedAt.getTime() + ports.clock.monotonic() - started);
  return {
    schemaVersion: BASE_MANIFEST_SCHEMA_VERSION,
    kind: 'base',
    label,
    app: request.app,
    runId: request.runId,
    lifeboatVersion: request.lifeboatVersion,
    startedAt: startedAt.toISOString(),
    finishedAt: finishedAt.toISOString(),
    host: describeHost(ports.host.facts(), description.build, parts.onThisHost),
    server: {
      version: facts.version,
      versionNumber: facts.versionNumber,
      systemIdentifier: facts.systemIdentifier,
      standby: facts.standby,
      dataChecksums: facts.dataChecksums,
      walSegmentSize: facts.walSegmentSize,
      blockSize: facts.blockSize,
    },
    type: increment.type,
    parent: parent?.label ?? null,
    chain: parent ? [...parent.chain, parent.label] : [],
    startLsn: formatLsn(stream.start.lsn),
    startTimeline: stream.start.timeline,
    stopLsn: formatLsn(end.lsn),
    stopTimeline: end.timeline,
    stopTime: description.now,
    settings: { ...description.settings },
    databases: description.databases,
    tablespaces: describeTablespaces(stream, description),
    volumes: [...written.volumes, ...parts.config],
    backupManifest: written.backupManifest,
    pageChecksums: { verified: facts.dataChecksums && failures === 0, failures },
    warnings: [...ready.warnings, ...parts.warnings, ...end.warnings],
  };
}

/** The data files are those of the server's architecture and libc, which need not be this host's. */
export function describeHost(
  facts: HostFacts,
  build: ServerBuild,
  onThisHost: boolean,
): BaseManifest['host'] {
  const known = onThisHost ? facts : { architecture: UNKNOWN, libc: UNKNOWN };
  return {
    ...facts,
    architecture: build.architecture ?? known.architecture,
    libc: build.libc ?? known.libc,
  };
}

function describeTablespaces(
  { tablespaces }: BaseBackupStream,
  { tablespaceNames }: BaseServerDescription,
): BaseManifest['tablespaces'] {
  return tablespaces.flatMap(({ oid, location, sizeBytes }) =>
    oid === null || location === null
      ? []
      : [{ oid, name: tablespaceNames.get(oid) ?? String(oid), location, size: sizeBytes }],
  );
}
