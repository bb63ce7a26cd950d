import { spawn } from 'node:child_process';
import type { Environment } from '../environment.ts';
import type { Clock, Log } from '../ports/host.ts';
import type { BaseBackups } from '../ports/wal.ts';

export interface BaseBackupChild {
  /** The agent: its program, and what comes before a command. */
  readonly agent: readonly [program: string, ...args: string[]];
  readonly environment: Environment;
  readonly clock: Clock;
  readonly log: Log;
  readonly interrupted: AbortSignal;
}

const COMMAND = ['backup', '--kind', 'base'] as const;
/** Another run may hold the lock, or S3 be away once more. */
const NEXT_TRY_MS = 10 * 60 * 1000;
const MOST_TRIES = 36;
const TOLD_LINES = 5;

/** Runs `lifeboat backup --kind base` beside the stream, in a process and with memory of its own, until one has succeeded. */
export function openBaseBackups(options: BaseBackupChild): BaseBackups {
  const { clock, log, interrupted } = options;
  let wanted: Promise<void> | undefined;
  const untilMade = async (): Promise<void> => {
    for (let tries = 1; tries <= MOST_TRIES && !interrupted.aborted; tries += 1) {
      const failure = await runOnce(options);
      if (failure === undefined) {
        log.info('✅ Base backup made: what comes from here on can be restored');
        return;
      }
      if (interrupted.aborted) return;
      log.warn(`No base backup, so what comes from here on cannot be restored yet:\n${failure}`);
      await clock.sleep(NEXT_TRY_MS);
    }
  };
  return {
    request: (reason) => {
      if (wanted) return;
      log.info(`A new base backup is needed: ${reason}`);
      wanted = untilMade().finally(() => {
        wanted = undefined;
      });
    },
  };
}

/** @returns what it said at last when it failed */
async function runOnce({ agent, environment, interrupted }: BaseBackupChild): Promise<string | undefined> {
  const [program, ...args] = agent;
  const child = spawn(program, [...args, ...COMMAND], {
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-10_000);
  });
  // A half-made one is of no use; it ends by itself when told so.
  const end = (): void => void child.kill('SIGTERM');
  interrupted.addEventListener('abort', end, { once: true });
  const status = await new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  interrupted.removeEventListener('abort', end);
  if (status === 0) return undefined;
  const lines = said.trim().split('\n').slice(-TOLD_LINES).join('\n');
  return `lifeboat ${COMMAND.join(' ')} ended with ${status}${lines === '' ? '' : `:\n${lines}`}`;
}
