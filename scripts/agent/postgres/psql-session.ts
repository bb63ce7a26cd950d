import { randomBytes } from 'node:crypto';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { moveLines, requireSuccess, startPsql, writeTo, type ProgramRun } from './restore-load.ts';
import type { ToolProcess } from './tool-process.ts';
import { countNewlines } from '../data-path/count-newlines.ts';

export interface Listener {
  /** Subscribes to notifications; between two COPYs they are heard at once. */
  listen(channel: string, heard: (payload: string) => void): Promise<void>;
}

/**
 * A psql that is fed a dump without the rows of its tables, and tells when it has executed all that it was given. It may be
 * given no command of its own (`\restrict` forbids them), so it sends a notification, which is plain SQL.
 */
export class PsqlSession {
  readonly #process: ToolProcess;
  readonly #interrupted: AbortSignal;
  readonly #channel = `lifeboat_${randomBytes(8).toString('hex')}`;
  readonly #stop: () => void;
  #asked = 0;
  #heard: ((payload: string) => void) | undefined;
  #writing = Promise.resolve(true);
  /** Whether psql was given anything to execute since it was last known to have executed all. */
  #pending = false;
  /** Lines that psql was given, and how many more the dump has had up to one of them. */
  #lines = 0;
  readonly #shifts: { readonly line: number; readonly missing: number }[] = [];

  constructor(run: ProgramRun) {
    const { process, lines } = startPsql(run);
    this.#process = process;
    this.#lines = lines;
    this.passOver(-lines);
    this.#process.output.resume();
    this.#interrupted = run.interrupted;
    this.#stop = () => void this.#process.kill();
    run.interrupted.addEventListener('abort', this.#stop);
  }

  /** @param sql valid until the next call's promise is kept. @throws LifeboatError RESTORE_FAILED with psql's first error */
  async write(sql: Buffer): Promise<void> {
    if (!(await this.#writing)) await this.#fail();
    this.#pending ||= !isOnlyComments(sql);
    this.#lines += countNewlines(sql, 0, sql.length);
    this.#writing = writeTo(this.#process, sql);
  }

  /**
   * Resolves when all that was written is executed and committed.
   *
   * @param listener of the same database, always the same one
   * @throws LifeboatError RESTORE_FAILED
   */
  async executed(listener: Listener): Promise<void> {
    if (!this.#pending) return;
    this.#asked += 1;
    const asked = String(this.#asked);
    if (this.#asked === 1) await listener.listen(this.#channel, (payload) => this.#heard?.(payload));
    const heard = new Promise<boolean>((resolve) => {
      this.#heard = (payload) => {
        if (payload === asked) resolve(true);
      };
    });
    await this.write(Buffer.from(`NOTIFY ${this.#channel}, '${asked}';\n`));
    this.passOver(-1);
    const executed = await Promise.race([heard, this.#process.ended.then(() => false)]);
    if (!executed) await this.#fail();
    this.#pending = false;
  }

  /** Lines of the dump that psql is not given: its messages are to have the dump's numbers. */
  passOver(lines: number): void {
    this.#shifts.push({ line: this.#lines, missing: (this.#shifts.at(-1)?.missing ?? 0) + lines });
  }

  /** Its input is complete. @throws LifeboatError RESTORE_FAILED */
  async end(): Promise<void> {
    if (!(await this.#writing)) await this.#fail();
    this.#process.input.end();
    await this.#requireSuccess();
  }

  /** psql takes a closed input for the dump's end: it must be gone before it sees one. */
  async kill(): Promise<void> {
    this.#interrupted.removeEventListener('abort', this.#stop);
    await this.#process.kill();
  }

  async #fail(): Promise<never> {
    await this.#requireSuccess();
    throw new LifeboatError('RESTORE_FAILED', 'psql ended before it was given all of the dump');
  }

  async #requireSuccess(): Promise<void> {
    await requireSuccess('psql', this.#process, this.#interrupted, (stderr) => this.#inDump(stderr));
  }

  #inDump(stderr: string): string {
    return moveLines(stderr, (number) => this.#shifts.findLast(({ line }) => line < number)?.missing ?? 0);
  }
}

const COMMENTS_LENGTH = 4096;

/** What stands between two tables' rows; it begins outside of any statement, as every stretch after rows does. */
function isOnlyComments(sql: Buffer): boolean {
  return sql.length <= COMMENTS_LENGTH && /^(?:\s+|--[^\n]*\n)*$/.test(sql.toString('latin1'));
}
