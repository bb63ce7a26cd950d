import type { ServerBuild } from '../ports/base-backup.ts';

/** As Node names them. */
const ARCHITECTURES = new Map([
  ['x86_64', 'x64'],
  ['amd64', 'x64'],
  ['aarch64', 'arm64'],
  ['arm64', 'arm64'],
]);

/**
 * What libc gives as the version of a collation is glibc's own; C and POSIX have none, nor has any of musl's.
 * https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-COLLATION
 */
export const BUILD = `
  SELECT version() AS version,
         (SELECT max(pg_collation_actual_version(oid)) FROM pg_collation WHERE collprovider = 'c') AS collations`;

export interface BuildRow extends Record<string, unknown> {
  /** As in `PostgreSQL 15.8 on x86_64-pc-linux-gnu, compiled by gcc …, 64-bit`. */
  readonly version: string;
  readonly collations: string | null;
}

export function describeBuild({ version, collations }: BuildRow): ServerBuild {
  const [, machine, system = ''] = / on (\w+)-([^,]*),/.exec(version) ?? [];
  const isGlibc = collations !== null && /linux/.test(system) && !system.includes('musl');
  return {
    architecture: ARCHITECTURES.get(machine ?? ''),
    libc: isGlibc ? `glibc ${collations}` : undefined,
  };
}
