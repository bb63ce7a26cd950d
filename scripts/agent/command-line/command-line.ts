import { Command, CommanderError, Option } from 'commander';
import { asLifeboatError, EXIT_STATUS, LifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import { addBackup } from './backup.ts';
import { addRecoveryOptions, RECOVERY_EXAMPLES } from './recovery-options.ts';
import { renderError, renderErrorAsJson } from '../render/error.ts';
import { LIFEBOAT_VERSION } from '../version.ts';
import { addWal } from './wal.ts';

type Options = Readonly<Record<string, unknown>>;
type Run = (options: Options, args: readonly string[]) => Promise<Answer>;

/** Parses the arguments and runs the command; the only place that prints results and errors and sets the exit status. */
export async function runCommandLine(argv: readonly string[]): Promise<void> {
  const output = watchOutput();
  process.once('beforeExit', endUnsettled);
  const json = argv.includes('--json');
  let status: number = EXIT_STATUS.success;
  const answer = (run: Run) => async (options: Options, args: readonly string[]) => {
    status = printAnswer(await run(options, args), json);
  };
  const program = buildProgram(answer);
  try {
    await program.parseAsync([...argv]);
  } catch (thrown) {
    const operation = program.commands.map((command) => command.name()).find((name) => name === argv[2]);
    const asJson = json && { operation };
    status =
      thrown instanceof CommanderError
        ? usageStatus(thrown, asJson)
        : printError(asLifeboatError(thrown), asJson);
  }
  if (status === EXIT_STATUS.success && output.lost) status = printError(lostOutput(output.lost), false);
  // Kept-alive connections would hold the process for seconds after its work is done.
  process.exit(status);
}

type Wrap = (run: Run) => (options: Options, args: readonly string[]) => Promise<void>;

function buildProgram(answer: Wrap): Command {
  const program = new Command('lifeboat')
    .description('Backups and disaster recovery for self-managed PostgreSQL on AWS. All times are UTC.')
    .version(LIFEBOAT_VERSION)
    .exitOverride()
    .showHelpAfterError('(lifeboat --help shows what there is)')
    .addHelpText('after', HELP);
  addBackup(program, answer, examples);
  addRestore(program, answer);
  addCatalogCommands(program, answer);
  addHostCommands(program, answer);
  addWal(program, answer, examples);
  addRun(program, answer);
  return program;
}

const JSON_OPTION = ['--json', 'print one JSON object instead of text'] as const;
const DRY_RUN = ['--dry-run', 'print the plan, change nothing'] as const;

function addRestore(program: Command, answer: Wrap): void {
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
    .addHelpText(
      'after',
      examples(
        'lifeboat restore latest',
        'DB_NAME=hostmaster_staging lifeboat restore latest',
        'lifeboat restore s3://hostmaster-backups/database/hostmaster_db_20260115_020000.sql.gz --dry-run',
        'lifeboat restore hostmaster_db_20260115_020000 --replace',
        ...RECOVERY_EXAMPLES,
      ),
    )
    .action((source: string | undefined, options: Options) =>
      answer(async (given, args) => (await import('../cli/restore.ts')).runRestore(given, args[0]))(
        options,
        source === undefined ? [] : [source],
      ),
    );
}

function addCatalogCommands(program: Command, answer: Wrap): void {
  program
    .command('list')
    .description('The backups of this series, local and in S3, newest first')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `${examples('lifeboat list', 'lifeboat list --json')}\n\nEXPIRES: from when retention may remove the copy; kept: it stays, as things are; due: it may go already.`,
    )
    .action((options: Options) =>
      answer(async () => (await import('../cli/list.ts')).runList())(options, []),
    );
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
    .action((id: string | undefined, options: Options) =>
      answer(async (given, args) => (await import('../cli/verify.ts')).runVerify(given, args[0]))(
        options,
        id ? [id] : [],
      ),
    );
  program
    .command('status')
    .description('Age of the last good backup, sizes, cost and restore time; fails when it is too old')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `${examples('lifeboat status', 'lifeboat status --json')}\n\nExit status: 0 good, 9 the last good backup is too old or the last run failed.`,
    )
    .action((options: Options) =>
      answer(async () => (await import('../cli/status.ts')).runStatus())(options, []),
    );
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
    .action((options: Options) =>
      answer(async (given) => (await import('../cli/retention.ts')).runRetention(given))(options, []),
    );
}

function addHostCommands(program: Command, answer: Wrap): void {
  program
    .command('notify')
    .description('Send a test message on every configured channel')
    .addOption(new Option('--test', 'send it').makeOptionMandatory())
    .option(...JSON_OPTION)
    .addHelpText('after', examples('lifeboat notify --test'))
    .action((options: Options) =>
      answer(async () => (await import('../cli/notify.ts')).runNotify())(options, []),
    );
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
        'sudo lifeboat install --systemd',
        'sudo lifeboat install --systemd --wal',
        'lifeboat install --cron --print',
        'sudo lifeboat install --systemd --uninstall',
      ),
    )
    .action((options: Options) =>
      answer(async (given) => (await import('../cli/install.ts')).runInstall(given))(options, []),
    );
}

function addRun(program: Command, answer: Wrap): void {
  program
    .command('run')
    .description(
      'Do what a Lambda asked for, once, and write its result to the state bucket (started by SSM)',
    )
    .requiredOption('--request <base64url>', 'the request, as in request.json, encoded')
    .addOption(
      new Option('--only <kind>', 'refuse requests of the other kind').choices(['backup', 'restore']),
    )
    .addHelpText(
      'after',
      `${examples('sudo lifeboat run --only backup --request eyJzY2hlbWFWZXJzaW9uIjoxLC…')}

As root it goes on as the series' user (osUser). Settings come from the request alone, not from .env.
Standard output: the verdict, the log's beginning and end, the verdict. The whole log goes to standard error.`,
    )
    .action((options: Options) =>
      answer(async (given) => (await import('../cli/run.ts')).runRun(given))(options, []),
    );
  program
    .command('run-work', { hidden: true })
    .description('The part of run that is done as the series’ user')
    .requiredOption('--request <base64url>')
    .option(...JSON_OPTION)
    .action((options: Options) =>
      answer(async (given) => (await import('../cli/run-work.ts')).runWork(given))(options, []),
    );
}

function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`;
}

const HELP = `
Settings come from the environment or from .env: DB_HOST DB_PORT DB_NAME DB_USER DB_PASSWORD, S3_BUCKET S3_PREFIX,
BACKUP_DIR, SLACK_WEBHOOK_URL, EMAIL_TO, … (README.md has them all).

Exit status: 0 success, 1 a defect in Lifeboat, 2 wrong arguments or settings, 3 refused before anything was touched,
4 PostgreSQL failed, 5 S3 failed, 6 the disk failed, 7 a backup is damaged, 8 another run is at work,
9 attention needed (status, notify), 130 and 143 stopped by a signal.`;

function printAnswer({ lines, json, failure, exitStatus }: Answer, asJson: boolean): number {
  if (asJson) process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
  else if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
  if (!failure) return exitStatus ?? EXIT_STATUS.success;
  process.stderr.write(`${renderError(failure, new Date())}\n`);
  return failure.exitStatus;
}

/** `operation`: the command, as far as there is one of that name. */
type AsJson = { readonly operation: string | undefined } | false;

function printError(error: LifeboatError, asJson: AsJson): number {
  if (asJson) printErrorAsJson(error, asJson.operation);
  process.stderr.write(`${renderError(error, new Date())}\n`);
  return error.exitStatus;
}

/** commander has printed its message; help and version end well. */
function usageStatus(error: CommanderError, asJson: AsJson): number {
  if (error.exitCode === 0) return EXIT_STATUS.success;
  const usage = new LifeboatError('USAGE', error.message);
  if (asJson) printErrorAsJson(usage, asJson.operation);
  return usage.exitStatus;
}

function printErrorAsJson(error: LifeboatError, operation: string | undefined): void {
  const answer = { ...(operation && { operation }), ...(renderErrorAsJson(error) as object) };
  process.stdout.write(`${JSON.stringify(answer, null, 2)}\n`);
}

/**
 * Whoever reads us may go away, as in `lifeboat backup | head -1`, and a log's disk may be full: the work goes on, and only
 * a reader that had enough is no failure.
 */
function watchOutput(): { readonly lost: Error | undefined } {
  const output: { lost: Error | undefined } = { lost: undefined };
  const note = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE') output.lost ??= error;
  };
  process.stdout.on('error', note);
  process.stderr.on('error', note);
  return output;
}

function lostOutput(error: Error): LifeboatError {
  return new LifeboatError('DISK_FAILED', `The output could not be written: ${error.message}`, {
    hint: 'What was to be done is done: lifeboat list. Free space where the output goes.',
  });
}

/** Nothing is left to wait for, yet the command has not settled: it would end as if nothing had happened. */
function endUnsettled(): void {
  process.exit(printError(new LifeboatError('BUG', 'The command ended without a result'), false));
}
