import { Command } from 'commander';
import { EXIT_STATUS, LifeboatError } from '../../../lib/domain/errors.ts';
import { LIFEBOAT_VERSION } from '../version.ts';
import { addBackup } from './backup.ts';
import { addCatalogCommands } from './catalog.ts';
import { addHostCommands } from './host.ts';
import { lostOutput, printAnswer, printError, printThrown, watchOutput } from './output.ts';
import { addRestore } from './restore.ts';
import { addRun } from './run.ts';
import type { AddCommands, Answering } from './vocabulary.ts';
import { addWal } from './wal.ts';

/** In the order of `lifeboat --help`. */
const COMMANDS: readonly AddCommands[] = [
  addBackup,
  addRestore,
  addCatalogCommands,
  addHostCommands,
  addWal,
  addRun,
];

/** Parses the arguments and runs the command; prints its result or its error and ends the process with its exit status. */
export async function runCommandLine(argv: readonly string[]): Promise<void> {
  const output = watchOutput();
  process.once('beforeExit', endUnsettled);
  const json = argv.includes('--json');
  let status: number = EXIT_STATUS.success;
  const program = buildProgram((run) => async (...given) => {
    const command = given.at(-1) as Command;
    status = printAnswer(await run(command.opts(), command.args), json);
  });
  try {
    await program.parseAsync([...argv]);
  } catch (thrown) {
    const operation = program.commands.map((command) => command.name()).find((name) => name === argv[2]);
    status = printThrown(thrown, json && { operation });
  }
  if (status === EXIT_STATUS.success && output.lost) status = printError(lostOutput(output.lost), false);
  // Kept-alive connections would hold the process for seconds after its work is done.
  process.exit(status);
}

function buildProgram(answer: Answering): Command {
  const program = new Command('lifeboat')
    .description('Backups and disaster recovery for self-managed PostgreSQL on AWS. All times are UTC.')
    .version(LIFEBOAT_VERSION)
    .exitOverride()
    .showHelpAfterError('(lifeboat --help shows what there is)')
    .addHelpText('after', HELP);
  for (const add of COMMANDS) add(program, answer);
  return program;
}

const HELP = `
Settings come from the environment or from .env: DB_HOST DB_PORT DB_NAME DB_USER DB_PASSWORD, S3_BUCKET S3_PREFIX,
BACKUP_DIR, SLACK_WEBHOOK_URL, EMAIL_TO, … (README.md has them all).

Exit status: 0 success, 1 a defect in Lifeboat, 2 wrong arguments or settings, 3 refused before anything was touched,
4 PostgreSQL failed, 5 S3 failed, 6 the disk failed, 7 a backup is damaged, 8 another run is at work,
9 attention needed (status, notify), 130 and 143 stopped by a signal.`;

/** Nothing is left to wait for, yet the command has not settled: it would end as if nothing had happened. */
function endUnsettled(): void {
  process.exit(printError(new LifeboatError('BUG', 'The command ended without a result'), false));
}
