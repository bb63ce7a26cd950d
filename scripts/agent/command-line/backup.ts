import { Option, type Command } from 'commander';
import { DRY_RUN, examples, JSON_OPTION, type Answering } from './vocabulary.ts';

/** `lifeboat backup`: dumps and base backups. */
export function addBackup(program: Command, answer: Answering): void {
  program
    .command('backup')
    .description(
      'Back up DB_NAME to BACKUP_DIR and, with S3_BUCKET set, to S3; or the whole cluster, for point-in-time recovery',
    )
    .addOption(
      new Option(
        '--kind <kind>',
        'dump: DB_NAME; base: the whole cluster; both: one after the other; default: BACKUP_KIND, or dump',
      ).choices(['dump', 'base', 'both']),
    )
    .option('--allow-standby', 'also when the server is a standby')
    .option('--adopt-series', 'go on with a series that so far belonged to another database or cluster')
    .option(...DRY_RUN)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      examples(
        'lifeboat backup',
        'BACKUP_COMPRESSION=zstd lifeboat backup --json',
        'lifeboat backup --kind base',
        'lifeboat backup --dry-run',
      ),
    )
    .action(answer(async (options) => (await import('../cli/backup.ts')).runBackup(options)));
}
