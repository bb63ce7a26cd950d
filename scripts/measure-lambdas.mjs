// How long a cold handler's import takes, and what it weighs: node scripts/measure-lambdas.mjs [--build]
// Prints the median of several fresh processes; the goal is 300 ms and 1 MB on a laptop.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildLambdas } from './build/lambda.mjs';
import { ROOT } from './build/project.mjs';

const TIMES = 7;
const GOAL_MS = 300;
const node = join(ROOT, 'node_modules', '.bin', 'node');
const folder = join(ROOT, 'dist', 'lambda');

function importOnce(file) {
  const script = `const begun = performance.now(); await import(${JSON.stringify(pathToFileURL(file).href)}); console.log(performance.now() - begun);`;
  return Number(execFileSync(node, ['--input-type=module', '-e', script], { encoding: 'utf8' }));
}

if (process.argv.includes('--build') || !existsSync(folder)) await buildLambdas({ out: folder });
for (const name of readdirSync(folder).sort()) {
  const file = join(folder, name, 'index.mjs');
  const times = Array.from({ length: TIMES }, () => importOnce(file)).sort((one, other) => one - other);
  const median = Math.round(times[Math.floor(TIMES / 2)]);
  const verdict = median <= GOAL_MS ? 'ok' : `more than ${GOAL_MS} ms`;
  console.log(
    `${name.padEnd(12)} ${String(Math.ceil(statSync(file).size / 1024)).padStart(5)} KB  import ${median} ms  ${verdict}`,
  );
}
