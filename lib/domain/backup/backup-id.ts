import { LifeboatError } from '../errors.ts';

/**
 * A backup's id is `<app>_db_<UTC date>_<UTC time>`, as in `hostmaster_db_20260117_020000`. The files of a backup are
 * the id plus a suffix. The pattern is anchored on both sides: the series `hostmaster` must never match the files of
 * `hostmaster_staging`.
 */
export interface BackupId {
  readonly app: string;
  /** Whole seconds, UTC. */
  readonly time: Date;
}

const ID = /^(?<app>[A-Za-z0-9][A-Za-z0-9._-]*)_db_(?<day>\d{8})_(?<clock>\d{6})$/;

/** What the names of all its files begin with, as in `hostmaster_db_20260117_020000`; UTC. */
export function formatBackupId({ app, time }: BackupId): string {
  const [day, clock] = time.toISOString().slice(0, 19).split('T') as [string, string];
  return `${app}_db_${day.replaceAll('-', '')}_${clock.replaceAll(':', '')}`;
}

/** `undefined` when `text` is no backup id, or names a date that does not exist. */
export function parseBackupId(text: string): BackupId | undefined {
  const groups = ID.exec(text)?.groups;
  if (!groups) return undefined;
  const { app, day, clock } = groups as { app: string; day: string; clock: string };
  const iso = `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}T${clock.slice(0, 2)}:${clock.slice(2, 4)}:${clock.slice(4)}.000Z`;
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) || time.toISOString() !== iso ? undefined : { app, time };
}

/** @throws LifeboatError USAGE when `text` is no backup id. */
export function requireBackupId(text: string): BackupId {
  const id = parseBackupId(text);
  if (id) return id;
  throw new LifeboatError(
    'USAGE',
    `${JSON.stringify(text)} is no backup id; one looks like hostmaster_db_20260117_020000`,
    {
      hint: 'Run: lifeboat list',
    },
  );
}
