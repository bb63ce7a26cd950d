import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const AGENT = path.resolve(import.meta.dirname, '../../scripts/agent/main.ts');
/** As scripts/build/launcher.sh starts it. */
const NODE_ARGUMENTS = ['--no-concurrent-recompilation', '--no-concurrent-sparkplug'];

const { PATH, NODE_COMPILE_CACHE } = process.env;
const OWN_ENV = { PATH, NODE_COMPILE_CACHE };

export interface AgentOptions {
  /** All that the agent is given, but for PATH, HOME, TMPDIR and Node's cache: nothing of the machine's own settings leaks in. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** An empty folder when left out, so that no `.env` is found. */
  readonly cwd?: string;
  /** A program and its arguments that start the agent, such as `unshare --mount …`. */
  readonly through?: readonly string[];
  /** The agent, with what starts it; this Node with the sources when left out. */
  readonly agent?: readonly [string, ...string[]];
}

/** How a run ended. */
export interface AgentEnd {
  /** `null` when a signal ended it. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output and standard error, as a terminal would show them. */
  readonly printed: string;
  /** Standard output, parsed. */
  json(): unknown;
  /** What it started and left running, as command lines. */
  readonly leftRunning: readonly string[];
}

export interface RunningAgent {
  readonly pid: number;
  readonly ended: Promise<AgentEnd>;
  /** What it printed so far. */
  printed(): string;
  /** @throws Error when it ends without having printed it */
  untilPrinted(pattern: RegExp): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  /** As Ctrl-C in a terminal: the signal goes to the agent and to everything that it started. */
  killGroup(signal: NodeJS.Signals): void;
}

/** Runs the real command line to its end. */
export async function runAgent(args: readonly string[], options: AgentOptions): Promise<AgentEnd> {
  return await startAgent(args, options).ended;
}

/** Starts the real command line as a child process, in a process group of its own. */
export function startAgent(args: readonly string[], options: AgentOptions): RunningAgent {
  const home = mkdtempSync(path.join(tmpdir(), 'lifeboat-agent-'));
  const agent = options.agent ?? [process.execPath, ...NODE_ARGUMENTS, AGENT];
  const [program, ...before] = [...(options.through ?? []), ...agent];
  const child = spawn(program!, [...before, ...args], {
    cwd: options.cwd ?? home,
    env: definedOnly({ ...OWN_ENV, HOME: home, TMPDIR: home, ...options.env }),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const pid = child.pid!;
  let [stdout, stderr, printed] = ['', '', ''];
  const waiting = new Set<() => void>();
  const wake = (): void => waiting.forEach((resolve) => resolve());
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    printed += text;
    wake();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    printed += text;
    wake();
  });
  let over = false;
  const ended = new Promise<AgentEnd>((resolve, reject) => {
    child.once('error', reject);
    // Not 'close': that waits for whoever else holds the pipes, and such a one is what `leftRunning` is to find.
    child.once('exit', (status, signal) => {
      const leftRunning = processesOfGroup(pid);
      const finish = (): void => {
        over = true;
        wake();
        rmSync(home, { recursive: true, force: true });
        resolve({
          status,
          signal,
          stdout,
          stderr,
          printed,
          json: () => parse(stdout, printed),
          leftRunning,
        });
      };
      if (leftRunning.length > 0) finish();
      else child.once('close', finish);
    });
  });
  return {
    pid,
    ended,
    printed: () => printed,
    untilPrinted: async (pattern) => {
      while (!pattern.test(printed)) {
        if (over) throw new Error(`the agent ended without printing ${pattern}:\n${printed}`);
        await new Promise<void>((resolve) => {
          waiting.add(resolve);
        });
      }
    },
    kill: (signal) => void child.kill(signal),
    killGroup: (signal) => killGroup(pid, signal),
  };
}

/** Who has ended by itself meanwhile needs no signal. */
function killGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function definedOnly(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function parse(stdout: string, printed: string): unknown {
  try {
    return JSON.parse(stdout);
  } catch (cause) {
    throw new Error(`standard output is not one JSON object:\n${printed}`, { cause });
  }
}

/** The command lines of the living processes of a process group. */
export function processesOfGroup(group: number): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const [state, , processGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        if (Number(processGroup) !== group || state === 'Z') return [];
        return [commandLineOf(pid)];
      } catch {
        // Gone since the folder was read.
        return [];
      }
    });
}

/** Not of a zombie, of which its parent has not taken note yet. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
  } catch {
    return false;
  }
}

function commandLineOf(pid: string): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
}

/** Every command line that the processes of a group ever showed, sampled until `done`. */
export async function watchCommandLines(
  group: number,
  done: Promise<unknown>,
  onSeen: (line: string) => void = () => undefined,
): Promise<Set<string>> {
  const seen = new Set<string>();
  const watch = { over: false };
  const end = (): void => {
    watch.over = true;
  };
  void done.then(end, end);
  while (!watch.over) {
    for (const line of processesOfGroup(group)) {
      seen.add(line);
      onSeen(line);
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 3);
    });
  }
  return seen;
}
