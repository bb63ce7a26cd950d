import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** Where Postfix, Exim, msmtp and friends put it; cron's and systemd's PATH often lack the sbin folders. */
const USUAL_FOLDERS = ['/usr/sbin', '/usr/lib', '/usr/bin', '/usr/local/sbin', '/usr/local/bin'];
const DEADLINE_MS = 30_000;
const LONGEST_STDERR = 300;

/** @returns the path of sendmail, or `undefined` when there is none that this user may run */
export async function findSendmail(
  wanted: string | undefined,
  searchPath: string | undefined,
): Promise<string | undefined> {
  const folders = [
    ...(searchPath ?? '').split(delimiter).filter((folder) => folder.startsWith('/')),
    ...USUAL_FOLDERS,
  ];
  const candidates = wanted === undefined ? folders.map((folder) => join(folder, 'sendmail')) : [wanted];
  for (const candidate of candidates) if (await isProgram(candidate)) return candidate;
  return undefined;
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    // Not there or not for us: the same to the caller, who looks elsewhere.
    return false;
  }
}

export interface Envelope {
  readonly from: string;
  readonly to: readonly string[];
  /** The whole mail, headers included, with Unix line ends. */
  readonly message: Buffer;
}

/**
 * Pipes a mail into sendmail, without a shell and with a bare environment (ours holds the database's password).
 * @returns what went wrong, or `undefined`
 */
export async function runSendmail(
  path: string,
  { from, to, message }: Envelope,
): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const child = spawn(path, ['-i', '-f', from, ...to], {
      env: { PATH: USUAL_FOLDERS.join(delimiter), LANG: 'C' },
      stdio: ['pipe', 'ignore', 'pipe'],
      timeout: DEADLINE_MS,
      killSignal: 'SIGKILL',
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(0, LONGEST_STDERR);
    });
    child.on('error', (error) => resolve(`${path} could not be started: ${error.message}`));
    child.on('close', (status, signal) => resolve(describeEnd(path, status, signal, stderr)));
    // A sendmail that exits early breaks the pipe; its exit status, above, says why.
    child.stdin.on('error', () => undefined);
    child.stdin.end(message);
  });
}

function describeEnd(
  path: string,
  status: number | null,
  signal: string | null,
  stderr: string,
): string | undefined {
  if (status === 0) return undefined;
  const words = stderr.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim();
  const end =
    signal === null
      ? `ended with status ${status}`
      : `was ended by ${signal} (limit: ${DEADLINE_MS / 1000} s)`;
  return `${path} ${end}${words ? `: ${words}` : ''}`;
}
