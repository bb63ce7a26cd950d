import { LifeboatError } from '../../../lib/domain/errors.ts';
import type {
  BackupEnd,
  BackupPiece,
  BackupTablespace,
  BaseBackupRequest,
  BaseBackupStream,
} from '../ports/replication.ts';
import {
  isChecksumVerdict,
  positionOf,
  saidBy,
  tablespaceOf,
  unexpected,
  Warnings,
  type Position,
} from './base-backup-answers.ts';
import { baseBackupCommand, sendsTaggedCopy } from './base-backup-command.ts';
import { BACKEND, readCString, type Row } from './protocol.ts';
import type { Session } from './session.ts';
import { uploadManifest } from './upload-manifest.ts';

/** Two blocks of zeros end a tar; up to 14 the server leaves them to its client. */
const TAR_TRAILER = Buffer.alloc(1024);
const PROGRESS_STEP = 16 * 1024 * 1024;
/** SQLSTATE object_not_in_prerequisite_state */
const NOT_IN_PREREQUISITE_STATE = '55000';

/** @throws LifeboatError see ReplicationServer.baseBackup */
export async function startBaseBackup(
  session: Session,
  versionNumber: number,
  request: BaseBackupRequest,
): Promise<BaseBackupStream> {
  const command = baseBackupCommand(request, versionNumber);
  if (request.incrementalManifest) await uploadManifest(session, request.incrementalManifest);
  const warnings = new Warnings();
  session.begin(command, (said) => warnings.note(said));
  const start = positionOf(await firstAnswer(session, request));
  const tablespaces = (await session.resultSet()).map((row) => tablespaceOf(row));
  const tagged = sendsTaggedCopy(versionNumber);
  return new RunningBackup({ session, start, tablespaces, warnings, tagged, manifest: request.manifest });
}

async function firstAnswer(session: Session, request: BaseBackupRequest): Promise<Row[]> {
  try {
    return await session.resultSet();
  } catch (error) {
    if (!request.incrementalManifest || saidBy(error)?.code !== NOT_IN_PREREQUISITE_STATE) throw error;
    throw new LifeboatError('SETTINGS_INVALID', (error as Error).message, {
      hint: 'Let the server keep account of changed blocks (ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf();), and take a full base backup first.',
      cause: error,
    });
  }
}

interface Parts {
  readonly session: Session;
  readonly start: Position;
  readonly tablespaces: readonly BackupTablespace[];
  readonly warnings: Warnings;
  readonly tagged: boolean;
  readonly manifest: boolean;
}

class RunningBackup implements BaseBackupStream {
  readonly start: Position;
  readonly tablespaces: readonly BackupTablespace[];
  readonly #parts: Parts;
  #doneBytes = 0;
  #reportedBytes = 0;
  #end: BackupEnd | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.start = parts.start;
    this.tablespaces = parts.tablespaces;
  }

  async *pieces(): AsyncGenerator<BackupPiece> {
    try {
      yield* this.#parts.tagged ? this.#taggedPieces() : this.#separatePieces();
      this.#end = await this.#readEnd();
    } finally {
      if (!this.#end) this.abort();
    }
  }

  /** Up to 14: a COPY for each archive, in the order of the tablespaces, and one for the manifest. */
  async *#separatePieces(): AsyncGenerator<BackupPiece> {
    for (const { oid, location } of this.tablespaces) {
      await this.#expect(BACKEND.copyOutResponse);
      yield { kind: 'archive', oid, location };
      for (;;) {
        const bytes = await this.#copyData();
        if (!bytes) break;
        yield { kind: 'data', bytes };
        if (this.#isProgressDue(bytes.length)) yield this.#progress();
      }
      yield { kind: 'data', bytes: TAR_TRAILER };
      yield this.#progress();
    }
    if (!this.#parts.manifest) return;
    await this.#expect(BACKEND.copyOutResponse);
    for (let bytes = await this.#copyData(); bytes; bytes = await this.#copyData()) {
      yield { kind: 'manifest', bytes };
    }
  }

  /** Since 15: one COPY, whose messages each begin with a letter that says what they are. */
  async *#taggedPieces(): AsyncGenerator<BackupPiece> {
    await this.#expect(BACKEND.copyOutResponse);
    let kind: 'data' | 'manifest' = 'data';
    for (;;) {
      const body = await this.#copyData();
      if (!body) break;
      switch (body[0]) {
        case TAG.data: {
          const bytes = body.subarray(1);
          yield { kind, bytes };
          if (kind === 'data' && this.#isProgressDue(bytes.length)) yield this.#progress();
          break;
        }
        case TAG.archive:
          yield this.#archiveOf(body);
          break;
        case TAG.manifest:
          kind = 'manifest';
          break;
        case TAG.progress:
          break; // ours are the same whatever the server's version
        default:
          throw unexpected(`a message ${JSON.stringify(String.fromCharCode(body[0] ?? 0))} within the copy`);
      }
    }
    yield this.#progress();
  }

  #archiveOf(body: Buffer): BackupPiece {
    const name = readCString(body, 1);
    const location = readCString(body, name.end).text;
    const known = this.tablespaces.find(
      ({ oid }) => name.text === (oid === null ? 'base.tar' : `${oid}.tar`),
    );
    if (known) return { kind: 'archive', oid: known.oid, location: known.location };
    throw unexpected(`the archive ${JSON.stringify(name.text)} of ${JSON.stringify(location)}`);
  }

  #isProgressDue(bytes: number): boolean {
    this.#doneBytes += bytes;
    return this.#doneBytes - this.#reportedBytes >= PROGRESS_STEP;
  }

  #progress(): BackupPiece {
    this.#reportedBytes = this.#doneBytes;
    return { kind: 'progress', doneBytes: this.#doneBytes };
  }

  /** `undefined` at the end of this COPY. */
  async #copyData(): Promise<Buffer | undefined> {
    const { session } = this.#parts;
    session.turn();
    const here = session.copyDataNow();
    if (here) return here;
    const { type, body } = await session.read();
    if (type === BACKEND.copyData) return body;
    if (type === BACKEND.copyDone) return undefined;
    throw unexpected(`a message ${JSON.stringify(String.fromCharCode(type))}`);
  }

  async #expect(wanted: number): Promise<void> {
    const { type } = await this.#parts.session.read();
    if (type !== wanted) throw unexpected(`a message ${JSON.stringify(String.fromCharCode(type))}`);
  }

  async #readEnd(): Promise<BackupEnd> {
    const { session, warnings } = this.#parts;
    const position = positionOf(await session.resultSet());
    let failed = false;
    try {
      await session.untilIdle();
    } catch (error) {
      if (!isChecksumVerdict(error)) throw error;
      failed = true;
    }
    return {
      ...position,
      checksumFailures: failed ? warnings.checksumFailures : 0,
      warnings: warnings.lines,
    };
  }

  async finished(): Promise<BackupEnd> {
    if (this.#end) return await Promise.resolve(this.#end);
    throw new LifeboatError('BUG', 'The base backup was asked for its end before all of it was read');
  }

  abort(): void {
    if (this.#end) return;
    this.#parts.session.abort(new LifeboatError('BUG', 'The base backup was given up'));
  }
}

const TAG = { archive: 0x6e, data: 0x64, manifest: 0x6d, progress: 0x70 };
