// What the AWS stack's parts weigh and how long they take: npm run measure, after npm run build. Prints the table of
// docs/performance.md. Bundles are imported by fresh processes, as a cold Lambda does; synth is what `npx cdk synth` takes.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { arch, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './build/project.mjs';

const TIMES = 5;
const GOALS = { importMs: 300, bundleKb: 1024, synthSeconds: 15 };
const BINARIES = join(ROOT, 'node_modules', '.bin');
const node = join(BINARIES, 'node');
const folder = join(ROOT, 'dist', 'lambda');

function importOnce(file) {
  const script = `const begun = performance.now(); await import(${JSON.stringify(pathToFileURL(file).href)}); console.log(performance.now() - begun);`;
  return Number(execFileSync(node, ['--input-type=module', '-e', script], { encoding: 'utf8' }));
}

function synthOnce() {
  const out = mkdtempSync(join(tmpdir(), 'lifeboat-synth-'));
  const begun = performance.now();
  try {
    execFileSync(
      join(BINARIES, 'cdk'),
      ['synth', '--quiet', '--output', out, '-c', 'config=lifeboat.config.example.json'],
      {
        cwd: ROOT,
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, AWS_EC2_METADATA_DISABLED: 'true', CDK_DISABLE_CLI_TELEMETRY: 'true' },
      },
    );
    return performance.now() - begun;
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

function medianOf(measure) {
  const values = Array.from({ length: TIMES }, measure).sort((one, other) => one - other);
  return { median: values[Math.floor(TIMES / 2)], low: values[0], high: values.at(-1) };
}

function printRow(...cells) {
  console.log(`| ${cells.join(' | ')} |`);
}

/** Median, range, target, verdict. */
function timeCells({ median, low, high }, show, { target, met }) {
  return [show(median), `${show(low)}–${show(high)}`, target, met ? 'met' : '**missed**'];
}

if (!existsSync(folder)) {
  console.error('There are no bundles to measure. Run: npm run build');
  process.exit(2);
}
const [{ model }] = cpus();
console.log(
  `${cpus().length} cores (${model.trim()}), ${arch()}, Node ${execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()}\n`,
);
printRow('what', 'bundle', 'median of 5', 'min–max', 'target', '');
printRow('---', '---:', '---:', '---:', '---:', '---');
const milliseconds = (value) => `${Math.round(value)} ms`;
for (const name of readdirSync(folder).sort()) {
  const file = join(folder, name, 'index.mjs');
  const kilobytes = Math.ceil(statSync(file).size / 1024);
  const time = medianOf(() => importOnce(file));
  const met = time.median <= GOALS.importMs && kilobytes <= GOALS.bundleKb;
  const goal = { target: '≤ 1 MB, ≤ 300 ms', met };
  printRow(`\`${name}\`: cold import`, `${kilobytes} KB`, ...timeCells(time, milliseconds, goal));
}
const synth = medianOf(synthOnce);
const seconds = (value) => `${(value / 1000).toFixed(1)} s`;
const goal = { target: '≤ 15 s', met: synth.median <= GOALS.synthSeconds * 1000 };
printRow('`cdk synth` after a build', '', ...timeCells(synth, seconds, goal));
