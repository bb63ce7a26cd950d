import { LifeboatError } from '../../../lib/domain/errors.ts';

/**
 * The names in synchronous_standby_names
 * (https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONOUS-STANDBY-NAMES):
 * `a, b`, `FIRST 2 (a, b)`, `ANY 1 (a, "B c")`, `2 (a, b)`, `*`.
 */
export function synchronousStandbyNames(setting: string): string[] {
  const [, list = setting] = /^\s*(?:(?:first|any)\s+)?\d+\s*\((.*)\)\s*$/is.exec(setting) ?? [];
  return [...list.matchAll(/"((?:[^"]|"")*)"|[^\s,"]+/g)].map(
    ([word, quoted]) => quoted?.replaceAll('""', '"') ?? word,
  );
}

/**
 * What streams WAL to S3 must not be what every commit waits for.
 * @throws LifeboatError SYNC_STANDBY
 */
export function checkNotSynchronous(setting: string, applicationName: string): void {
  const own = applicationName.toLowerCase();
  const match = synchronousStandbyNames(setting).find((name) => name === '*' || name.toLowerCase() === own);
  if (match === undefined) return;
  throw new LifeboatError(
    'SYNC_STANDBY',
    `synchronous_standby_names is ${JSON.stringify(setting)}: ${JSON.stringify(match)} would make commits wait for ${JSON.stringify(applicationName)}, that is for S3`,
  );
}
