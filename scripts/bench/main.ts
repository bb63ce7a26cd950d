/**
 * `npm run bench`: how long a backup and a restore take beside the old way, on this machine, in one run, and how much
 * memory the agent needs. Targets that are missed are reported as missed; the exit status is about the bench itself.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { formatDuration } from '../../lib/domain/quantities.ts';
import {
  interruptedStatus,
  orInterrupted,
  reportFailure,
  runDeveloperCommand,
} from '../set-up/developer-command.ts';
import { replaceMarked } from '../set-up/marked-document.ts';
import { provideDatabase } from './database.ts';
import { describeMachine } from './machine.ts';
import { measureMemory, MEMORY_SCALE } from './memory.ts';
import { setStage, type Stage } from './stage.ts';
import { formatSeconds, type Measured } from './table.ts';
import { measurePitr, PITR_PARTS, PITR_SETTINGS, type PitrPart } from './pitr/pitr.ts';
import { measureTimes, type OnRun, type Report } from './times.ts';

const DEFAULT = { gigabytes: 2.5, rounds: 3 };
const DOCUMENT = path.resolve(import.meta.dirname, '../../docs/performance.md');

const USAGE = `npm run bench [-- [--gigabytes N] [--rounds N] [--memory | --pitr [--only PART]] [--keep-database]]

  --gigabytes N    size of the database on disk (default ${DEFAULT.gigabytes})
  --rounds N       how often everything is measured, alternating (default ${DEFAULT.rounds})
  --pitr           instead: base backups, WAL and recovery beside pgBackRest
  --only PART      this part of --pitr alone: ${PITR_PARTS.join(', ')}; prints, and writes nothing
  --memory         instead of times: the agent's peak memory at that size and at ${MEMORY_SCALE} times that size
  --keep-database  keep the database in .cache/bench/ for the next run

A run of at least ${DEFAULT.gigabytes} GB and ${DEFAULT.rounds} rounds writes its table into docs/performance.md; a smaller one only prints it.`;

interface Options {
  readonly gigabytes: number;
  readonly rounds: number;
  readonly memory: boolean;
  readonly pitr: boolean;
  readonly only: PitrPart | undefined;
  readonly keep: boolean;
}

function parseOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      gigabytes: { type: 'string', default: String(DEFAULT.gigabytes) },
      rounds: { type: 'string', default: String(DEFAULT.rounds) },
      memory: { type: 'boolean', default: false },
      pitr: { type: 'boolean', default: false },
      only: { type: 'string' },
      'keep-database': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const gigabytes = Number(values.gigabytes);
  const rounds = Number(values.rounds);
  if (values.help || !(gigabytes > 0) || !(Number.isInteger(rounds) && rounds > 0)) return undefined;
  const { memory, pitr } = values;
  const only = PITR_PARTS.find((part) => part === values.only);
  if ((memory && pitr) || (values.only !== undefined && !(pitr && only))) return undefined;
  return { gigabytes, rounds, memory, pitr, only, keep: values['keep-database'] };
}

/** Returns the exit status. */
async function main(options: Options, signal: AbortSignal): Promise<number> {
  if (process.platform !== 'linux') {
    console.error('The bench reads CPU time and memory from /proc: it runs on Linux only.');
    return 2;
  }
  const begun = performance.now();
  try {
    const stage = await setStage({
      diskGigabytes: diskNeeded(options),
      ...(options.pitr ? { settings: PITR_SETTINGS, tls: true } : {}),
    });
    try {
      await orInterrupted(runBench(stage, options, signal), signal);
    } finally {
      await stage.close();
    }
  } catch (error) {
    if (signal.aborted) return interruptedStatus(signal);
    return reportFailure(error);
  }
  console.log(`\nDone after ${formatDuration(performance.now() - begun)}; nothing is left behind.`);
  return 0;
}

/** The database, its restored copy, an unpacked dump, the backups, and what the server logs meanwhile. */
function diskNeeded({ gigabytes, memory, pitr }: Options): number {
  // Beside pgBackRest also hundreds of WAL segments: in the cluster, in the S3 of both, and in what is recovered.
  return (pitr ? 15 : 5) + 4.5 * gigabytes * (memory ? MEMORY_SCALE : 1);
}

async function runBench(stage: Stage, options: Options, signal: AbortSignal): Promise<void> {
  const { gigabytes, rounds, memory, only } = options;
  const block = memory ? 'memory' : options.pitr ? 'pitr' : 'times';
  console.log(`Loading a database of ${gigabytes} GB…`);
  await provideDatabase(stage.postgres, gigabytes, options);
  const machine = await describeMachine(stage.postgres);
  console.log(machine.join('\n'));
  const onRun: OnRun = (round, { label }, measured) => printRun(`${round}/${rounds}`, label, measured);
  const measures = {
    memory: () =>
      measureMemory(stage, {
        gigabytes,
        signal,
        onRun: (size, { label }, measured) => printRun(`${size} GB`, label, measured),
      }),
    pitr: () => measurePitr(stage, { only, rounds, signal, onRun }),
    times: () => measureTimes(stage, { rounds, signal, onRun }),
  };
  const report = await measures[block]();
  printReport(report);
  const facts = memory ? machine : [...machine, `- medians of ${rounds} rounds, alternating`];
  writeDocument(options, block, [...facts, ...(report.facts ?? []), '', ...report.lines]);
}

function printRun(where: string, label: string, { seconds, agent }: Measured): void {
  const peak = agent ? `${Math.ceil(agent.peakBytes / 1e6)} MB` : '';
  const plain = label.replaceAll(/[`\\]/g, '');
  console.log(`  ${where}  ${plain.padEnd(48)} ${formatSeconds(seconds).padStart(8)}  ${peak.padStart(7)}`);
}

function printReport({ lines, verdicts }: Report): void {
  console.log(`\n${lines.join('\n').replaceAll('\\|', '|')}`);
  const missed = verdicts.filter(({ met }) => !met);
  console.log(`\n${verdicts.length - missed.length} of ${verdicts.length} targets met.`);
  for (const { what } of missed) console.log(`missed: ${what.replaceAll(/[`\\]/g, '')}`);
}

function writeDocument({ gigabytes, rounds, memory, only }: Options, block: string, lines: string[]): void {
  const whole = gigabytes >= DEFAULT.gigabytes && (memory || rounds >= DEFAULT.rounds);
  if (only !== undefined) return;
  if (!whole) {
    console.log('\nToo small a run for docs/performance.md, which is left as it is.');
    return;
  }
  writeFileSync(DOCUMENT, replaceMarked(readFileSync(DOCUMENT, 'utf8'), `bench:${block}`, lines));
  console.log('\nWritten into docs/performance.md.');
}

await runDeveloperCommand({ usage: USAGE, parse: parseOptions, run: main });
