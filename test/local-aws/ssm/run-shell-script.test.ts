import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runShellScript, timeoutOf } from '../../../scripts/local-aws/ssm/run-shell-script.ts';
import type { StepContext } from '../../../scripts/local-aws/ssm/step.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-ssm-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function context(cancelled: AbortSignal = new AbortController().signal): StepContext {
  return {
    stepName: 'run',
    orchestrationFolder: folder,
    downloadsFolder: path.join(folder, 'downloads'),
    environment: { PATH: '/usr/bin:/bin', AWS_SSM_INSTANCE_ID: 'i-0123456789abcdef0' },
    cancelled,
    objects: { isFolder: () => Promise.resolve(false), download: () => Promise.resolve() },
  };
}

const run = (...runCommand: string[]) => runShellScript({ runCommand }, context());

describe('aws:runShellScript', () => {
  it('gives the script the agent’s environment and nothing else, and no input', async () => {
    const { stdout } = await run('env | sort', 'cat', 'umask');
    const names = stdout.split('\n').map((line) => line.split('=')[0]);
    expect(names).toContain('AWS_SSM_INSTANCE_ID');
    for (const name of ['HOME', 'USER', 'LOGNAME', 'AWS_REGION', 'NODE_ENV'])
      expect(names).not.toContain(name);
    expect(stdout).toContain('0022');
  });

  it('starts where the command’s downloads are, or else in the agent’s own folder', async () => {
    expect((await run('pwd')).stdout.trim()).toBe('/usr/bin');
    mkdirSync(path.join(folder, 'downloads'));
    expect((await run('pwd')).stdout.trim()).toBe(path.join(folder, 'downloads'));
  });

  it('fails on a working directory that is not there', async () => {
    const inputs = { runCommand: ['true'], workingDirectory: path.join(folder, 'nowhere') };
    const result = await runShellScript(inputs, context());
    expect(result).toMatchObject({ status: 'Failed' });
    expect(result.stderr).toContain('fork/exec /usr/bin/sh: no such file or directory');
  });

  it('leaves the script on the host, for its owner alone', async () => {
    await run('echo kept');
    const file = path.join(folder, 'run', '_script.sh');
    expect(readFileSync(file, 'utf8')).toBe('echo kept\n');
    expect(statSync(file).mode & 0o777).toBe(0o700);
  });

  it.each([
    [0, 'Success', false],
    [3, 'Failed', false],
    [137, 'TimedOut', false],
    [168, 'Success', true],
    [169, 'Failed', true],
    [194, 'SuccessAndReboot', false],
  ])('reads exit status %i as %s', async (code, status, skipsRest) => {
    expect(await run(`exit ${code}`)).toMatchObject({ status, code, skipsRest });
  });

  it('tells the exit status at the end of the error output', async () => {
    expect((await run('echo wrong >&2', 'exit 3')).stderr).toBe(
      'wrong\n\nfailed to run commands: exit status 3',
    );
  });

  it('keeps the first 24,000 bytes of each stream', async () => {
    const { stdout } = await run('i=0; while [ $i -lt 3000 ]; do echo 123456789; i=$((i+1)); done');
    expect(stdout).toHaveLength(24_000);
    expect(stdout).toMatch(/^123456789\n/);
    expect(stdout).toMatch(/--output truncated--$/);
  });

  it('kills the whole process group at once when the command is cancelled, without a warning', async () => {
    const cancellation = new AbortController();
    const marker = path.join(folder, 'trapped');
    const running = runShellScript(
      { runCommand: [`trap 'touch ${marker}' TERM EXIT`, `touch ${folder}/begun`, 'sleep 60 & wait'] },
      context(cancellation.signal),
    );
    while (!statSync(`${folder}/begun`, { throwIfNoEntry: false })) await sleep(5);
    cancellation.abort();
    expect(await running).toMatchObject({ status: 'Cancelled', code: 137 });
    expect(statSync(marker, { throwIfNoEntry: false })).toBeUndefined();
  });

  it('is held by a background child that keeps the output open, and not by one that does not', async () => {
    const begun = Date.now();
    const { stdout } = await run('setsid sleep 60 </dev/null >/dev/null 2>&1 & echo $!');
    process.kill(Number(stdout), 'SIGTERM');
    const detached = Date.now() - begun;
    await run('sleep 1 &');
    expect(Date.now() - begun - detached).toBeGreaterThan(900);
    expect(detached).toBeLessThan(50_000);
  });

  it.each([
    ['90', 90],
    ['5.9', 5],
    ['3', 3600],
    [172_801, 3600],
    ['never', 3600],
    [undefined, 3600],
  ])('reads a timeout of %p as %i seconds', (value, seconds) => {
    expect(timeoutOf(value)).toBe(seconds);
  });
});
