// npm run build: all that a deployment needs. The agent, bundled with its runtime for hosts that have no Node, as archives
// for both architectures, and the Lambdas. Runs on Node 20 as well.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildAgent, ARCHITECTURES } from './build/agent.mjs';
import { packFolder } from './build/archive.mjs';
import { buildLambdas } from './build/lambda.mjs';
import { ROOT } from './build/project.mjs';

const USAGE = `usage: npm run build [-- --lambda-only | --agent-only | [--arch x64|arm64 | --all] [--tar] [--out FOLDER] [--entry FILE]]
  without options everything that a deployment needs, in dist/
  --lambda-only  the Lambdas alone; with --out, there instead of in dist/lambda
  --agent-only   the agent for both architectures, with its archives
the agent alone, as told:
  --arch         for that architecture; default: this machine's
  --all          for both
  --tar          also dist/agent/lifeboat-<version>-linux-<arch>.tar.gz
  --out          instead of dist/agent
  --entry        instead of scripts/agent/main.ts`;

function readOptions() {
  const { values } = parseArgs({
    options: {
      'lambda-only': { type: 'boolean', default: false },
      'agent-only': { type: 'boolean', default: false },
      arch: { type: 'string', default: process.arch },
      all: { type: 'boolean', default: false },
      tar: { type: 'boolean', default: false },
      out: { type: 'string' },
      entry: { type: 'string', default: join(ROOT, 'scripts', 'agent', 'main.ts') },
    },
  });
  if (!ARCHITECTURES.includes(values.arch))
    throw new Error(`no agent is built for ${JSON.stringify(values.arch)}`);
  const nothingAsked = process.argv.length === 2;
  const whole = nothingAsked || values['agent-only'];
  return {
    lambdas: nothingAsked || values['lambda-only'],
    agent: !values['lambda-only'],
    lambdaOut: (values['lambda-only'] && values.out) || join(ROOT, 'dist', 'lambda'),
    out: values.out ?? join(ROOT, 'dist', 'agent'),
    entry: values.entry,
    tar: values.tar || whole,
    architectures: values.all || whole ? ARCHITECTURES : [values.arch],
  };
}

async function main() {
  const { agent, lambdas, lambdaOut, architectures, out, entry, tar } = readOptions();
  if (lambdas) {
    for (const { file, bytes } of await buildLambdas({ out: lambdaOut }))
      console.log(`${file} ${Math.ceil(bytes / 1024)} KB`);
  }
  if (!agent) return;
  for (const architecture of architectures) {
    const { folder, notes } = await buildAgent({ architecture, out, entry });
    console.log(folder);
    for (const note of notes) console.log(`  ${note}`);
    if (tar) console.log(packFolder(folder));
  }
}

try {
  await main();
} catch (error) {
  console.error(`build: ${error.message}`);
  if (/option|argument|no agent is built/.test(error.message)) console.error(USAGE);
  process.exitCode = 1;
}
