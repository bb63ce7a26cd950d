import { chmodSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BaseBackups } from '../../../scripts/agent/ports/wal.ts';
import { openBaseBackups } from '../../../scripts/agent/wal-archive/base-backup-child.ts';

/** An agent that tells of its start, waits until it may go on, and ends as it is told. */
const AGENT = `#!/bin/sh
echo "$@" >>started
until [ -e "answer-$(wc -l <started)" ]; do sleep 0.02; done
exit "$(cat "answer-$(wc -l <started)")"
`;

describe('Base backups that the stream asks for', () => {
  let folder: string;
  let lines: string[];
  let paused: number[];
  let interrupted: AbortController;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-base-child-'));
    writeFileSync(path.join(folder, 'agent'), `cd '${folder}'\n${AGENT}`);
    chmodSync(path.join(folder, 'agent'), 0o755);
    [lines, paused] = [[], []];
    interrupted = new AbortController();
  });

  afterEach(() => {
    interrupted.abort();
    rmSync(folder, { recursive: true });
  });

  function open(): BaseBackups {
    const say = (line: string): void => void lines.push(line);
    return openBaseBackups({
      agent: ['/bin/sh', path.join(folder, 'agent')],
      environment: { PATH: process.env['PATH'] ?? '' },
      clock: {
        now: () => new Date(),
        monotonic: () => paused.reduce((sum, each) => sum + each, 0),
        sleep: async (milliseconds) => void paused.push(milliseconds),
      },
      log: { info: say, warn: say },
      interrupted: interrupted.signal,
    });
  }

  const started = (): string[] => {
    const file = path.join(folder, 'started');
    return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n') : [];
  };
  const answer = (run: number, status: number): void => {
    const file = path.join(folder, `answer-${run}`);
    // Whole, as soon as it is there.
    writeFileSync(`${file}.new`, String(status));
    renameSync(`${file}.new`, file);
  };
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await sleep(10);
  };
  const told = (text: RegExp): number => lines.filter((line) => text.test(line)).length;

  it('are made once more when WAL is lost while one runs, which began before', async () => {
    const backups = open();
    backups.request('hole 1', { timeline: 1, to: 100n });
    await until(() => started().length === 1);
    backups.request('hole 1, as S3 has it', { timeline: 1, to: 100n });
    backups.request('hole 2', { timeline: 1, to: 200n });
    answer(1, 0);
    await until(() => started().length === 2);
    expect(told(/what comes from here on can be restored/)).toBe(0);
    answer(2, 0);
    await until(() => told(/what comes from here on can be restored/) === 1);
    expect(lines.filter((line) => line.includes('needed'))).toEqual([
      'A new base backup is needed: hole 1',
      'A new base backup is needed: hole 2',
    ]);
    // Whatever the stream reads, its base backup may be of.
    expect(started()).toEqual(Array(2).fill('backup --kind base --allow-standby'));
  });

  it('are tried for as long as it takes, and after six hours more slowly and louder', async () => {
    for (let run = 1; run <= 37; run += 1) answer(run, 6);
    answer(38, 0);
    open().request('hole', { timeline: 1, to: 100n });
    await until(() => told(/what comes from here on can be restored/) === 1);
    expect([paused.length, paused[34], paused[35], paused[36]]).toEqual([37, 600_000, 3_600_000, 3_600_000]);
    expect(
      told(/^No base backup, so .* next try in 10m 00s:\nlifeboat backup --kind base ended with 6/),
    ).toBe(35);
    expect(told(/^STILL NO BASE BACKUP after 36 tries in 5h 50m: /)).toBe(1);
    expect(told(/^STILL NO BASE BACKUP .* run: lifeboat backup --kind base \(next try in 1h 00m\)/)).toBe(2);
  });
});
