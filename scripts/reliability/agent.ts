import { spawn } from 'node:child_process';
import path from 'node:path';
import { LifeboatError } from '../../lib/domain/errors.ts';

const PROGRAM = path.resolve(import.meta.dirname, '../agent/main.ts');

interface AgentEnd {
  /** `null` when a signal ended it. */
  readonly status: number | null;
  readonly stdout: string;
  /** Standard output and standard error. */
  readonly printed: string;
}

/** The real command line as a child process, in a group of its own with whatever it starts. */
export interface Agent {
  readonly ended: Promise<AgentEnd>;
  printed(): string;
  /** @throws LifeboatError when it ends without having printed it */
  untilPrinted(pattern: RegExp): Promise<void>;
  /** To all of its group. */
  kill(signal: NodeJS.Signals): void;
}

/** @param env all that it is given: nothing of the machine's own settings leaks in */
export function startAgent(args: readonly string[], env: NodeJS.ProcessEnv): Agent {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env,
    cwd: env['HOME'],
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let [stdout, printed] = ['', ''];
  let over = false;
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const resolve of waiting) resolve();
    waiting.clear();
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    printed += text;
    wake();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
    wake();
  });
  const ended = new Promise<AgentEnd>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      over = true;
      wake();
      resolve({ status, stdout, printed });
    });
  });
  const untilPrinted = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(printed)) {
      if (over)
        throw new LifeboatError('BUG', `lifeboat ${args.join(' ')} ended without ${pattern}:\n${printed}`);
      await new Promise<void>((resolve) => waiting.add(resolve));
    }
  };
  return {
    ended,
    printed: () => printed,
    untilPrinted,
    kill: (signal) => {
      // Its number may be another's by then.
      if (!over && child.pid) process.kill(-child.pid, signal);
    },
  };
}

/** Runs a command to its end. @returns its JSON. @throws LifeboatError BUG with all that it printed unless it went well */
export async function runAgent<T>(args: readonly string[], env: NodeJS.ProcessEnv): Promise<T> {
  const { status, stdout, printed } = await startAgent([...args, '--json'], env).ended;
  if (status === 0) return JSON.parse(stdout) as T;
  throw new LifeboatError('BUG', `lifeboat ${args.join(' ')} ended with ${status}:\n${printed}`);
}
