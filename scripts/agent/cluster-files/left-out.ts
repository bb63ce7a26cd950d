/** What no base backup holds, by its name: src/backend/backup/basebackup.c, src/common/relpath.c and src/backend/storage/file/reinit.c. */

/** Kept for their permissions; what is in them is made anew when a server starts. */
const EMPTIED: ReadonlySet<string> = new Set([
  'pg_dynshmem',
  'pg_notify',
  'pg_replslot',
  'pg_serial',
  'pg_snapshots',
  'pg_stat_tmp',
  'pg_subtrans',
]);

const LEFT_OUT: ReadonlySet<string> = new Set([
  '.DS_Store',
  'backup_label',
  'backup_manifest',
  'current_logfiles.tmp',
  'postgresql.auto.conf.tmp',
  'postmaster.opts',
  'postmaster.pid',
  'tablespace_map',
]);
const LEFT_OUT_PREFIXES = ['pgsql_tmp', 'pg_internal.init'];

/** Whatever folder it lies in. */
export function isLeftOut(name: string): boolean {
  return LEFT_OUT.has(name) || LEFT_OUT_PREFIXES.some((prefix) => name.startsWith(prefix));
}

/** Whether the folder of that name goes into the backup without its contents. */
export function isEmptied(name: string): boolean {
  return EMPTIED.has(name);
}

const DATABASE_FOLDER = /^(?:base|PG_\d+_\d+)\/\d+\/$/;

/** @param folder relative to the data directory or to the tablespace, with a slash at its end */
export function isDatabaseFolder(folder: string): boolean {
  return DATABASE_FOLDER.test(folder);
}

const TEMPORARY = /^t\d+_\d+(?:_(?:fsm|vm|init))?(?:\.\d+)?$/;

/** Of a relation that goes with its session, in a database's folder. */
export function isTemporary(name: string): boolean {
  return TEMPORARY.test(name);
}

const RELATION = /^(\d+)(?:_(fsm|vm|init))?(?:\.\d+)?$/;

/**
 * The file whose presence says that this one belongs to an unlogged relation, which recovery makes anew from it; `undefined` for
 * such a file itself, and for what is no relation's.
 */
export function initForkOf(name: string): string | undefined {
  const [, relation, fork] = RELATION.exec(name) ?? [];
  return relation === undefined || fork === 'init' ? undefined : `${relation}_init`;
}
