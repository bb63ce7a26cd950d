import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { Readable, type Writable } from 'node:stream';
import type { Tool } from './tools.ts';

/** A running program of PostgreSQL's, with its verdict: exit status, signal and what it said on standard error. */
export interface ToolProcess {
  readonly output: Readable;
  readonly input: Writable;
  /** Resolves when the process has ended and its output is closed; never rejects. */
  readonly ended: Promise<ToolVerdict>;
  /** SIGTERM, then SIGKILL after five seconds; resolves when it is gone. Idempotent. */
  kill(): Promise<void>;
}

export interface ToolVerdict {
  /** `null` when a signal ended it. */
  readonly status: number | null;
  readonly signal: string | null;
  readonly stderr: string;
}

const STDERR_KEPT = 16 * 1024;
const KILL_AFTER_MS = 5_000;

/** @param standardOutput a descriptor that takes it, instead of `output`, which is then empty */
export function startTool(
  tool: Tool,
  args: readonly string[],
  environment: Record<string, string>,
  standardOutput: 'pipe' | number = 'pipe',
): ToolProcess {
  const stdio: StdioOptions = ['pipe', standardOutput, 'pipe'];
  const child = spawn(tool.path, args, { env: environment, stdio, cwd: '/' });
  const [input, output, errors] = [child.stdin!, child.stdout, child.stderr!];
  const stderr = keepTail(errors);
  const ended = new Promise<ToolVerdict>((resolve) => {
    child.once('error', (error) => resolve({ status: null, signal: null, stderr: error.message }));
    child.once('close', (status, signal) => resolve({ status, signal, stderr: stderr() }));
  });
  // A program that ends early closes our pipe; its exit status tells why, EPIPE only that.
  input.on('error', () => undefined);
  return { output: output ?? Readable.from([]), input, ended, kill: () => killChild(child, ended) };
}

/** `pg_dump ended with status 1: …` for messages. */
export function describeVerdict(name: string, { status, signal, stderr }: ToolVerdict): string {
  const how = signal
    ? `was ended by ${signal}`
    : status === null
      ? 'could not be started'
      : `ended with status ${status}`;
  const said = stderr.trim();
  return `${name} ${how}${said ? `: ${said}` : ' and said nothing'}`;
}

/** Only the end of a long standard error is kept: the last lines say why a tool gave up. */
function keepTail(stream: Readable): () => string {
  let kept = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    kept = (kept + text).slice(-STDERR_KEPT);
  });
  return () => kept;
}

async function killChild(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.stdout?.destroy();
    child.kill('SIGTERM');
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
  await ended;
  clearTimeout(timer);
}
