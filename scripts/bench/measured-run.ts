import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { LifeboatError } from '../../lib/domain/errors.ts';
import type { ServerUser } from '../set-up/postgres-installation.ts';
import type { Measured } from './table.ts';

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Whom to run it as; ourselves when left out. */
  readonly user?: ServerUser | undefined;
}

export interface MeasureOptions {
  readonly signal: AbortSignal;
  /** The command is the agent: its own memory and CPU time are wanted. */
  readonly agent: boolean;
}

/** USER_HZ, in which /proc counts, is 100 on every Linux. */
const TICKS_PER_SECOND = 100;
const SAMPLE_MS = 20;
const OUTPUT_KEPT = 4096;

/** In a process group of its own. */
export function start({
  program,
  args,
  env,
  cwd,
  user,
}: Command): ChildProcessByStdio<null, Readable, Readable> {
  return spawn(program, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: true, ...user });
}

/**
 * Runs a command to its end, in a process group of its own, and measures it through /proc.
 * @throws LifeboatError BUG with what it said when it fails, INTERRUPTED
 */
export async function measure(command: Command, { signal, agent }: MeasureOptions): Promise<Measured> {
  signal.throwIfAborted();
  const { program, args } = command;
  const cpuBefore = cpuOfEndedChildren();
  const begun = performance.now();
  const child = start(command);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-OUTPUT_KEPT)));
  }
  const stop = (): void => killGroup(child.pid);
  signal.addEventListener('abort', stop);
  const own = agent ? watchProcess(child.pid) : undefined;
  let seconds = 0;
  child.once('exit', () => {
    seconds = (performance.now() - begun) / 1000;
    own?.stop();
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => signal.removeEventListener('abort', stop));
  signal.throwIfAborted();
  if (status !== 0)
    throw new LifeboatError(
      'BUG',
      `${program} ${args.join(' ')} ended with status ${status}: ${said.trim()}`,
      {
        hint: 'See its message above.',
      },
    );
  return {
    seconds,
    cpuSeconds: cpuOfEndedChildren() - cpuBefore,
    said,
    ...(own ? { agent: own.seen() } : {}),
  };
}

/** Ours: every child that we waited for, with all that it waited for itself. Nothing else of ours ends during a run. */
function cpuOfEndedChildren(): number {
  const { childrenTicks } = readStat('self');
  return childrenTicks / TICKS_PER_SECOND;
}

/** The kernel keeps each process' high-water mark only as long as the process is there, so it is asked for often. */
export function watchProcess(pid: number | undefined): {
  stop(): void;
  seen(): NonNullable<Measured['agent']>;
} {
  let peakBytes = 0;
  let cpuSeconds = 0;
  const sample = (): void => {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      peakBytes = Math.max(peakBytes, Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024);
      cpuSeconds = Math.max(cpuSeconds, readStat(String(pid)).ownTicks / TICKS_PER_SECOND);
    } catch {
      // Already gone: what was seen last counts.
    }
  };
  const timer = setInterval(sample, SAMPLE_MS);
  return { stop: () => clearInterval(timer), seen: () => ({ cpuSeconds, peakBytes }) };
}

/** utime + stime and cutime + cstime of https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
function readStat(process: string): { parent: number; ownTicks: number; childrenTicks: number } {
  const text = readFileSync(`/proc/${process}/stat`, 'utf8');
  // The program's name, the second field, may itself hold spaces and brackets.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3] ?? 0);
  return { parent: field(4), ownTicks: field(14) + field(15), childrenTicks: field(16) + field(17) };
}

/** Of a process, of the children that it has and of all that it waited for: what a server has used so far. */
export function cpuOfTree(pid: number): number {
  let ticks = 0;
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const { parent, ownTicks, childrenTicks } = readStat(entry);
      if (entry === String(pid) || parent === pid) ticks += ownTicks + childrenTicks;
    } catch {
      // It ended meanwhile, and counts as its parent's.
    }
  }
  return ticks / TICKS_PER_SECOND;
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGTERM');
  } catch {
    // It ended by itself meanwhile.
  }
}
