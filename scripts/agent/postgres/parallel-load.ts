import type { Client } from 'pg';
import { countNewlines } from '../data-path/count-newlines.ts';
import { RestrictionLines } from '../data-path/plain-dump/restriction.ts';
import type { ArchiveOutline, ArchivePiece, PlainPiece } from '../ports/dump-files.ts';
import { CopyLoader } from './copy-loader.ts';
import { hideTransactionTimeout, type ProgramRun } from './restore-load.ts';
import { PsqlSession } from './psql-session.ts';

/** Loads of dumps that were taken apart: rows over several connections, all else by PostgreSQL's own programs. */

interface Loading {
  readonly interrupted: AbortSignal;
  readonly onRowsLoaded: () => void;
  /** Connections for the rows, in the state in which a dump in this encoding has its session. */
  openLanes(encoding: string | undefined): Promise<Client[]>;
}

export interface PlainLoad extends Loading {
  readonly pieces: AsyncIterable<PlainPiece>;
  readonly psql: ProgramRun;
  /** The server is older than the parameter `transaction_timeout`. */
  readonly withoutTransactionTimeout: boolean;
  readonly onProgress: (bytes: number) => void;
}

/**
 * The rows of a table are loaded when psql has executed all that stands before them, and psql goes on when all of them
 * are in: nothing happens in another order than if psql alone had run the dump.
 *
 * @throws LifeboatError RESTORE_FAILED with the first error; what `pieces` throws
 */
export async function loadPlain(load: PlainLoad): Promise<void> {
  const psql = new PsqlSession(load.psql);
  const rows = new Rows(load);
  const restriction = new RestrictionLines();
  let encoding: string | undefined;
  let passed = 0;
  try {
    load.interrupted.throwIfAborted();
    for await (const piece of load.pieces) {
      if (piece.kind === 'encoding') encoding = piece.name;
      else if (piece.kind === 'sql') {
        if (load.withoutTransactionTimeout && passed === 0) hideTransactionTimeout(piece.bytes);
        await psql.write(restriction.take(piece.bytes));
      } else {
        const loader = rows.loader ?? (await rows.open(encoding));
        if (piece.kind === 'copy') {
          await psql.write(restriction.release());
          await psql.executed(loader);
          // The line of the statement, and that of the terminator.
          psql.passOver(countNewlines(piece.statement, 0, piece.statement.length) + 2);
        }
        psql.passOver((await loader.take(piece)) ?? 0);
      }
      if ('bytes' in piece) load.onProgress((passed += piece.bytes.length));
    }
    load.onRowsLoaded();
    await psql.write(restriction.end());
    await psql.end();
  } catch (error) {
    await psql.kill();
    throw rows.failure(error);
  } finally {
    await rows.close();
  }
}

export interface ArchiveLoad extends Loading {
  readonly pieces: AsyncIterable<ArchivePiece>;
  /** Restores these entries of the archive; throws RESTORE_FAILED. */
  restoreEntries(path: string, dumpIds: readonly number[]): Promise<void>;
}

/** @throws LifeboatError RESTORE_FAILED with the first error; what `pieces` throws */
export async function loadArchive(load: ArchiveLoad): Promise<void> {
  const rows = new Rows(load);
  let archive: ArchiveOutline | undefined;
  try {
    for await (const piece of load.pieces) {
      if (piece.kind === 'archive') {
        archive = piece;
        await load.restoreEntries(piece.path, piece.before);
      } else await (rows.loader ?? (await rows.open(archive?.encoding))).take(piece);
    }
  } catch (error) {
    throw rows.failure(error);
  } finally {
    await rows.close();
  }
  load.onRowsLoaded();
  if (!archive) return;
  await load.restoreEntries(archive.path, archive.beside);
  await load.restoreEntries(archive.path, archive.after);
}

/** The loader, from the first table on, and its end by an interruption. */
class Rows {
  loader: CopyLoader | undefined;
  readonly #load: Loading;
  readonly #stop = (): void => this.loader?.abort();

  constructor(load: Loading) {
    this.#load = load;
  }

  async open(encoding: string | undefined): Promise<CopyLoader> {
    const { interrupted } = this.#load;
    this.loader = new CopyLoader(await this.#load.openLanes(encoding));
    interrupted.addEventListener('abort', this.#stop);
    interrupted.throwIfAborted();
    return this.loader;
  }

  /** What to report: after an interruption everything fails, and none of that is the reason. */
  failure(error: unknown): unknown {
    const { interrupted } = this.#load;
    return interrupted.aborted ? interrupted.reason : error;
  }

  async close(): Promise<void> {
    this.#load.interrupted.removeEventListener('abort', this.#stop);
    await this.loader?.close();
  }
}
