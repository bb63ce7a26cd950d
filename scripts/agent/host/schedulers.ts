import { spawn } from 'node:child_process';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Environment } from '../environment.ts';
import type { UnitState } from '../ports/install.ts';
import { parseUnitState, UNIT_PROPERTIES } from './unit-state.ts';

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function runSystemctl(args: readonly string[]): Promise<void> {
  const ended = await run('systemctl', args, {});
  if (ended.status !== 0) throw failure(`systemctl ${args.join(' ')}`, ended);
}

export async function readUnitState(unit: string): Promise<UnitState> {
  const args = ['show', `--property=${UNIT_PROPERTIES}`, unit];
  const ended = await run('systemctl', args, {});
  if (ended.status !== 0) throw failure(`systemctl ${args.join(' ')}`, ended);
  return parseUnitState(ended.stdout);
}

export async function readCrontab(environment: Environment): Promise<string> {
  const ended = await run('crontab', ['-l'], environment);
  if (ended.status === 0) return ended.stdout;
  if (/no crontab for/i.test(ended.stderr)) return '';
  throw failure('crontab -l', ended);
}

export async function writeCrontab(environment: Environment, text: string): Promise<void> {
  const ended = await run('crontab', ['-'], environment, text);
  if (ended.status !== 0) throw failure('crontab -', ended);
}

/** With the C locale, because "no crontab for" is recognised, and nothing else of our environment. */
async function run(
  program: string,
  args: readonly string[],
  environment: Environment,
  input = '',
): Promise<Ended> {
  return await new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { PATH: environment['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', (error) => {
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      const reason = missing ? `there is no ${program} on this host` : error.message;
      reject(new LifeboatError('INSTALL_FAILED', `Cannot run ${program}: ${reason}`));
    });
    child.on('close', (status) => resolve({ status, stdout, stderr }));
    // A program that does not read its input says with its exit status what it thinks of it.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

function failure(command: string, { status, stderr }: Ended): LifeboatError {
  return new LifeboatError(
    'INSTALL_FAILED',
    `${command} ended with status ${status}: ${stderr.trim() || 'it said nothing'}`,
  );
}
