import { spawn, type ChildProcess } from 'node:child_process';
import { asLifeboatError, LifeboatError } from '../../../lib/domain/errors.ts';
import { workReportSchema, type WorkReport } from '../../../lib/domain/run/result.ts';
import type { Environment } from '../environment.ts';
import type { MachineUser } from '../ports/install.ts';

export interface WorkOptions {
  /** base64url, as SSM brought it. It holds no secret, so it may stand among the arguments. */
  readonly request: string;
  readonly user: MachineUser;
  /** The agent's own; little of it is passed on. */
  readonly environment: Environment;
  readonly region: string;
  /** Log text as it comes. */
  readonly onLog: (text: string) => void;
  readonly interrupted: AbortSignal;
}

const MOST_REPORT_CHARACTERS = 16 * 1024 * 1024;
/** The script’s SIGKILL follows its SIGTERM after 30 seconds (run-agent.sh); the rest of them is for writing the result. */
const TIDY_UP_MS = 15_000;

/**
 * Starts this program again as `run-work` and waits for its report. It stays in our process group, so that SSM's SIGKILL
 * reaches both; and it holds our pipe as its standard input, whose end tells it that we alone were killed.
 * @throws LifeboatError RUN_KILLED, TERMINATED, INTERRUPTED, BUG when it ended without a report
 */
export async function doWork(options: WorkOptions): Promise<WorkReport> {
  const { interrupted } = options;
  interrupted.throwIfAborted();
  // Node's own arguments too: how the launcher starts it.
  const args = [...process.execArgv, process.argv[1]!, 'run-work', '--json', '--request', options.request];
  const child = spawn(process.execPath, args, {
    cwd: '/',
    env: workEnvironment(options),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let report = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (report.length < MOST_REPORT_CHARACTERS) report += text;
  });
  child.stderr.setEncoding('utf8').on('data', options.onLog);
  // It may be gone before it has taken its end of the pipe.
  child.stdin.on('error', () => undefined);
  const stopWatching = passOn(interrupted, child);
  const end = await endOf(child).finally(stopWatching);
  return parseReport(report) ?? fail(end, interrupted);
}

function passOn(interrupted: AbortSignal, child: ChildProcess): () => void {
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill('SIGTERM');
    timer = setTimeout(() => child.kill('SIGKILL'), TIDY_UP_MS);
  };
  interrupted.addEventListener('abort', stop);
  return () => {
    clearTimeout(timer);
    interrupted.removeEventListener('abort', stop);
  };
}

interface WorkEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

async function endOf(child: ChildProcess): Promise<WorkEnd> {
  let timer: NodeJS.Timeout | undefined;
  return await new Promise((resolve, reject) => {
    child.once('error', (cause) => {
      reject(new LifeboatError('BUG', `The agent could not start itself: ${cause.message}`, { cause }));
    });
    child.once('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal });
    });
    // A program that outlived the work may hold its standard error open for ever.
    child.once('exit', (status, signal) => {
      timer = setTimeout(() => resolve({ status, signal }), OUTPUT_SETTLES_MS);
    });
  });
}

const OUTPUT_SETTLES_MS = 2_000;

function parseReport(text: string): WorkReport | undefined {
  try {
    return workReportSchema.parse(JSON.parse(text));
  } catch {
    // Killed before it had said all: the end of the process says why.
    return undefined;
  }
}

function fail({ status, signal }: WorkEnd, interrupted: AbortSignal): never {
  if (interrupted.aborted) throw asLifeboatError(interrupted.reason);
  if (signal)
    throw new LifeboatError('RUN_KILLED', `The run was ended by ${signal}, which Lifeboat did not send`);
  throw new LifeboatError(
    'BUG',
    `The run’s process ended with status ${status} and without a report; what it said is in the log`,
  );
}

const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * How AWS is reached, what SSM says of itself, and who the user is: nothing else of root's. Of AWS' variables all are kept:
 * keys that stand there were given to this program; usually there are none, and the SDK asks the instance.
 */
function workEnvironment({ environment, region, user }: WorkOptions): Record<string, string> {
  const kept = Object.entries(environment).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && (entry[0].startsWith('AWS_') || KEPT.has(entry[0])),
  );
  const path = process.getuid?.() === 0 ? SYSTEM_PATH : environment['PATH'];
  return {
    ...Object.fromEntries(kept),
    AWS_REGION: region,
    PATH: path ?? SYSTEM_PATH,
    HOME: user.home,
    USER: user.name,
    LOGNAME: user.name,
    LANG: 'C.UTF-8',
  };
}

const KEPT: ReadonlySet<string> = new Set(['SSM_COMMAND_ID', 'NODE_EXTRA_CA_CERTS']);
