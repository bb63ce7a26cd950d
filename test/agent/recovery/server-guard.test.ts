import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

describe('The guard of a recovered server', () => {
  let folder: string;
  let server: ChildProcess;
  let ended: Promise<NodeJS.Signals | null>;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-guard-'));
    // Stands for a postmaster: it dies of SIGQUIT.
    server = spawn('/bin/sh', ['-c', 'read -r _'], { stdio: ['pipe', 'ignore', 'ignore'] });
    ended = new Promise((resolve) => {
      server.once('exit', (_, signal) => resolve(signal));
    });
  });
  afterEach(() => {
    server.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  const sayPid = (pid: number): void =>
    writeFileSync(path.join(folder, 'postmaster.pid'), `${pid}\n${folder}\n`);

  /** An agent that guards the server, and says when; what comes on its standard input is done. */
  function startAgent(): ChildProcess {
    const guard = path.resolve('scripts/agent/recovery/server-guard.ts');
    const program = `import { guardServer } from ${JSON.stringify(guard)};
      const guard = guardServer(${server.pid}, ${JSON.stringify(folder)}, undefined);
      process.stdin.once('data', () => { guard.dismiss(); process.exit(0); });
      process.stdout.write('ready\\n');`;
    return spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  }

  const untilReady = (agent: ChildProcess): Promise<void> =>
    new Promise((resolve) => {
      agent.stdout!.once('data', () => resolve());
    });

  const untilGone = (agent: ChildProcess): Promise<void> =>
    new Promise((resolve) => {
      agent.once('exit', () => resolve());
    });

  it('ends the server when the agent is killed', async () => {
    sayPid(server.pid!);
    const agent = startAgent();
    await untilReady(agent);
    agent.kill('SIGKILL');
    expect(await ended).toBe('SIGQUIT');
  });

  it('leaves the server alone when the agent says so before it ends', async () => {
    sayPid(server.pid!);
    const agent = startAgent();
    await untilReady(agent);
    const gone = untilGone(agent);
    agent.stdin!.write('leave');
    await gone;
    const other = startAgent();
    await untilReady(other);
    // By the time a second guard is at work the first has long had its word.
    expect(server.exitCode ?? server.signalCode).toBeNull();
    other.kill('SIGKILL');
    expect(await ended).toBe('SIGQUIT');
  });

  it('ends no process that has got the server’s number', async () => {
    sayPid(server.pid! + 1);
    const agent = startAgent();
    await untilReady(agent);
    const gone = untilGone(agent);
    agent.kill('SIGKILL');
    await gone;
    server.stdin!.end();
    expect(await ended).toBeNull();
  });
});
