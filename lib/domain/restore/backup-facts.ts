import type { Compression, DumpFormat } from '../backup/keys.ts';
import type { CountedTable, DatabaseDescription, Manifest } from '../backup/manifest.ts';
import type { DumpInspection } from './inspection.ts';

/** A backup as a restore sees it: all of it from its manifest, or what could be learned without one. */
export interface BackupFacts {
  /** The id, or the file's name. */
  readonly label: string;
  readonly startedAt: string | undefined;
  readonly format: DumpFormat;
  readonly compression: Compression | 'none';
  /** Bytes before compression; an estimate when `exact` is false. */
  readonly rawSize: number;
  readonly exact: boolean;
  /** `undefined`: not known; the target's own are kept where there is one, else the server's defaults are used. */
  readonly database: DatabaseDescription | undefined;
  /** As in `server_version_num`. */
  readonly serverVersion: number | undefined;
  readonly pgDumpVersion: number | undefined;
  readonly restricted: boolean;
  /** They must exist. */
  readonly roles: readonly string[];
  /** Those of them to whom the restoring role must be able to hand objects, as far as is known. */
  readonly owners: readonly string[];
  readonly extensions: readonly { readonly name: string; readonly version: string | undefined }[];
  readonly collations: Manifest['collations'];
  /** `undefined`: rows were not counted. */
  readonly tables: readonly CountedTable[] | undefined;
  readonly materializedViews: Manifest['materializedViews'];
  /** `undefined`: not counted. */
  readonly largeObjects: number | undefined;
  /** What cannot be checked or brought back, one sentence each. */
  readonly warnings: readonly string[];
}

/** Everything is exact: nothing of the dump has to be read for it. */
export function factsOfManifest(manifest: Manifest): BackupFacts {
  return {
    label: manifest.id,
    startedAt: manifest.startedAt,
    format: manifest.dump.format,
    compression: manifest.dump.compression,
    rawSize: manifest.dump.rawSize,
    exact: true,
    database: manifest.database,
    serverVersion: manifest.server.versionNumber,
    pgDumpVersion: parseVersion(manifest.tools.pgDump),
    restricted: manifest.tools.psqlNeeded !== null,
    roles: rolesOf(manifest),
    owners: [manifest.database.owner],
    extensions: manifest.extensions,
    collations: manifest.collations,
    tables: manifest.tables,
    materializedViews: manifest.materializedViews,
    largeObjects: manifest.largeObjects,
    warnings: [],
  };
}

/** Also those that the database's own properties name: a manifest's list is of its objects. */
function rolesOf({ roles, database }: Manifest): string[] {
  const granted = (database.grants ?? []).map((grant) => grant.grantee);
  const set = database.settings.map((setting) => setting.role);
  const named = [...roles, database.owner, ...granted, ...set].filter((role) => role !== null);
  return [...new Set(named)].sort();
}

/** @param label the file's name */
export function factsOfInspection(label: string, inspection: DumpInspection): BackupFacts {
  return {
    ...nothingKnown(label, inspection.format),
    compression: inspection.compression,
    rawSize: inspection.rawSize,
    exact: true,
    serverVersion: inspection.serverVersion ? parseVersion(inspection.serverVersion) : undefined,
    pgDumpVersion: inspection.pgDumpVersion ? parseVersion(inspection.pgDumpVersion) : undefined,
    restricted: inspection.restricted,
    roles: inspection.owners,
    owners: inspection.owners,
    extensions: inspection.extensions.map((name) => ({ name, version: undefined })),
    tables: inspection.tables?.map((table) => ({ ...table, kind: 'table' })),
    warnings: [
      `${label} has no manifest: its SHA-256 and the moment of its snapshot could not be checked. It was read whole: it decompresses, and ends as a complete dump does.`,
      ...(inspection.tables
        ? []
        : [
            `${label} holds no COPY data that could be counted (pg_dump compressed it by itself, or was run with --inserts or --schema-only): how many rows each table must have is not known, so rows are not compared.`,
          ]),
    ],
  };
}

/** A rule of thumb for text in gzip, for a plan that cannot look into the file. */
const USUAL_RATIO = 6;

/** For a plan alone: what a file's name and size tell, before it was fetched. */
export function factsOfName(label: string, size: number, format: DumpFormat): BackupFacts {
  return {
    ...nothingKnown(label, format),
    rawSize: size * USUAL_RATIO,
    warnings: [
      `${label} has no manifest: it can be looked into only once it is downloaded, so this plan knows its name and size alone.`,
    ],
  };
}

function nothingKnown(label: string, format: DumpFormat): BackupFacts {
  return {
    label,
    format,
    startedAt: undefined,
    compression: 'gzip',
    rawSize: 0,
    exact: false,
    database: undefined,
    serverVersion: undefined,
    pgDumpVersion: undefined,
    restricted: false,
    roles: [],
    owners: [],
    extensions: [],
    collations: [],
    tables: undefined,
    materializedViews: [],
    largeObjects: undefined,
    warnings: [],
  };
}

/** `15.18 (Debian …)` → 150018; `undefined` when it begins with no version. */
export function parseVersion(text: string): number | undefined {
  const match = /(\d+)(?:\.(\d+))?/.exec(text);
  return match ? Number(match[1]) * 10_000 + Number(match[2] ?? 0) : undefined;
}
