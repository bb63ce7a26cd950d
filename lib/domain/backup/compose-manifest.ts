import { formatBackupId, type BackupId } from './backup-id.ts';
import type { Compression, DumpFormat } from './keys.ts';
import {
  MANIFEST_SCHEMA_VERSION,
  type CountedTable,
  type DumpFile,
  type Manifest,
  type StoredFile,
} from './manifest.ts';
import { PSQL_FOR_RESTRICT } from './preflight.ts';

/** What a run learnt, each part from where it knows best. */
export interface ManifestParts {
  readonly id: BackupId;
  readonly runId: string;
  readonly lifeboatVersion: string;
  readonly finishedAt: Date;
  readonly host: Manifest['host'];
  readonly server: Manifest['server'];
  readonly pgDumpVersion: string;
  readonly restricted: boolean;
  readonly database: Manifest['database'];
  readonly extensions: Manifest['extensions'];
  readonly roles: readonly string[];
  readonly collations: Manifest['collations'];
  readonly materializedViews: Manifest['materializedViews'];
  readonly largeObjects: number;
  readonly partitions: readonly QualifiedName[];
  readonly extensionTables: readonly QualifiedName[];
  readonly tables: readonly (QualifiedName & { readonly rows: number })[];
  readonly dump: DumpFile & { readonly format: DumpFormat; readonly compression: Compression };
  readonly globals: StoredFile & { readonly rolePasswords: boolean };
  readonly warnings: readonly string[];
}

interface QualifiedName {
  readonly schema: string;
  readonly name: string;
}

/** Of a dump that is complete: everything in it was counted, measured or asked of the server. */
export function composeManifest(parts: ManifestParts): Manifest {
  return {
    schemaVersion: MANIFEST_SCHEMA_VERSION,
    kind: 'dump',
    id: formatBackupId(parts.id),
    app: parts.id.app,
    runId: parts.runId,
    lifeboatVersion: parts.lifeboatVersion,
    startedAt: parts.id.time.toISOString(),
    finishedAt: parts.finishedAt.toISOString(),
    host: parts.host,
    server: parts.server,
    tools: { pgDump: parts.pgDumpVersion, psqlNeeded: parts.restricted ? PSQL_FOR_RESTRICT : null },
    database: parts.database,
    extensions: [...parts.extensions],
    roles: [...parts.roles],
    collations: [...parts.collations],
    dump: parts.dump,
    globals: parts.globals,
    tables: classifyTables(parts),
    materializedViews: [...parts.materializedViews],
    largeObjects: parts.largeObjects,
    warnings: [...parts.warnings],
  };
}

function classifyTables({ tables, partitions, extensionTables }: ManifestParts): CountedTable[] {
  const partitionKeys = new Set(partitions.map(keyOf));
  const extensionKeys = new Set(extensionTables.map(keyOf));
  return tables.map(({ schema, name, rows }) => {
    const key = keyOf({ schema, name });
    const kind = extensionKeys.has(key)
      ? 'extension-configuration'
      : partitionKeys.has(key)
        ? 'partition'
        : 'table';
    return { schema, name, kind, rows };
  });
}

function keyOf({ schema, name }: QualifiedName): string {
  return JSON.stringify([schema, name]);
}

export function totalRows(manifest: Pick<Manifest, 'tables'>): number {
  return manifest.tables.reduce((sum, { rows }) => sum + rows, 0);
}
