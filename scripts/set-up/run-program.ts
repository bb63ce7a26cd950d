import { spawn } from 'node:child_process';
import { LifeboatError } from '../../lib/domain/errors.ts';

interface RunOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Fed to the program's standard input. */
  readonly input?: string;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * Runs a program to its end and returns its standard output.
 * @throws LifeboatError DB_QUERY with its standard error when it fails.
 */
export function runProgram(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { input, ...rest } = options;
  const child = spawn(program, args, { ...rest, stdio: ['pipe', 'pipe', 'pipe'] });
  const output = collect(child.stdout);
  const complaints = collect(child.stderr);
  // A program that fails early closes its input; its exit status tells more than the EPIPE.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input ?? '');
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => {
      if (status === 0) resolve(output());
      else
        reject(
          new LifeboatError('DB_QUERY', `${program} failed (${signal ?? status}): ${complaints().trim()}`, {
            hint: 'See the message above.',
          }),
        );
    });
  });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString('utf8');
}
