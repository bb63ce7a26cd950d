import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { withAnotherLook } from './another-look.mjs';
import { runToTheEnd } from './run-to-the-end.mjs';

/**
 * The checks (types, lint, format, dead code), each counted as a test, then jest. A failing check keeps nothing from
 * running: both are reported. A few files that fail are run once more, see `withAnotherLook`. With arguments, which choose
 * among the tests, it is jest alone, and once. The last line is `N passed, N failed`. Returns the exit status.
 */
export async function runTests(root, node, args) {
  const isWhole = args.length === 0;
  const checks = isWhole ? runChecks(root) : { passed: 0, failed: 0 };
  const jest = (...options) => runJest(root, node, options);
  const first = await jest(...args);
  const suite = isWhole
    ? await withAnotherLook(first, (files) => jest('--runInBand', '--runTestsByPath', ...files))
    : first;
  for (const file of suite.unsteady ?? [])
    console.log(`UNSTEADY ${file}: failed at first, passed when it was run again`);
  const passed = checks.passed + suite.passed;
  const failed = checks.failed + suite.failed;
  console.log(`${passed} passed, ${failed} failed`);
  return failed > 0 ? suite.status || 1 : suite.status;
}

function runChecks(root) {
  const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const results = Object.entries(scripts)
    .filter(([name]) => name.startsWith('check:'))
    .map(([name, command]) => {
      const done = spawnSync(command, { shell: true, encoding: 'utf8', maxBuffer: 64 << 20 });
      console.log(`${done.status === 0 ? 'PASS' : 'FAIL'} ${name} (${command})`);
      if (done.status !== 0) console.log(`${done.stdout}${done.stderr}`);
      return done.status === 0;
    });
  return { passed: results.filter(Boolean).length, failed: results.filter((good) => !good).length };
}

async function runJest(root, node, args) {
  const folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-jest-'));
  const counts = path.join(folder, 'counts.json');
  try {
    const env = {
      // Agents are started by the hundred, from their sources: with it a start takes half as much of a processor.
      NODE_COMPILE_CACHE: path.join(root, '.cache', 'compile'),
      ...process.env,
      LIFEBOAT_TEST_COUNTS: counts,
    };
    const jest = runToTheEnd(node, ['node_modules/jest/bin/jest.js', ...args], { env });
    const status = await jest.catch((error) => {
      console.log(`jest cannot be started: ${error.message}`);
      return 1;
    });
    return { status, ...readCounts(counts, status) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readCounts(file, status) {
  if (!existsSync(file)) {
    console.log(`jest ended with status ${status} before it had any result.`);
    return { passed: 0, failed: 1 };
  }
  const { passed, failed, failedFiles } = JSON.parse(readFileSync(file, 'utf8'));
  return { passed, failed: failed === 0 && status !== 0 ? 1 : failed, failedFiles };
}
