import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { WalFile } from '../../../lib/domain/wal/archive.ts';
import { segmentName } from '../../../lib/domain/wal/segment.ts';
import { FeedFolder } from '../../../scripts/agent/recovery/feed-folder.ts';
import { WalFeed } from '../../../scripts/agent/recovery/wal-feed.ts';
import { eventually } from '../replication/fixture.ts';

const SIZE = 1024 * 1024;

function fileAt(index: number): WalFile {
  const start = BigInt(index * SIZE);
  const name = segmentName(1, start, SIZE);
  return { name, timeline: 1, start, end: start + BigInt(SIZE), kind: 'segment', files: [] };
}

describe('The feed of WAL', () => {
  const wal = Array.from({ length: 400 }, (_none, index) => fileAt(index + 1));
  let root: string;
  let feed: WalFeed | undefined;
  let fetched: string[];
  const contents = (file: WalFile): Buffer => Buffer.alloc(SIZE, file.name.slice(-2));

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'lifeboat-feed-'));
    mkdirSync(path.join(root, 'pg_wal'));
    fetched = [];
  });
  afterEach(async () => {
    await feed?.close(true);
    rmSync(root, { recursive: true, force: true });
  });

  async function open(fetch: (file: WalFile) => Promise<Buffer>): Promise<WalFeed> {
    feed = new WalFeed({
      folder: path.join(root, 'work'),
      wal,
      histories: new Map([['00000002.history', Buffer.from('1\t0/1000000\tno\n')]]),
      segmentSize: SIZE,
      owner: undefined,
      fetch: async (file) => {
        fetched.push(file.name);
        return await fetch(file);
      },
      onTaken: () => undefined,
    });
    await feed.open();
    return feed;
  }

  /** As PostgreSQL runs restore_command. @returns its exit status */
  function ask(name: string): Promise<number | null> {
    const child = spawn('sh', ['work/restore.sh', name, 'pg_wal/RECOVERYXLOG'], { cwd: root });
    return new Promise((resolve) => {
      child.once('exit', resolve);
    });
  }

  const requireFile = (name: string): void => {
    if (!existsSync(path.join(root, 'work', 'ready', name))) throw new Error(`${name} is not there`);
  };
  const received = (): Buffer => readFileSync(path.join(root, 'pg_wal', 'RECOVERYXLOG'));

  it('hands over what is asked for, also a second time, and fetches ahead within a bounded window', async () => {
    await open((file) => Promise.resolve(contents(file)));
    for (const file of [wal[0]!, wal[1]!, wal[0]!, wal[200]!]) {
      expect(await ask(file.name)).toBe(0);
      expect(received().equals(contents(file))).toBe(true);
    }
    expect(fetched).not.toContain(wal[130]!.name);
    expect(fetched).not.toContain(wal[399]!.name);
  });

  it('brings segments to the disk before they are asked for, and keeps none back that the server waits for', async () => {
    const sync = jest.spyOn(FeedFolder.prototype, 'syncSegment');
    const synced = Promise.withResolvers<void>();
    sync.mockImplementation(() => synced.promise);
    try {
      await open((file) => Promise.resolve(contents(file)));
      await eventually(() => requireFile(`${wal[40]!.name}.unready`));
      expect(existsSync(path.join(root, 'work', 'ready', wal[1]!.name))).toBe(false);
      expect(await ask(wal[0]!.name)).toBe(0);
      expect(received().equals(contents(wal[0]!))).toBe(true);
      synced.resolve();
      await eventually(() => requireFile(wal[40]!.name));
      expect(sync.mock.calls.map(([name]) => name)).toEqual(
        expect.arrayContaining([wal[1]!.name, wal[40]!.name]),
      );
    } finally {
      sync.mockRestore();
    }
  });

  it('ends the recovery where a segment does not reach the disk', async () => {
    const sync = jest.spyOn(FeedFolder.prototype, 'syncSegment');
    sync.mockRejectedValue(new LifeboatError('DISK_FAILED', 'Cannot write'));
    try {
      const opened = await open((file) => Promise.resolve(contents(file)));
      await eventually(() => expect(opened.failure?.code).toBe('DISK_FAILED'));
      expect(await ask(wal[300]!.name)).toBe(200);
    } finally {
      sync.mockRestore();
    }
  });

  it('refuses at once what is not in the plan, and has history files without being asked twice', async () => {
    await open((file) => Promise.resolve(contents(file)));
    expect(await ask(segmentName(2, BigInt(SIZE), SIZE))).toBe(1);
    expect(await ask('00000003.history')).toBe(1);
    expect(await ask('00000002.history')).toBe(0);
    expect(received().toString()).toBe('1\t0/1000000\tno\n');
  });

  it('passes over damage ahead of what is asked for, and ends the recovery that needs it', async () => {
    const opened = await open((file) => {
      if (file === wal[2]) return Promise.reject(new LifeboatError('CORRUPT', 'damaged'));
      return Promise.resolve(contents(file));
    });
    expect([await ask(wal[0]!.name), await ask(wal[1]!.name)]).toEqual([0, 0]);
    expect(opened.failure).toBeUndefined();
    expect(await ask(wal[2]!.name)).toBe(200);
    expect(opened.failure?.code).toBe('CORRUPT');
  });

  it('ends the recovery where nobody can be asked, as on a full disk, instead of telling it that the WAL ends', async () => {
    await open((file) => Promise.resolve(contents(file)));
    rmSync(path.join(root, 'work', 'want'), { recursive: true });
    expect(await ask(wal[300]!.name)).toBe(200);
  });

  it('ends the recovery where a history file cannot be handed over', async () => {
    await open((file) => Promise.resolve(contents(file)));
    rmSync(path.join(root, 'pg_wal'), { recursive: true });
    expect(await ask('00000002.history')).toBe(200);
  });

  it('tells whoever asks after its end that there is no more, and whoever is alone that all is over', async () => {
    const opened = await open((file) => Promise.resolve(contents(file)));
    await opened.close(false);
    expect(await ask(wal[300]!.name)).toBe(1);
    rmSync(path.join(root, 'work', 'ended'));
    const gone = spawn('true');
    await new Promise((resolve) => {
      gone.once('exit', resolve);
    });
    writeFileSync(path.join(root, 'work', 'agent'), `${gone.pid}\n`);
    expect(await ask(wal[300]!.name)).toBe(200);
    expect(existsSync(path.join(root, 'pg_wal', 'RECOVERYXLOG'))).toBe(false);
  });
});
