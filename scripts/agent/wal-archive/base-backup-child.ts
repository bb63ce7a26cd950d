import { spawn } from 'node:child_process';
import { formatDuration } from '../../../lib/domain/quantities.ts';
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
const BY_HAND = `lifeboat ${COMMAND.join(' ')}`;
/** Another run may hold the lock, or S3 be away once more. */
const NEXT_TRY_MS = 10 * 60 * 1000;
/** Six hours of these: whatever it is does not pass by itself. */
const QUICK_TRIES = 36;
const LATER_TRY_MS = 60 * 60 * 1000;
const TOLD_LINES = 5;

/** Runs `lifeboat backup --kind base` beside the stream, in a process and with memory of its own, until one has succeeded. */
export function openBaseBackups(options: BaseBackupChild): BaseBackups {
  const { log } = options;
  /** Holes, and whatever else a backup was asked for since none was under way. */
  const asked = new Set<string>();
  return {
    request: (reason, hole) => {
      const cause = hole ? `${hole.timeline}/${hole.to}` : '';
      if (asked.has(cause)) return;
      log.info(`A new base backup is needed: ${reason}`);
      asked.add(cause);
      // One that is under way sees by the set’s size that it is not the last one.
      if (asked.size === 1) void untilMade(options, asked).finally(() => asked.clear());
    },
  };
}

async function untilMade(options: BaseBackupChild, asked: ReadonlySet<string>): Promise<void> {
  const { log, interrupted } = options;
  while (!interrupted.aborted) {
    const known = await makeOne(options, asked);
    if (interrupted.aborted) return;
    if (asked.size === known) {
      log.info('✅ Base backup made: what comes from here on can be restored');
      return;
    }
    log.warn('Base backup made, but WAL was lost again after it had begun: another one follows');
  }
}

/** @returns how much had been asked for when the one that succeeded began */
async function makeOne(options: BaseBackupChild, asked: ReadonlySet<string>): Promise<number> {
  const { clock, log, interrupted } = options;
  const beganAt = clock.monotonic();
  for (let tries = 1; ; tries += 1) {
    const known = asked.size;
    const failure = await runOnce(options);
    if (failure === undefined || interrupted.aborted) return known;
    const pauseMs = tries < QUICK_TRIES ? NEXT_TRY_MS : LATER_TRY_MS;
    const next = `next try in ${formatDuration(pauseMs)}`;
    log.warn(
      tries < QUICK_TRIES
        ? `No base backup, so what comes from here on cannot be restored yet; ${next}:\n${failure}`
        : `STILL NO BASE BACKUP after ${tries} tries in ${formatDuration(clock.monotonic() - beganAt)}: nothing committed since can be restored. Find out why, and run: ${BY_HAND} (${next}):\n${failure}`,
    );
    await clock.sleep(pauseMs);
  }
}

/** @returns what it said at last when it failed */
async function runOnce({ agent, environment, interrupted }: BaseBackupChild): Promise<string | undefined> {
  const [program, ...args] = agent;
  // The stream reads this server, standby or not; so does the backup that its hole needs.
  const child = spawn(program, [...args, ...COMMAND, '--allow-standby'], {
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
  return `${BY_HAND} ended with ${status}${lines === '' ? '' : `:\n${lines}`}`;
}
