/**
 * `npm run demo`: a database is backed up, wrecked, and brought back, with the real agent, on a PostgreSQL and an S3
 * that exist only for this; then the AWS stack does the same by itself, night and all, on this machine.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { interruptedStatus, orInterrupted, runDeveloperCommand } from '../set-up/developer-command.ts';
import { untilAgentEnded } from './agent-run.ts';
import { playNarrative } from './narrative.ts';
import { playNight } from './night.ts';
import { printCommand, printLine, printStep, printVerdict } from './screen.ts';
import { setStage, type Stage } from './stage.ts';

const USAGE = `npm run demo [-- --keep] [-- --scale N]

  --keep     when all is shown, leave everything running to look around until Ctrl-C
  --scale N  1 = about 320 MB of database on disk; the default is 0.8`;

interface Options {
  readonly keep: boolean;
  readonly scale: number;
}

function parseOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      keep: { type: 'boolean', default: false },
      scale: { type: 'string', default: '0.8' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const scale = Number(values.scale);
  return values.help || !(scale > 0) ? undefined : { keep: values.keep, scale };
}

/** Returns the exit status. */
async function main(options: Options, signal: AbortSignal): Promise<number> {
  const begun = performance.now();
  printStep('A PostgreSQL, an S3 and a Slack of our own');
  const stage = await setStage();
  let good = false;
  try {
    good = await play(stage, options, signal);
    if (options.keep) await lookAround(stage, signal);
  } finally {
    await stage.close();
  }
  const seconds = Math.round((performance.now() - begun) / 1000);
  const ending = signal.aborted && !options.keep ? 'Interrupted' : 'Done';
  console.log(
    `\n${ending} after ${seconds} s. The servers are stopped and their files removed: nothing is left behind.`,
  );
  if (ending === 'Interrupted') return interruptedStatus(signal);
  return good ? 0 : 1;
}

/** Says what went wrong, so that the stage can still be looked at or struck. */
async function play(stage: Stage, options: Options, signal: AbortSignal): Promise<boolean> {
  try {
    const { good, before } = await orInterrupted(playNarrative(stage, options.scale, signal), signal);
    return (await orInterrupted(playNight(stage, before), signal)) && good;
  } catch (error) {
    if (signal.aborted) {
      await untilAgentEnded();
      return false;
    }
    if (!(error instanceof LifeboatError)) throw error;
    printVerdict(false, error.message);
    return false;
  }
}

async function lookAround(stage: Stage, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  printStep('Look around (--keep)');
  printLine('Everything is still running. In another terminal, type this first:');
  for (const [name, value] of Object.entries(stage.settings)) printLine(`export ${name}=${quote(value)}`);
  printLine('Then, for instance:');
  printCommand('npx lifeboat list');
  printCommand('PGPASSWORD="$DB_PASSWORD" psql -h "$DB_HOST" -p "$DB_PORT" -U "$DB_USER" "$DB_NAME"');
  printLine('Ctrl-C ends it and removes everything.');
  while (!signal.aborted) await sleep(500, undefined, { signal }).catch(() => undefined);
}

function quote(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", String.raw`'\''`)}'`;
}

await runDeveloperCommand({ usage: USAGE, parse: parseOptions, run: main });
