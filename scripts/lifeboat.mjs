#!/usr/bin/env node
// `npx lifeboat …` from the checkout. Plain JavaScript for any Node: an older one hands over to the pinned one.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const OLDEST_NODE = 24;
const HERE = fileURLToPath(new URL('.', import.meta.url));
const MAIN = join(HERE, 'agent', 'main.ts');
const PINNED_NODE = join(HERE, '..', 'node_modules', '.bin', 'node');
// As scripts/build/launcher.sh starts it, and for its reason.
const NODE_ARGUMENTS = ['--no-concurrent-recompilation', '--no-concurrent-sparkplug'];
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];

if (Number.parseInt(process.versions.node, 10) >= OLDEST_NODE) {
  await import('./agent/main.ts');
} else if (existsSync(PINNED_NODE)) {
  handOver();
} else {
  console.error(`Lifeboat needs Node ${OLDEST_NODE}, this is ${process.versions.node}. Run: npm install`);
  process.exitCode = 2;
}

function handOver() {
  const child = spawn(PINNED_NODE, [...NODE_ARGUMENTS, MAIN, ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of FORWARDED) process.on(signal, () => passOn(child, signal));
  child.on('error', (error) => {
    console.error(`Cannot start ${PINNED_NODE}: ${error.message}`);
    process.exitCode = 2;
  });
  child.on('exit', (status, signal) => {
    if (signal === null) process.exit(status);
    // Die as the child died, so that whoever waits for us sees the same.
    for (const name of FORWARDED) process.removeAllListeners(name);
    process.kill(process.pid, signal);
    // Only a signal that is blocked leaves us alive.
    setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
  });
}

/** A terminal sends these to the child as well; a second one would mean "at once". */
function passOn(child, signal) {
  if (process.stdin.isTTY && ['SIGINT', 'SIGHUP', 'SIGQUIT'].includes(signal)) return;
  child.kill(signal);
}
