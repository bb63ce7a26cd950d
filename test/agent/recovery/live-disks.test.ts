import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findLiveDisks, guardDisks, measureDisk } from '../../../scripts/agent/recovery/live-disks.ts';

const GIB = 1024 ** 3;

describe('The disks of a cluster that runs', () => {
  let dataDir: string;
  let server: ChildProcess | undefined;

  beforeEach(() => {
    dataDir = mkdtempSync(path.join(tmpdir(), 'lifeboat-live-'));
    for (const name of ['pg_wal', 'pg_tblspc']) mkdirSync(path.join(dataDir, name));
  });
  afterEach(() => {
    server?.kill('SIGKILL');
    server = undefined;
    rmSync(dataDir, { recursive: true, force: true });
  });

  /** Stands for a postmaster. */
  function start(): void {
    server = spawn('/bin/sh', ['-c', 'read -r _'], { cwd: dataDir, stdio: ['pipe', 'ignore', 'ignore'] });
    writeFileSync(path.join(dataDir, 'postmaster.pid'), `${server.pid}\n`);
  }

  it('are those of its data directory, its WAL and its tablespaces, and keep a reserve', async () => {
    start();
    symlinkSync('/proc', path.join(dataDir, 'pg_tblspc', '16400'));
    const live = await findLiveDisks(dataDir, ['/sys', '/not/there']);
    const devices = ['/proc', '/sys', dataDir].map((folder) => statSync(folder).dev);
    expect(live).toEqual(new Set(devices));
    const disk = await measureDisk(path.join(dataDir, 'not', 'there', 'yet'), live);
    expect(disk.device).toBe(statSync(dataDir).dev);
    expect(disk.reserve).toBeGreaterThanOrEqual(2 * GIB);
    expect(disk.free).toBeGreaterThan(0);
    const elsewhere = await measureDisk(dataDir, new Set([statSync('/proc').dev]));
    expect(elsewhere.reserve).toBe(0);
  });

  it('keep none for a cluster that is stopped, or not there', async () => {
    expect([...(await findLiveDisks(dataDir, []))]).toEqual([]);
    expect([...(await findLiveDisks(path.join(dataDir, 'absent'), ['/']))]).toEqual([]);
    expect([...(await findLiveDisks(undefined, ['/']))]).toEqual([]);
  });

  const aborted = (signal: AbortSignal): Promise<unknown> =>
    new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve(signal.reason));
    });

  it('end a recovery that comes to their reserve', async () => {
    let free = 3 * GIB;
    let measured = 0;
    const guard = await guardDisks(['/data', '/spaces'], new Set([7]), async () => {
      measured += 1;
      return { device: 7, free, reserve: 2 * GIB };
    });
    const ended = aborted(guard.signal);
    expect([measured, guard.signal.aborted]).toEqual([2, false]);
    free = 2 * GIB - 1;
    await expect(ended).resolves.toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringContaining('the cluster that runs on it is to be left 2.0G') as string,
    });
    guard.end();
  });

  it('are not looked at where there are none', async () => {
    const guard = await guardDisks(['/data'], new Set(), () => Promise.reject(new Error('was asked')));
    expect(guard.signal.aborted).toBe(false);
    guard.end();
  });
});
