import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findPostmaster, requireNoServer } from '../../../scripts/agent/recovery/postmaster.ts';
import { lookAt, writeMark } from '../../../scripts/agent/recovery/work-files.ts';
import { eventually } from '../replication/fixture.ts';

describe('The server of a data directory', () => {
  let root: string;
  let dataDir: string;
  let children: ChildProcess[];

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'lifeboat-postmaster-'));
    dataDir = path.join(root, 'data');
    mkdirSync(dataDir);
    children = [];
  });
  afterEach(() => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(root, { recursive: true, force: true });
  });

  /** Stands for a postmaster, or for a process that got its number. */
  const startIn = (cwd: string, script = 'read -r _'): ChildProcess => {
    const child = spawn('/bin/sh', ['-c', script], { cwd, stdio: ['pipe', 'pipe', 'ignore'] });
    children.push(child);
    return child;
  };
  const sayPid = (pid: number): void =>
    writeFileSync(path.join(dataDir, 'postmaster.pid'), `${pid}\n${dataDir}\n0\n5432\n\n\n\nready   \n`);

  it('is the process that works in it, by whatever name it goes', async () => {
    const { pid } = startIn(dataDir);
    sayPid(pid!);
    expect(await findPostmaster(dataDir)).toEqual({ pid, status: 'ready', isCertain: true });
    const moved = path.join(root, 'moved');
    renameSync(dataDir, moved);
    expect(await findPostmaster(moved)).toMatchObject({ pid, isCertain: true });
    await expect(requireNoServer(moved)).rejects.toMatchObject({
      code: 'RESTORE_REFUSED',
      hint: `End it first: kill -INT ${pid}`,
    });
  });

  it('is no stranger who got the number after a crash: what it left is cleared away', async () => {
    sayPid(startIn(root).pid!);
    expect(await findPostmaster(dataDir)).toBeUndefined();
    await writeMark(dataDir, { label: 'base', tablespaceDir: `${dataDir}_tablespaces`, tablespaces: [] });
    expect(await lookAt(dataDir)).toMatchObject({ label: 'base' });
  });

  it('is nobody where the process has ended', async () => {
    const child = startIn(dataDir);
    sayPid(child.pid!);
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.stdin!.end();
    await gone;
    expect(await findPostmaster(dataDir)).toBeUndefined();
  });

  it('may run where nobody can see whose process it is, and then none is named to be killed', async () => {
    // Ended, and nobody takes note of it: it has no working directory any more. Told to end only once its parent is no shell
    // any longer, since a shell would take note.
    const parent = startIn(root, 'exec 3<&0; (read -r _ <&3) & echo $!; exec sleep 600');
    const pid = Number(await new Promise<Buffer>((resolve) => parent.stdout!.once('data', resolve)));
    await eventually(() => expect(readFileSync(`/proc/${parent.pid}/comm`, 'utf8')).toBe('sleep\n'));
    parent.stdin!.write('\n');
    await eventually(() => expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toMatch(/\) Z /));
    sayPid(pid);
    expect(await findPostmaster(dataDir)).toMatchObject({ pid, isCertain: false });
    const refusal = requireNoServer(dataDir);
    await expect(refusal).rejects.toMatchObject({ message: expect.stringContaining('may still run') });
    await expect(refusal).rejects.toMatchObject({ hint: expect.not.stringContaining('kill') });
  });
});
