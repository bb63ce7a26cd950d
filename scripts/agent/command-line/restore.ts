import type { Command } from 'commander';
import { DRY_RUN, examples, JSON_OPTION, type Answering } from './vocabulary.ts';

/** `lifeboat restore`: of a backup, or to a point in time. */
export function addRestore(program: Command, answer: Answering): void {
  const restore = program
    .command('restore')
    .argument('[source]', 'latest, a backup’s id, a file, or an s3:// URL')
    .description(
      'Restore a backup into DB_NAME, beside what is there, or the whole cluster to a point in time; nothing is ever destroyed',
    )
    .option('--to-database <name>', 'the target, instead of DB_NAME')
    .option(
      '--replace',
      'take the place of a database that holds data; the old one is kept under another name',
    )
    .option('--globals', 'first create the roles that are missing')
    .option('--table <names>', 'only these tables, as in: users,"Order Items",billing.invoices')
    .option('--jobs <n>', 'parallel jobs of a custom-format restore')
    .option('--force-older', 'also into a server older than the one the backup is of');
  addRecoveryOptions(restore)
    .option(...DRY_RUN)
    .option(...JSON_OPTION)
    .addHelpText('after', examples(...EXAMPLES))
    .action(
      answer(async (options, [source]) => (await import('../cli/restore.ts')).runRestore(options, source)),
    );
}

/** What `restore` takes beside a backup to restore: a point in time, and where the cluster of then is to lie. */
function addRecoveryOptions(restore: Command): Command {
  return restore
    .option('--to-time <time>', 'recover the cluster as it was then, with a zone: 2026-01-17T08:54:59Z')
    .option('--to-lsn <lsn>', 'recover to a position in the WAL')
    .option('--to-xid <xid>', 'recover to the end of a transaction')
    .option('--to-name <name>', 'recover to a restore point')
    .option('--latest', 'recover to the last commit in S3')
    .option('--immediate', 'recover to the end of the newest base backup')
    .option('--exclusive', 'stop before the target, not behind it')
    .option(
      '--data-dir <folder>',
      'where the recovered cluster is to lie: absent or empty; with --in-place the live one',
    )
    .option('--tablespace-dir <folder>', 'for its tablespaces; <data-dir>_tablespaces when left out')
    .option('--in-place', 'put it in the place of the live cluster; the old one is kept beside')
    .option('--yes', 'with --in-place: do not ask')
    .option('--finish', 'with --in-place: go on with one that was interrupted or taken back')
    .option('--undo', 'with --in-place: put the old cluster back')
    .option('--stop-command <command>', 'with --in-place: for a service that is not recognised')
    .option('--start-command <command>', 'with --in-place: the same')
    .option('--base <label>', 'from this base backup')
    .option('--timeline <n>', 'on this timeline')
    .option(
      '--action <action>',
      'when it is there: promote (default), pause (for reading), shutdown (promoted)',
    )
    .option('--port <port>', 'let it listen on localhost too, not on its socket alone')
    .option(
      '--os-user <name>',
      'as root: who the server runs as; else the owner of the folder above, or postgres',
    )
    .option(
      '--database <name>',
      'out of the recovered cluster take this database alone, into the live server',
    )
    .option('--keep', 'with --database or --table: leave the recovered cluster open afterwards')
    .option('--despite <differences>', 'though this host differs: architecture,libc,version');
}

const EXAMPLES = [
  'lifeboat restore latest',
  'DB_NAME=hostmaster_staging lifeboat restore latest',
  'lifeboat restore s3://hostmaster-backups/database/hostmaster_db_20260115_020000.sql.gz --dry-run',
  'lifeboat restore hostmaster_db_20260115_020000 --replace',
  'lifeboat restore --to-time 2026-01-17T08:54:59Z --dry-run',
  'lifeboat restore --to-time 2026-01-17T08:54:59Z --data-dir /var/lib/postgresql/recovered',
  'lifeboat restore --to-time 2026-01-17T08:54:59Z --database hostmaster_prod --to-database hostmaster_before',
  'lifeboat restore --to-time 2026-01-17T08:54:59Z --table public.invoices,public.payments --replace',
  'sudo lifeboat restore --to-time 2026-01-17T08:54:59Z --in-place',
  'sudo lifeboat restore --in-place --undo',
] as const;
