import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/**
 * Runs a program on our terminal until it ends, and returns its exit status (128 + signal, as a shell would). A
 * signal to us is passed on and the program's own ending awaited, so that it can tidy up.
 */
export function runToTheEnd(program, args, options = {}) {
  const child = spawn(program, args, { stdio: 'inherit', ...options });
  const passOn = (signal) => {
    // Ctrl-C on a terminal reaches the whole process group; twice would look like an impatient second one.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, passOn);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status, signal) => resolve(status ?? 128 + constants.signals[signal]));
  });
}
