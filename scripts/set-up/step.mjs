import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

const LINES_OF_FAILURE = 15;

/** What went wrong while setting up, said to a person, with what to run next. */
export class SetUpError extends Error {}

/** Does one piece of set-up and says so in one line: what, and how long it took. */
export function step(what, action) {
  const begun = Date.now();
  if (process.stdout.isTTY) process.stdout.write(`set-up: installing ${what} …`);
  try {
    action();
  } finally {
    if (process.stdout.isTTY) process.stdout.write('\r\u001B[K');
  }
  console.log(`set-up: installed ${what} (${Math.round((Date.now() - begun) / 1000)} s)`);
}

/** Runs a program quietly; its output is shown only when it fails. */
export function quietly(program, args, options = {}) {
  const done = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 64 << 20, ...options });
  if (done.status === 0) return done.stdout;
  const said = `${done.stdout ?? ''}${done.stderr ?? ''}${done.error?.message ?? ''}`.trim().split('\n');
  // npm says what is wrong at the beginning, apt at the end.
  if (said.length > 2 * LINES_OF_FAILURE)
    said.splice(LINES_OF_FAILURE, said.length - 2 * LINES_OF_FAILURE, '…');
  throw new SetUpError(
    `${[program, ...args].join(' ')} failed (${done.signal ?? done.status ?? 'not started'}):\n${said.join('\n')}`,
  );
}

export function isInstalled(program) {
  return process.env.PATH.split(path.delimiter).some((folder) => {
    try {
      accessSync(path.join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
