import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { knowsRestrict } from '../../../lib/domain/backup/preflight.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { ClientTool } from '../../../lib/domain/restore/preflight-facts.ts';
import { onDisk } from '../host/durable-file.ts';
import { LIST_SUFFIX } from '../ports/dump-files.ts';
import { describeVerdict, startTool, type ToolProcess, type ToolVerdict } from './tool-process.ts';

/** psql and pg_restore at work: fed, watched, ended at the first error or interruption. */

export interface ProgramRun {
  readonly tool: ClientTool;
  readonly args: readonly string[];
  /** Where to connect, and PGOPTIONS. */
  readonly environment: Record<string, string>;
  readonly interrupted: AbortSignal;
}

export interface PsqlRun extends ProgramRun {
  readonly content: AsyncIterable<Buffer>;
  readonly onProgress: (bytes: number) => void;
}

const PSQL = ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '--no-password', '-o', '/dev/null', '-f', '-'];

/**
 * Feeds `content` to psql. Its input is closed only after the last byte: psql takes a closed input for the dump's end,
 * and would commit what came before.
 *
 * @throws LifeboatError RESTORE_FAILED with the first error, its line and statement; what `content` throws
 */
export async function runPsql(run: PsqlRun): Promise<void> {
  const { process, lines } = startPsql(run);
  process.output.resume();
  const stop = (): void => void process.kill();
  run.interrupted.addEventListener('abort', stop);
  try {
    run.interrupted.throwIfAborted();
    await feed(process, run.content, run.onProgress);
    process.input.end();
  } catch (error) {
    await process.kill();
    throw error;
  } finally {
    run.interrupted.removeEventListener('abort', stop);
  }
  await requireSuccess('psql', process, run.interrupted, (stderr) => moveLines(stderr, () => -lines));
}

/**
 * psql obeys commands of its own wherever they stand in what it is fed, `\!` among them, which runs programs as this user.
 * No dump needs one, but a hostile one may smuggle it past every reader that is not psql itself. So psql takes none from
 * its first line on: nobody but this process knows the key that would allow them again.
 *
 * @returns with the number of lines that it was given already
 */
export function startPsql({ tool, args, environment }: ProgramRun): {
  readonly process: ToolProcess;
  readonly lines: number;
} {
  const process = startTool(tool, [...PSQL, ...args], environment);
  if (!knowsRestrict(tool.versionNumber)) return { process, lines: 0 };
  process.input.write(`\\restrict ${randomBytes(32).toString('hex')}\n`);
  return { process, lines: 1 };
}

/** psql's messages with the dump's own line numbers. @param missing lines that the dump has more, up to psql's line */
export function moveLines(stderr: string, missing: (line: number) => number): string {
  return stderr.replaceAll(
    /^(psql:<stdin>:)(\d+)(?=:)/gm,
    (_all, start: string, line: string) => `${start}${Number(line) + missing(Number(line))}`,
  );
}

/** One chunk is being written while the next is decompressed. Stops early when psql does: its verdict tells why. */
async function feed(
  process: ToolProcess,
  content: AsyncIterable<Buffer>,
  onProgress: (bytes: number) => void,
): Promise<void> {
  let written = 0;
  let writing = Promise.resolve(true);
  for await (const chunk of content) {
    if (!(await writing)) return;
    onProgress(written);
    writing = writeTo(process, chunk);
    written += chunk.length;
  }
  if (await writing) onProgress(written);
}

/** @returns false when the program takes no more: its verdict tells why */
export function writeTo(process: ToolProcess, bytes: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    process.input.write(bytes, (error) => resolve(!error));
  });
}

export interface ArchiveRun {
  readonly tool: ClientTool;
  readonly path: string;
  readonly selected: readonly number[] | undefined;
  readonly environment: Record<string, string>;
  readonly interrupted: AbortSignal;
}

/** Entries of an archive as SQL. @throws LifeboatError RESTORE_FAILED */
export async function* readArchiveSql(run: ArchiveRun): AsyncGenerator<Buffer> {
  const { tool, path, selected, environment, interrupted } = run;
  const list = await writeList(selected, path);
  const process = startTool(tool, [...list, '--file=-', path], environment);
  process.input.end();
  try {
    for await (const chunk of process.output) yield chunk as Buffer;
    await requireSuccess('pg_restore', process, interrupted);
  } finally {
    await process.kill();
    await removeList(selected, path);
  }
}

/** @param work gets pg_restore's argument for the selection */
export async function withListOf(
  selected: readonly number[] | undefined,
  path: string,
  work: (args: readonly string[]) => Promise<void>,
): Promise<void> {
  try {
    await work(await writeList(selected, path));
  } finally {
    await removeList(selected, path);
  }
}

async function writeList(selected: readonly number[] | undefined, path: string): Promise<string[]> {
  if (!selected) return [];
  // Beside the archive: what clears that away after a kill clears this away too.
  const list = path + LIST_SUFFIX;
  const lines = selected.map((id) => `${id};\n`).join('');
  await onDisk(`Cannot write ${list}`, () => writeFile(list, lines, { mode: 0o600 }));
  return [`--use-list=${list}`];
}

async function removeList(selected: readonly number[] | undefined, path: string): Promise<void> {
  const list = path + LIST_SUFFIX;
  if (selected) await onDisk(`Cannot remove ${list}`, () => rm(list, { force: true }));
}

/** @throws LifeboatError RESTORE_FAILED with the first error */
export async function runPgRestore({ tool, args, environment, interrupted }: ProgramRun): Promise<void> {
  interrupted.throwIfAborted();
  const process = startTool(tool, ['--exit-on-error', '--no-password', ...args], environment);
  process.output.resume();
  process.input.end();
  await requireSuccess('pg_restore', process, interrupted);
}

/** @param translate what the program said. @throws LifeboatError RESTORE_FAILED, or the interruption */
export async function requireSuccess(
  name: string,
  process: ToolProcess,
  interrupted: AbortSignal,
  translate = (stderr: string): string => stderr,
): Promise<void> {
  const stop = (): void => void process.kill();
  interrupted.addEventListener('abort', stop);
  if (interrupted.aborted) stop();
  const verdict = await process.ended;
  interrupted.removeEventListener('abort', stop);
  interrupted.throwIfAborted();
  if (verdict.status !== 0) {
    throw new LifeboatError(
      'RESTORE_FAILED',
      describeVerdict(name, { ...verdict, stderr: translate(firstError(verdict)) }),
    );
  }
}

/** Notices that came before the error say nothing about it. */
function firstError({ stderr }: ToolVerdict): string {
  const lines = stderr.split('\n');
  const first = lines.findIndex((line) => /\b(?:ERROR|FATAL|PANIC|error|fatal):/.test(line));
  return first < 0 ? stderr : lines.slice(first).join('\n');
}

/** A connection string: pg_restore takes a bare name with "=" or "://" in it for one. */
export function databaseArgument(database: string): string {
  return `--dbname=dbname='${database.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

const TRANSACTION_TIMEOUT = Buffer.from('\nSET transaction_timeout = 0;\n');
const HEAD_LENGTH = 64 * 1024;

/**
 * pg_dump and pg_restore 17 set this parameter whatever the server's version is, and an older server takes it for an
 * error. In the dump's head, where it stands, it becomes a comment.
 */
export async function* withoutTransactionTimeout(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let passed = 0;
  for await (const chunk of content) {
    if (passed < HEAD_LENGTH) hideTransactionTimeout(chunk);
    passed += chunk.length;
    yield chunk;
  }
}

/** @param head the beginning of a dump, or of a stretch of it that is near */
export function hideTransactionTimeout(head: Buffer): void {
  const found = head.subarray(0, HEAD_LENGTH).indexOf(TRANSACTION_TIMEOUT);
  if (found >= 0) head.write('--', found + 1);
}
