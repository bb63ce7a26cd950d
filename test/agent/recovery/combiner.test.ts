import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { endAbandonedCombiner, runCombiner } from '../../../scripts/agent/recovery/combiner.ts';
import { findServerPrograms } from '../../../scripts/agent/recovery/server-programs.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-combiner-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function program(name: string, script: string): void {
  writeFileSync(path.join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

const run = (interrupted = new AbortController().signal): Promise<void> =>
  runCombiner(folder, [`--output=${folder}/result`], { cwd: folder, owner: undefined, interrupted });

const SLOW = 'touch started; while :; do sleep 0.05; done';

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(10);
}

const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);
const pidOf = (): number => Number(readFileSync(path.join(folder, 'combiner.pid'), 'utf8'));

describe('pg_combinebackup', () => {
  it('that ends well says nothing', async () => {
    program('pg_combinebackup', 'mkdir "${1#--output=}"');
    await run();
    expect(existsSync(path.join(folder, 'result'))).toBe(true);
  });

  it.each([
    [
      'what it said',
      'echo "error: backup manifests differ" >&2; exit 1',
      'RESTORE_FAILED',
      /status 1: error: backup manifests differ$/,
    ],
    [
      'a full disk as such',
      'echo "could not write: No space left on device" >&2; exit 1',
      'DISK_FULL',
      /No space left/,
    ],
    ['the signal that ended it', 'kill -SEGV $$', 'RESTORE_FAILED', /ended with SIGSEGV/],
  ])('that fails is reported with %s', async (_what, script, code, words) => {
    program('pg_combinebackup', script);
    await expect(run()).rejects.toMatchObject({ code, message: expect.stringMatching(words) as string });
  });

  it('that is not there is reported', async () => {
    await expect(run()).rejects.toMatchObject({
      code: 'RESTORE_FAILED',
      message: expect.stringMatching(/could not be started: .*ENOENT/) as string,
    });
  });

  it('ends with an interruption, whose reason is thrown', async () => {
    program('pg_combinebackup', SLOW);
    const controller = new AbortController();
    const running = run(controller.signal);
    await until(() => existsSync(path.join(folder, 'combiner.pid')));
    const reason = new LifeboatError('INTERRUPTED', 'Ctrl-C');
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(isAlive(pidOf())).toBe(false);
  });
});

describe('A pg_combinebackup whose recovery was killed', () => {
  it('is ended by the next one', async () => {
    program('pg_combinebackup', SLOW);
    const child = spawn(path.join(folder, 'pg_combinebackup'), [`--output=${folder}/result`], {
      cwd: folder,
    });
    const gone = new Promise((resolve) => child.once('exit', (_status, signal) => resolve(signal)));
    await until(() => existsSync(path.join(folder, 'started')));
    writeFileSync(path.join(folder, 'combiner.pid'), `${child.pid}\n`);
    await endAbandonedCombiner(folder);
    expect(await gone).toBe('SIGKILL');
  });

  it('is no other process that has its number by now, and may be gone or never have been', async () => {
    const other = `${folder}-elsewhere`;
    mkdirSync(other);
    program('pg_combinebackup', SLOW);
    const child = spawn(path.join(folder, 'pg_combinebackup'), [`--output=${other}/result`], { cwd: folder });
    await until(() => existsSync(path.join(folder, 'started')));
    writeFileSync(path.join(folder, 'combiner.pid'), `${child.pid}\n`);
    await endAbandonedCombiner(folder);
    expect(child.exitCode ?? child.signalCode).toBe(null);
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    await endAbandonedCombiner(folder);
    for (const content of ['', 'x', '-1', '1']) {
      writeFileSync(path.join(folder, 'combiner.pid'), content);
      await endAbandonedCombiner(folder);
    }
    await endAbandonedCombiner(other);
    rmdirSync(other);
  });
});

describe('The server’s programs', () => {
  it.each([
    ['of its own major', '17.2', true],
    ['of another major', '18.1', false],
    ['that does not run', undefined, false],
  ])(
    'can combine backups with a pg_combinebackup %s: that is known before anything is fetched',
    async (_what, version, can) => {
      program('postgres', 'echo "postgres (PostgreSQL) 17.4"');
      program('pg_combinebackup', version ? `echo "pg_combinebackup (PostgreSQL) ${version}"` : 'exit 1');
      expect(await findServerPrograms(17, folder, {})).toEqual({
        folder,
        versionNumber: 17_00_04,
        canCombine: can,
      });
    },
  );
});
