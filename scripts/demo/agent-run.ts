import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

const AGENT = path.resolve(import.meta.dirname, '../agent/main.ts');
const SAMPLE_MS = 25;

export interface AgentRun {
  readonly status: number | null;
  readonly milliseconds: number;
  /** The most memory that the agent's own process ever had resident; PostgreSQL's tools are not in it. */
  readonly peakBytes: number;
  readonly lines: readonly string[];
}

export interface AgentOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly signal: AbortSignal;
  readonly onLine: (line: string) => void;
}

let running: Promise<unknown> = Promise.resolve();

/** Resolves once no agent runs any more, whatever became of them. */
export async function untilAgentEnded(): Promise<void> {
  await running;
}

/** Runs the real agent as a child process, as a shell would. An abort passes its signal on, which ends the agent. */
export function runAgent(args: readonly string[], options: AgentOptions): Promise<AgentRun> {
  const run = followAgent(args, options);
  running = Promise.allSettled([running, run]);
  return run;
}

async function followAgent(args: readonly string[], options: AgentOptions): Promise<AgentRun> {
  const { env, cwd, signal, onLine } = options;
  const begun = performance.now();
  const child = spawn(process.execPath, [AGENT, ...args], {
    env,
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: Ctrl-C would reach it from the terminal and then once more through us.
    detached: true,
  });
  const end = (): void => void child.kill(signal.reason as NodeJS.Signals);
  signal.addEventListener('abort', end);
  const peak = watchMemory(child);
  const lines: string[] = [];
  const note = (line: string): void => {
    lines.push(line);
    onLine(line);
  };
  forEachLine(child.stdout, note);
  forEachLine(child.stderr, note);
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  signal.removeEventListener('abort', end);
  return { status, milliseconds: performance.now() - begun, peakBytes: peak(), lines };
}

function forEachLine(stream: Readable, take: (line: string) => void): void {
  createInterface({ input: stream, crlfDelay: Infinity }).on('line', take);
}

/** The kernel keeps each process' high-water mark; it is only gone once the process is, so it is asked for often. */
function watchMemory(child: ChildProcess): () => number {
  let peak = 0;
  const sample = (): void => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      peak = Math.max(peak, Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024);
    } catch {
      // Already gone: what was seen last counts.
    }
  };
  const timer = setInterval(sample, SAMPLE_MS);
  child.once('close', () => clearInterval(timer));
  return () => peak;
}
