import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { StepContext, StepResult } from './step.ts';
import { StreamOutput } from './step-output.ts';

const inputsSchema = z.object({
  runCommand: z.array(z.string()),
  timeoutSeconds: z.union([z.string(), z.number()]).optional(),
  workingDirectory: z.string().optional(),
});

const DEFAULT_TIMEOUT_SECONDS = 3600;
const KILLED = 137;
/** What the agent reads into some exit statuses, whoever meant them. */
const SUCCESS_SKIP_REST = 168;
const FAILURE_SKIP_REST = 169;
const REBOOT = 194;

/**
 * aws:runShellScript, as the agent runs it: `sh -c <folder>/_script.sh` with the agent's environment, no input, a process
 * group of its own, and SIGKILL to that group when its time is over or the command is cancelled.
 */
export async function runShellScript(rawInputs: unknown, context: StepContext): Promise<StepResult> {
  const inputs = inputsSchema.parse(rawInputs);
  const folder = path.join(context.orchestrationFolder, context.stepName);
  const script = path.join(folder, '_script.sh');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(script, `${inputs.runCommand.join('\n')}\n`, { mode: 0o700 });
  const cwd = workingDirectory(inputs.workingDirectory, context);
  if (!existsSync(cwd)) return failedToStart('fork/exec /usr/bin/sh: no such file or directory');
  const [program, ...args] = [...(context.through ?? []), '/bin/sh', '-c', script];
  const child = spawn(program, args, {
    cwd,
    env: context.environment,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  return await follow(child, timeoutOf(inputs.timeoutSeconds) * 1000, context.cancelled);
}

/** The command's downloads if there are any, else the agent's own folder. */
function workingDirectory(wanted: string | undefined, { downloadsFolder }: StepContext): string {
  if (wanted !== undefined && wanted !== '') return wanted;
  return existsSync(downloadsFolder) ? downloadsFolder : '/usr/bin';
}

/** Anything outside of 5 to 172800 seconds is silently an hour. */
export function timeoutOf(value: string | number | undefined): number {
  const seconds = Math.trunc(Number(value ?? DEFAULT_TIMEOUT_SECONDS));
  return seconds >= 5 && seconds <= 172_800 ? seconds : DEFAULT_TIMEOUT_SECONDS;
}

async function follow(child: ChildProcess, timeout: number, cancelled: AbortSignal): Promise<StepResult> {
  const stdout = new StreamOutput();
  const stderr = new StreamOutput();
  child.stdout?.on('data', (chunk: Buffer) => stdout.add(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.add(chunk));
  const ended = new Promise<Ending>((resolve) => {
    let code: number | null = null;
    let finish: (ending: Ending) => void = resolve;
    const kill = (why: 'TimedOut' | 'Cancelled'): void => {
      // A child that has left the group and holds the output open is out of reach: then there is no such process.
      if (killGroup(child)) return finish({ kind: why });
      finish({ kind: 'failed-kill' });
    };
    const timer = setTimeout(() => kill('TimedOut'), timeout);
    const onCancel = (): void => kill('Cancelled');
    cancelled.addEventListener('abort', onCancel, { once: true });
    finish = (ending) => {
      clearTimeout(timer);
      cancelled.removeEventListener('abort', onCancel);
      child.stdout?.destroy();
      child.stderr?.destroy();
      resolve(ending);
    };
    child.once('exit', (status) => (code = status));
    // Only when nobody holds the output open any more.
    child.once('close', () => finish({ kind: 'exit', code: code ?? -1 }));
    child.once('error', (error) => finish({ kind: 'error', message: error.message }));
  });
  return describe(await ended, stdout.text(), stderr.text());
}

type Ending =
  | { readonly kind: 'exit'; readonly code: number }
  | { readonly kind: 'error'; readonly message: string }
  | { readonly kind: 'TimedOut' | 'Cancelled' | 'failed-kill' };

function killGroup(child: ChildProcess): boolean {
  try {
    process.kill(-(child.pid ?? 0), 'SIGKILL');
    return true;
  } catch {
    return false;
  }
}

function describe(ending: Ending, stdout: string, stderr: string): StepResult {
  if (ending.kind === 'error') return failedToStart(ending.message);
  if (ending.kind === 'failed-kill')
    return { status: 'Failed', code: 1, stdout, stderr: `${stderr}\nno such process`, skipsRest: false };
  if (ending.kind !== 'exit') return { status: ending.kind, code: KILLED, stdout, stderr, skipsRest: false };
  const { code } = ending;
  const failure = `${stderr}\nfailed to run commands: exit status ${code}`;
  switch (code) {
    case 0:
    case SUCCESS_SKIP_REST:
      return { status: 'Success', code, stdout, stderr, skipsRest: code === SUCCESS_SKIP_REST };
    case KILLED:
      return { status: 'TimedOut', code, stdout, stderr: failure, skipsRest: false };
    case REBOOT:
      return { status: 'SuccessAndReboot', code, stdout, stderr, skipsRest: false };
    default:
      return { status: 'Failed', code, stdout, stderr: failure, skipsRest: code === FAILURE_SKIP_REST };
  }
}

const failedToStart = (message: string): StepResult => ({
  status: 'Failed',
  code: 1,
  stdout: '',
  stderr: `${message}\nfailed to run commands: ${message}`,
  skipsRest: false,
});
