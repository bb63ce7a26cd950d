import { LifeboatError } from '../errors.ts';
import { formatBytes } from '../quantities.ts';
import type { Backup } from './catalog.ts';
import type { Manifest } from './manifest.ts';
import { majorOf } from '../server-version.ts';

/** The decisions of a backup's preflight. Each returns its problem, so that all can be told at once. */

export interface ServerIdentity {
  readonly database: string;
  readonly systemIdentifier: string;
}

/** Two databases under one app name would shorten each other's retention and mix up `latest`. */
export function checkSeries(
  app: string,
  source: ServerIdentity,
  backups: readonly Backup[],
): LifeboatError | undefined {
  const last = backups.find(({ manifest }) => manifest)?.manifest;
  if (!last) return undefined;
  const difference = describeDifference(last, source);
  if (!difference) return undefined;
  return new LifeboatError(
    'SERIES_MISMATCH',
    `The series ${JSON.stringify(app)} holds backups of another database: ${difference} (newest: ${last.id})`,
  );
}

function describeDifference(last: Manifest, source: ServerIdentity): string | undefined {
  if (last.database.name !== source.database) {
    return `${JSON.stringify(last.database.name)}, not ${JSON.stringify(source.database)}`;
  }
  if (last.server.systemIdentifier === source.systemIdentifier) return undefined;
  return `${JSON.stringify(source.database)} of the cluster ${last.server.systemIdentifier}, not of ${source.systemIdentifier}`;
}

/** pg_dump refuses a server whose major version is newer than its own. */
export function checkClient(
  client: { readonly path: string; readonly version: string; readonly versionNumber: number },
  server: { readonly version: string; readonly versionNumber: number },
): LifeboatError | undefined {
  if (majorOf(client.versionNumber) >= majorOf(server.versionNumber)) return undefined;
  return new LifeboatError(
    'CLIENT_TOO_OLD',
    `${client.path} is version ${client.version}, older than the server’s ${server.version}: it would refuse to dump it`,
    {
      hint: `Install it: sudo apt-get install postgresql-client-${majorOf(server.versionNumber)}, or set PG_BIN_DIR to its folder.`,
    },
  );
}

/** A dump holds no indexes and is compressed; a first one is taken to need half of the database's size. */
const FIRST_DUMP_SHARE = 0.5;
/** A database grows between two nights. */
const HEADROOM = 1.2;

/** Bytes that the next dump is likely to need. */
export function estimateDumpSize(databaseBytes: number, previous: Manifest | undefined): number {
  if (!previous || previous.database.sizeBytes === 0) return Math.ceil(databaseBytes * FIRST_DUMP_SHARE);
  const growth = Math.max(1, databaseBytes / previous.database.sizeBytes);
  return Math.ceil(previous.dump.size * growth * HEADROOM);
}

/** @param free bytes. @param needed bytes, an estimate */
export function checkDiskSpace(folder: string, free: number, needed: number): LifeboatError | undefined {
  if (free >= needed) return undefined;
  return new LifeboatError(
    'DISK_FULL',
    `${folder} has ${formatBytes(free)} free; the dump needs about ${formatBytes(needed)}`,
  );
}

/** @param unreadable as `schema.name` */
export function checkRights(user: string, unreadable: readonly string[]): LifeboatError | undefined {
  if (unreadable.length === 0) return undefined;
  return new LifeboatError(
    'DB_RIGHTS',
    `Role ${JSON.stringify(user)} may not read all of the database: ${unreadable.join(', ')}`,
    {
      hint: `As a superuser: GRANT pg_read_all_data TO "${user.replaceAll('"', '""')}"; and for row security: ALTER ROLE … BYPASSRLS;`,
    },
  );
}

/**
 * Minor releases whose psql knows `\restrict` (CVE-2025-8714, August 2025):
 * https://www.postgresql.org/docs/release/15.14/
 */
const FIRST_RESTRICT_MINOR: Readonly<Record<number, number>> = { 13: 22, 14: 19, 15: 14, 16: 10, 17: 6 };

/** `psql 13.22, 14.19, …` for people and the manifest. */
export const PSQL_FOR_RESTRICT = `psql ${Object.entries(FIRST_RESTRICT_MINOR)
  .map(([release, minor]) => `${release}.${minor}`)
  .join(', ')} or 18`;

/** `\restrict`, which dumps begin with since the minor releases of August 2025; an older psql stops at it. */
export function knowsRestrict(psqlVersionNumber: number): boolean {
  const release = majorOf(psqlVersionNumber);
  const minor = FIRST_RESTRICT_MINOR[release];
  return release >= 18 || (minor !== undefined && psqlVersionNumber % 10_000 >= minor);
}
