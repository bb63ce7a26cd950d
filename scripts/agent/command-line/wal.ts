import type { Command } from 'commander';
import { examples, JSON_OPTION, type Answering } from './vocabulary.ts';

/** `lifeboat wal …`: what point-in-time recovery lives on. */
export function addWal(program: Command, answer: Answering): void {
  const wal = program
    .command('wal')
    .description('Stream the write-ahead log to S3, for point-in-time recovery')
    .showHelpAfterError('(lifeboat wal --help shows what there is)');
  wal
    .command('stream')
    .description('Stream WAL to S3 until told to stop; a service (lifeboat install --systemd --wal)')
    .option('--adopt-series', 'also when another cluster wrote under this APP_NAME a moment ago')
    .option(...JSON_OPTION)
    .addHelpText('after', examples('lifeboat wal stream'))
    .action(answer(async (options) => (await import('../cli/wal.ts')).runWalStream(options)));
  wal
    .command('status')
    .description(
      'How far S3 is behind, the slot, and which instants can be restored; fails when that is worrying',
    )
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `${examples('lifeboat wal status', 'lifeboat wal status --json')}\n\nExit status: 0 good, 9 attention needed, 4 PostgreSQL and 5 S3 did not answer.`,
    )
    .action(answer(async () => (await import('../cli/wal.ts')).runWalStatus()));
  wal
    .command('verify')
    .description('Read all WAL in S3 again, every byte, and look at every record in it as recovery would')
    .option(...JSON_OPTION)
    .addHelpText('after', examples('lifeboat wal verify'))
    .action(answer(async (options) => (await import('../cli/wal.ts')).runWalVerify(options)));
  wal
    .command('push')
    .argument('<path>', '%p: a file in pg_wal')
    .description('As archive_command, instead of a stream: succeeds only when S3 holds the file')
    .option('--env-file <file>', 'settings, as in .env; what is in the environment wins')
    .addHelpText(
      'after',
      `${examples("archive_command = 'lifeboat wal push %p --env-file /etc/postgresql/lifeboat.env'")}

Under load the files that wait go along with the first one.`,
    )
    .action(answer(async (options, [path]) => (await import('../cli/wal.ts')).runWalPush(options, path!)));
}
