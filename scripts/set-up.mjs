/**
 * `npm run demo`, `npm test`, `npm run bench`, `npm run reliability`: makes sure of everything that they need, then runs
 * them under the pinned Node. Plain JavaScript, as it runs on whatever Node the machine has (20 or newer), before any
 * package is installed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { installPackages, privatePrograms } from './set-up/debian-packages.mjs';
import { installDependencies, pinnedNode } from './set-up/npm-dependencies.mjs';
import { runToTheEnd } from './set-up/run-to-the-end.mjs';
import { isInstalled, SetUpError, step } from './set-up/step.mjs';
import { runTests } from './set-up/test-run.mjs';

const ROOT = path.resolve(import.meta.dirname, '..');

const POSTGRES_PROGRAMS = ['initdb', 'postgres', 'psql', 'pg_dump', 'pg_dumpall', 'pg_restore'];
const POSTGRES_PACKAGES = ['postgresql', 'postgresql-contrib'];

/** What the tests use besides, a program or a file, and the Debian package that has it. */
const TEST_TOOLS = [
  { program: 'gzip', package: 'gzip' },
  { program: 'zstd', package: 'zstd' },
  { program: 'systemd-analyze', package: 'systemd' },
  { program: 'radosgw', package: 'radosgw' },
  { program: 'ceph-mon', package: 'ceph-mon' },
  { program: 'ceph-osd', package: 'ceph-osd' },
  { program: 'ceph-authtool', package: 'ceph-common' },
  // The agent for arm64 is run by them on other processors.
  ...(process.arch === 'arm64'
    ? []
    : [
        { program: 'qemu-aarch64', package: 'qemu-user' },
        { file: '/usr/aarch64-linux-gnu/lib/libstdc++.so.6', package: 'libstdc++6-arm64-cross' },
      ]),
];

const COMMANDS = {
  demo: {
    prepare: preparePostgres,
    run: (node, args) => runToTheEnd(node, ['scripts/demo/main.ts', ...args]),
  },
  test: { prepare: prepareTests, run: (node, args) => runTests(ROOT, node, args) },
  bench: {
    prepare: prepareBench,
    run: (node, args) => runToTheEnd(node, ['scripts/bench/main.ts', ...args]),
  },
  reliability: {
    prepare: preparePostgres,
    run: (node, args) => runToTheEnd(node, ['scripts/reliability/main.ts', ...args]),
  },
};

async function main(name, args) {
  const command = COMMANDS[name];
  if (!command)
    throw new SetUpError(`usage: node scripts/set-up.mjs ${Object.keys(COMMANDS).join('|')} [...]`);
  process.chdir(ROOT);
  installDependencies(ROOT);
  const node = pinnedNode(ROOT);
  const folders = [path.join(ROOT, 'node_modules', '.bin'), privatePrograms()];
  process.env.PATH = [...folders, process.env.PATH].join(path.delimiter);
  command.prepare(node, args);
  return command.run(node, args);
}

function preparePostgres(node) {
  if (hasPostgres(node)) return;
  step('PostgreSQL', () => installPackages(POSTGRES_PACKAGES));
  if (!hasPostgres(node))
    throw new SetUpError(`PostgreSQL was installed, but not all of: ${POSTGRES_PROGRAMS.join(', ')}`);
}

function prepareTests(node) {
  preparePostgres(node);
  const missing = TEST_TOOLS.filter((tool) =>
    tool.file ? !existsSync(tool.file) : !isInstalled(tool.program),
  );
  if (missing.length === 0) return;
  const names = missing.map((tool) => tool.program ?? tool.package).join(', ');
  try {
    step(names, () => installPackages(missing.map((tool) => tool.package)));
  } catch (error) {
    // The suites that need them say by themselves that they did not run, and fail where CI=true.
    console.log(`set-up: without ${names}: ${error.message}`);
  }
}

/** What our point-in-time recovery is measured beside. */
const PITR_TOOLS = ['pgbackrest', 'zstd', 'openssl'];

function prepareBench(node, args) {
  preparePostgres(node);
  if (!args.includes('--pitr')) return;
  const missing = PITR_TOOLS.filter((program) => !isInstalled(program));
  if (missing.length > 0) step(missing.join(', '), () => installPackages(missing));
}

/** Asks the finder that the demo and the tests use, so that both mean the same. */
function hasPostgres(node) {
  const finder = pathToFileURL(path.join(ROOT, 'scripts/set-up/postgres-installation.ts'));
  const program = `import { findPostgresBinDir } from '${finder.href}'; findPostgresBinDir(${JSON.stringify(POSTGRES_PROGRAMS)});`;
  return spawnSync(node, ['--input-type=module', '-e', program], { stdio: 'ignore' }).status === 0;
}

const [name, ...args] = process.argv.slice(2);
try {
  process.exitCode = await main(name, args);
} catch (error) {
  console.error(error instanceof SetUpError ? `set-up: ${error.message}` : error);
  // Whoever counts tests goes by the last line, and would find none.
  if (name === 'test') console.log('0 passed, 1 failed');
  process.exitCode = 1;
}
