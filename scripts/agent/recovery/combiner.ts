import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import { COMBINER } from './server-programs.ts';

interface CombinerGround {
  /** Of the chain: names the process to whoever clears away after us. */
  readonly cwd: string;
  /** Whom the result is to belong to; needs root. */
  readonly owner: FileOwner | undefined;
  readonly interrupted: AbortSignal;
}

const KEPT = 8_000;
const PID_FILE = 'combiner.pid';
const GONE_MS = 10_000;

/**
 * Runs pg_combinebackup (https://www.postgresql.org/docs/current/app-pgcombinebackup.html) to its end.
 * @throws LifeboatError RESTORE_FAILED with its words, DISK_FULL, or the interruption's
 */
export async function runCombiner(
  folder: string,
  args: readonly string[],
  { cwd, owner, interrupted }: CombinerGround,
): Promise<void> {
  interrupted.throwIfAborted();
  const child = spawn(path.join(folder, COMBINER), args, {
    cwd,
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C.UTF-8', TZ: 'UTC' },
    stdio: ['ignore', 'ignore', 'pipe'],
    ...owner,
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-KEPT);
  });
  const end = (): void => void child.kill();
  interrupted.addEventListener('abort', end);
  const ended = new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(`could not be started: ${error.message}`));
    child.once('close', (status, signal) => {
      resolve(status === 0 ? undefined : `ended with ${signal ?? `status ${status}`}`);
    });
  });
  // Where it cannot be written, pg_combinebackup fails for the same reason, and says so.
  await writeFile(path.join(cwd, PID_FILE), `${child.pid}\n`).catch(() => undefined);
  const how = await ended;
  interrupted.removeEventListener('abort', end);
  interrupted.throwIfAborted();
  if (how === undefined) return;
  const lines = said.trim().split('\n').slice(-6).join('\n');
  if (/No space left on device|quota exceeded/i.test(lines)) {
    throw new LifeboatError('DISK_FULL', `The base backups cannot be combined: ${lines}`);
  }
  throw new LifeboatError('RESTORE_FAILED', `${COMBINER} ${how}: ${lines}`, {
    hint: 'See its message above; what was unpacked was removed and nothing else was changed. A full base backup needs no combining: --base names one.',
  });
}

/**
 * Ends the pg_combinebackup of a recovery that was killed: it goes on by itself, and would write into the next one's
 * tablespaces.
 * @param cwd as it was run with
 * @throws LifeboatError RESTORE_REFUSED when it does not end
 */
export async function endAbandonedCombiner(cwd: string): Promise<void> {
  const pid = Number(await readFile(path.join(cwd, PID_FILE), 'utf8').catch(() => ''));
  const isOurs = async (): Promise<boolean> => {
    const arguments_ = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return arguments_.includes(`=${cwd}/`);
  };
  if (!(pid > 1) || !(await isOurs())) return;
  process.kill(pid, 'SIGKILL');
  for (let waited = 0; await isOurs(); waited += 20) {
    if (waited >= GONE_MS) {
      throw new LifeboatError(
        'RESTORE_REFUSED',
        `pg_combinebackup of a recovery that was killed still runs (process ${pid})`,
        {
          hint: `End it first: kill -KILL ${pid}`,
        },
      );
    }
    await sleep(20);
  }
}
