// npm run build: the agent, bundled with its runtime, for hosts that have no Node. Runs on Node 20 as well.
import { parseArgs } from 'node:util';
import { buildAgent, ARCHITECTURES } from './build/agent.mjs';
import { packFolder } from './build/archive.mjs';
import { ROOT } from './build/project.mjs';
import { join } from 'node:path';

const USAGE = `usage: npm run build -- [--arch x64|arm64 | --all] [--tar] [--out FOLDER] [--entry FILE]
  --arch   for that architecture; default: this machine's
  --all    for both
  --tar    also dist/agent/lifeboat-<version>-linux-<arch>.tar.gz
  --out    instead of dist/agent
  --entry  instead of scripts/agent/main.ts`;

function readOptions() {
  const { values } = parseArgs({
    options: {
      arch: { type: 'string', default: process.arch },
      all: { type: 'boolean', default: false },
      tar: { type: 'boolean', default: false },
      out: { type: 'string', default: join(ROOT, 'dist', 'agent') },
      entry: { type: 'string', default: join(ROOT, 'scripts', 'agent', 'main.ts') },
    },
  });
  if (!ARCHITECTURES.includes(values.arch))
    throw new Error(`no agent is built for ${JSON.stringify(values.arch)}`);
  return { ...values, architectures: values.all ? ARCHITECTURES : [values.arch] };
}

async function main() {
  const { architectures, out, entry, tar } = readOptions();
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
