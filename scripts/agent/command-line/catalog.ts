import type { Command } from 'commander';
import { DRY_RUN, examples, JSON_OPTION, type Answering } from './vocabulary.ts';

/** What looks at the backups that are there: `list`, `verify`, `status`, `retention`. */
export function addCatalogCommands(program: Command, answer: Answering): void {
  addList(program, answer);
  addVerify(program, answer);
  addStatus(program, answer);
  addRetention(program, answer);
}

function addList(program: Command, answer: Answering): void {
  program
    .command('list')
    .description('The backups of this series, local and in S3, newest first')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `${examples('lifeboat list', 'lifeboat list --json')}\n\nEXPIRES: from when retention may remove the copy; kept: it stays, as things are; due: it may go already.`,
    )
    .action(answer(async () => (await import('../cli/list.ts')).runList()));
}

function addVerify(program: Command, answer: Answering): void {
  program
    .command('verify')
    .argument('[id]', 'a dump’s id or a base backup’s; the newest of each kind when left out')
    .description('Read a backup again, every byte of every copy, and compare it with its manifest')
    .option('--all', 'every backup of the series')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      examples(
        'lifeboat verify',
        'lifeboat verify hostmaster_db_20260115_020000',
        'lifeboat verify hostmaster_base_20260115_020000',
        'lifeboat verify --all',
      ),
    )
    .action(
      // An empty id, as of a variable that is not set, is none.
      answer(async (options, [id]) => (await import('../cli/verify.ts')).runVerify(options, id || undefined)),
    );
}

function addStatus(program: Command, answer: Answering): void {
  program
    .command('status')
    .description('Age of the last good backup, sizes, cost and restore time; fails when it is too old')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `${examples('lifeboat status', 'lifeboat status --json')}\n\nExit status: 0 good, 9 the last good backup is too old or the last run failed.`,
    )
    .action(answer(async () => (await import('../cli/status.ts')).runStatus()));
}

function addRetention(program: Command, answer: Answering): void {
  program
    .command('retention')
    .description(
      'Show what may go and why, base backups and WAL too; local files go, in S3 nothing does without --apply',
    )
    .option(
      '--apply',
      'in S3 too: tag what may go, for the bucket’s lifecycle to remove (needs an operator’s rights)',
    )
    .option('--delete', 'with --apply: delete instead of tagging, for a bucket without such a lifecycle')
    .option(...DRY_RUN)
    .option(...JSON_OPTION)
    .addHelpText('after', examples('lifeboat retention --dry-run', 'lifeboat retention --apply'))
    .action(answer(async (options) => (await import('../cli/retention.ts')).runRetention(options)));
}
