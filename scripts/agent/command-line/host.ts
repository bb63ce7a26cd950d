import { Option, type Command } from 'commander';
import { examples, JSON_OPTION, type Answering } from './vocabulary.ts';

/** What sets up the host that the backups are made on: `notify`, `install`. */
export function addHostCommands(program: Command, answer: Answering): void {
  addNotify(program, answer);
  addInstall(program, answer);
}

function addNotify(program: Command, answer: Answering): void {
  program
    .command('notify')
    .description('Send a test message on every configured channel')
    .addOption(new Option('--test', 'send it').makeOptionMandatory())
    .option(...JSON_OPTION)
    .addHelpText('after', examples('lifeboat notify --test'))
    .action(answer(async () => (await import('../cli/notify.ts')).runNotify()));
}

function addInstall(program: Command, answer: Answering): void {
  program
    .command('install')
    .description('Have systemd or cron run the backup every night at 02:00 UTC')
    .option('--systemd', 'a service and a timer (as root)')
    .option('--cron', 'a crontab entry')
    .option('--wal', 'also the service that streams WAL to S3, for point-in-time recovery (--systemd only)')
    .option('--print', 'show what would be written, write nothing')
    .option('--uninstall', 'remove what an installation made; settings and backups stay')
    .option('--user <name>', 'who runs the backup; postgres where there is such a user')
    .option('--force', 'replace settings and units of the same name that differ')
    .option('--purge', 'with --uninstall: remove the settings as well')
    .addOption(new Option('--root <folder>', 'install below this folder').hideHelp())
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      examples(
        'sudo --preserve-env lifeboat install --systemd',
        'sudo --preserve-env lifeboat install --systemd --wal',
        'lifeboat install --cron --print',
        'sudo --preserve-env lifeboat install --systemd --uninstall',
      ),
    )
    .action(answer(async (options) => (await import('../cli/install.ts')).runInstall(options)));
}
