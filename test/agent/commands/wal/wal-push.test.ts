import { pushWal } from '../../../../scripts/agent/commands/wal/wal-push.ts';
import type { CommitWatch, WalFiles } from '../../../../scripts/agent/ports/wal.ts';
import { memoryArchive } from './wal-memory-archive.ts';

const SIZE = 1024 * 1024;
const SEGMENT = '000000010000000000000007';
const COMMIT = { time: '2026-01-01T00:00:00.000000Z', lsn: 7_500_000n };

/** That finds a commit in what it reads from the beginning, and none from behind, as behind the end of a timeline. */
const watch = (): CommitWatch => {
  let last: CommitWatch['last'];
  return {
    push: () => {
      last = COMMIT;
    },
    pushSegment: () => undefined,
    get last() {
      return last;
    },
  };
};

describe('pushing WAL', () => {
  it('tells the last commit of a timeline’s last segment, though its file has the size of a whole one', async () => {
    const archive = memoryArchive();
    const files = {
      systemIdentifier: async () => archive.systemIdentifier,
      read: async () => Buffer.alloc(SIZE, 'x'),
      describeSegment: () => ({ systemIdentifier: archive.systemIdentifier, segmentSize: SIZE }),
      waiting: async () => [],
      histories: async () => [],
      sweepMarks: async () => undefined,
    } as unknown as WalFiles;
    const ports = { files, openArchive: () => archive, watchCommits: watch };
    await pushWal(ports, `${SEGMENT}.partial`);
    expect(archive.commits).toEqual(new Map([[`${SEGMENT}.partial`, COMMIT]]));
  });
});
