import { Option, type Command } from 'commander';
import type { Answer } from '../answer.ts';

type Options = Readonly<Record<string, unknown>>;
type Run = (options: Options, args: readonly string[]) => Promise<Answer>;
type Wrap = (run: Run) => (options: Options, args: readonly string[]) => Promise<void>;

/** `lifeboat backup`: dumps and base backups. */
export function addBackup(program: Command, answer: Wrap, examples: (...lines: string[]) => string): void {
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
    .option('--dry-run', 'print the plan, change nothing')
    .option('--json', 'print one JSON object instead of text')
    .addHelpText(
      'after',
      examples(
        'lifeboat backup',
        'BACKUP_COMPRESSION=zstd lifeboat backup --json',
        'lifeboat backup --kind base',
        'lifeboat backup --dry-run',
      ),
    )
    .action((options: Options) =>
      answer(async (given) => (await import('../cli/backup.ts')).runBackup(given))(options, []),
    );
}
