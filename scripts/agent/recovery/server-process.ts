import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { chown, chmod, open, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import { onDisk } from '../host/durable-file.ts';
import type { ServerPrograms } from '../ports/recovery.ts';
import { guardServer, type ServerGuard } from './server-guard.ts';
import { hearShortage, type SettingShortage } from './setting-shortage.ts';

/** Beside the data, and kept: it tells what the recovery did. */
export const SERVER_LOG = 'lifeboat_recovery.log';
const STOP_MS = 30_000;
const LOG_KEPT = 8_000;
/** With less on the disk no server comes up: the first segment of the new timeline alone takes 16 MiB. */
const LEAST_ROOM = 32 * 1024 * 1024;

/** What the server said so far of its recovery; its messages are English, see `lc_messages` in `serverSettings`. */
export interface RecoveryNews {
  paused: boolean;
  /** It stopped short of the target, since a setting of the source was raised after the base backup. */
  shortage: SettingShortage | undefined;
  promoted: boolean;
  /** Nothing in the WAL comes behind the target. */
  endedBeforeTarget: boolean;
  /** ISO 8601, UTC, microseconds. */
  lastCommit: string | undefined;
  timeline: number | undefined;
}

/** The recovered cluster's postmaster, whose log is a file, since it goes on when we end. */
export class ServerProcess {
  readonly #dataDir: string;
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;
  readonly #guard: ServerGuard | undefined;
  #offset: number;
  #rest = '';
  #tail = '';
  exited = false;
  /** That it exited with; null where a signal ended it. */
  #status: number | null = null;
  readonly news: RecoveryNews = {
    paused: false,
    shortage: undefined,
    promoted: false,
    endedBeforeTarget: false,
    lastCommit: undefined,
    timeline: undefined,
  };

  private constructor(dataDir: string, child: ChildProcess, offset: number, guard: ServerGuard | undefined) {
    this.#dataDir = dataDir;
    this.#child = child;
    this.#offset = offset;
    this.#guard = guard;
    this.#gone = new Promise((resolve) => {
      const end = (status: number | null): void => {
        this.exited = true;
        this.#status = status;
        guard?.dismiss();
        resolve();
      };
      child.once('exit', end);
      child.once('error', () => end(null));
    });
  }

  static async start(
    programs: ServerPrograms,
    dataDir: string,
    owner: FileOwner | undefined,
  ): Promise<ServerProcess> {
    const log = path.join(dataDir, SERVER_LOG);
    const [descriptor, size] = await onDisk(`Cannot write ${log}`, async () => {
      const handle = await open(log, 'a', 0o600);
      const facts = await handle.stat();
      await handle.close();
      await chmod(log, 0o600);
      if (owner) await chown(log, owner.uid, owner.gid);
      return [openSync(log, 'a'), facts.size] as const;
    });
    try {
      const child = spawn(path.join(programs.folder, 'postgres'), ['-D', dataDir], {
        cwd: dataDir,
        env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C.UTF-8', TZ: 'UTC' },
        stdio: ['ignore', descriptor, descriptor],
        detached: true,
        ...owner,
      });
      const guard = child.pid === undefined ? undefined : guardServer(child.pid, dataDir, owner);
      return new ServerProcess(dataDir, child, size, guard);
    } finally {
      closeSync(descriptor);
    }
  }

  /** The end of what the server said, for messages. */
  get said(): string {
    return this.#tail.trim();
  }

  /** Reads on in the log. */
  async listen(): Promise<void> {
    const log = path.join(this.#dataDir, SERVER_LOG);
    const text = await onDisk(`Cannot read ${log}`, async () => {
      const { size } = await stat(log);
      // Asked many times a second, beside a replay that needs the processor.
      if (size <= this.#offset) return '';
      const file = await open(log, 'r');
      try {
        const bytes = Buffer.alloc(Math.min(size - this.#offset, 4 * 1024 * 1024));
        const { bytesRead } = await file.read(bytes, 0, bytes.length, this.#offset);
        this.#offset += bytesRead;
        return bytes.toString('utf8', 0, bytesRead);
      } finally {
        await file.close();
      }
    });
    this.#tail = (this.#tail + text).slice(-LOG_KEPT);
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#hear(line);
  }

  #hear(line: string): void {
    const { news } = this;
    const commit = /last completed transaction was at log time (\S+) (\S+?)\+00/.exec(line);
    if (commit) news.lastCommit = `${commit[1]}T${withMicroseconds(commit[2]!)}Z`;
    const timeline = /selected new timeline ID: (\d+)/.exec(line);
    if (timeline) news.timeline = Number(timeline[1]);
    news.shortage ??= hearShortage(line);
    if (line.includes('pausing at the end of recovery')) news.paused = true;
    if (line.includes('recovery ended before configured recovery target was reached'))
      news.endedBeforeTarget = true;
    if (line.includes('database system is ready to accept connections')) news.promoted = true;
  }

  /**
   * Fast, for as long as its last checkpoint takes: a gigabyte of memory on a slow disk is minutes.
   * @throws LifeboatError RESTORE_FAILED, DISK_FULL unless it ended cleanly; the interruption's
   */
  async shutDown(interrupted: AbortSignal): Promise<void> {
    interrupted.throwIfAborted();
    this.#child.kill('SIGINT');
    await new Promise<void>((resolve) => {
      interrupted.addEventListener('abort', () => resolve(), { once: true });
      void this.#gone.then(resolve);
    });
    interrupted.throwIfAborted();
    await this.listen();
    if (this.#status !== 0) await this.fail();
  }

  /** For one that is not needed any more: fast; at once when that takes too long. */
  async stop(): Promise<void> {
    if (this.exited) return;
    this.#child.kill('SIGINT');
    await Promise.race([this.#gone, sleep(STOP_MS, undefined, { ref: false })]);
    if (!this.exited) this.#child.kill('SIGQUIT');
    await this.#gone;
  }

  /** It goes on without us. */
  leave(): void {
    this.#guard?.dismiss();
    this.#child.unref();
  }

  /** @throws LifeboatError RESTORE_FAILED with its last words, DISK_FULL where they or the disk tell of that */
  async fail(): Promise<never> {
    const words = this.said.split('\n').filter((line) => /FATAL|PANIC|ERROR|HINT|DETAIL|WARNING/.test(line));
    const message = `The recovered server ended: ${(words.length > 0 ? words : this.said.split('\n')).slice(-6).join('\n')}`;
    const { bavail, bsize } = await statfs(this.#dataDir);
    // The log lies on the same disk: what it was last told may not be in it.
    if (bavail * bsize < LEAST_ROOM || /No space left on device|Disk quota exceeded/.test(this.said))
      throw new LifeboatError('DISK_FULL', message);
    throw new LifeboatError('RESTORE_FAILED', message, {
      hint: 'See PostgreSQL’s message above; what was unpacked was removed and nothing else was changed.',
    });
  }
}

/** PostgreSQL leaves out trailing zeros. */
function withMicroseconds(time: string): string {
  const [seconds, decimals = ''] = time.split('.');
  return `${seconds}.${decimals.padEnd(6, '0')}`;
}
