/**
 * `npm run reliability`: what a disaster costs, tried out: servers, agents and S3 are killed under load, and what is recovered
 * is compared with what a client was told. The full form writes its figures into docs/reliability.md.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { format, resolveConfig } from 'prettier';
import { formatDuration } from '../../lib/domain/quantities.ts';
import { interruptedStatus, reportFailure, runDeveloperCommand } from '../set-up/developer-command.ts';
import { replaceMarked } from '../set-up/marked-document.ts';
import { EXACT } from './exactness.ts';
import { KILLS } from './kills.ts';
import { OUTAGE } from './outage.ts';
import { seededRandom } from './random.ts';
import type { Scenario, ScenarioContext, ScenarioResult } from './scenario.ts';
import { SOAK } from './soak.ts';

const SCENARIOS: readonly Scenario[] = [EXACT, KILLS, OUTAGE, SOAK];

const DOCUMENT = path.resolve(import.meta.dirname, '../../docs/reliability.md');
const PACKAGE = path.resolve(import.meta.dirname, '../../package.json');

const USAGE = `npm run reliability [-- [SCENARIO...] [--short] [--seed N]]

${SCENARIOS.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join('\n')}

  --short    seconds instead of minutes, as the tests run it
  --seed N   the same choices again; else a new number, which is printed

Without a name, all of them. Except with --short, the figures are written into docs/reliability.md.`;

interface Options {
  readonly scenarios: readonly Scenario[];
  readonly short: boolean;
  readonly seed: number;
}

function parseOptions(): Options | undefined {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      short: { type: 'boolean', default: false },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const seed = Number(values.seed);
  const scenarios = SCENARIOS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const known = positionals.every((name) => scenarios.some((scenario) => scenario.name === name));
  if (values.help || !known || !Number.isSafeInteger(seed) || seed < 0) return undefined;
  return { scenarios, short: values.short, seed };
}

/** Returns the exit status: 0 when everything is as promised. */
async function main(options: Options, signal: AbortSignal): Promise<number> {
  if (process.platform !== 'linux') {
    console.error('The processes that are killed are found in /proc: this runs on Linux only.');
    return 2;
  }
  const begun = performance.now();
  let failures = 0;
  try {
    for (const scenario of options.scenarios) failures += await play(scenario, options, signal);
  } catch (error) {
    if (signal.aborted) {
      console.log('\nInterrupted; nothing is left behind.');
      return interruptedStatus(signal);
    }
    return reportFailure(error);
  }
  const verdict = failures === 0 ? 'Everything is as promised' : `${failures} promises were not kept`;
  console.log(
    `\n${verdict}. Done after ${formatDuration(performance.now() - begun)}; nothing is left behind.`,
  );
  return failures === 0 ? 0 : 1;
}

/** Returns how many promises were not kept. */
async function play(scenario: Scenario, options: Options, signal: AbortSignal): Promise<number> {
  const { short, seed } = options;
  console.log(`\n${scenario.name}: ${scenario.about} (--seed ${seed})`);
  const begun = performance.now();
  const context: ScenarioContext = {
    short,
    signal,
    random: seededRandom(seed),
    say: (line) => console.log(`  ${line}`),
  };
  const result = await scenario.run(context);
  const took = formatDuration(performance.now() - begun);
  console.log(`\n${result.lines.join('\n')}\n`);
  for (const failure of result.failures) console.log(`✘ ${failure}`);
  if (result.failures.length === 0) console.log(`✔ ${scenario.name}: as promised`);
  if (!short) await writeDocument(scenario, [...describeRun(scenario, seed, took), '', ...outcome(result)]);
  return result.failures.length;
}

function outcome({ lines, failures }: ScenarioResult): string[] {
  return [...lines, ...failures.map((failure) => `- **not as promised**: ${failure}`)];
}

function describeRun({ name }: Scenario, seed: number, took: string): string[] {
  const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string };
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  const memory = (totalmem() / 1e9).toFixed(1);
  return [
    `- \`npm run reliability -- ${name} --seed ${seed}\`, ${new Date().toISOString().slice(0, 10)}, ${took}`,
    `- ${availableParallelism()} cores (${model}), ${memory} GB of memory, ${type()} ${release()}, with the load, the S3 and all servers on them; Lifeboat ${version}, Node ${process.versions.node}`,
  ];
}

async function writeDocument({ name }: Scenario, lines: readonly string[]): Promise<void> {
  const text = replaceMarked(readFileSync(DOCUMENT, 'utf8'), `reliability:${name}`, lines);
  const style = await resolveConfig(DOCUMENT);
  writeFileSync(DOCUMENT, await format(text, { ...style, filepath: DOCUMENT }));
  console.log('Written into docs/reliability.md.');
}

await runDeveloperCommand({ usage: USAGE, parse: parseOptions, run: main });
