import { Option, type Command } from 'commander';
import { examples, JSON_OPTION, type Answering } from './vocabulary.ts';

/** What the AWS stack starts on the host: `run`, and its part that is done as the series' user. */
export function addRun(program: Command, answer: Answering): void {
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
    .action(answer(async (options) => (await import('../cli/run.ts')).runRun(options)));
  program
    .command('run-work', { hidden: true })
    .description('The part of run that is done as the series’ user')
    .requiredOption('--request <base64url>')
    .option(...JSON_OPTION)
    .action(answer(async (options) => (await import('../cli/run-work.ts')).runWork(options)));
}
