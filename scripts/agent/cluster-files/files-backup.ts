import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatLsn, tryParseLsn } from '../../../lib/domain/wal/lsn.ts';
import { CRC32C_START, finishCrc32c, updateCrc32c } from '../data-path/wal/crc32c.ts';
import { BackupManifestWriter } from '../data-path/tar/backup-manifest-writer.ts';
import { encodeTarHeader, TAR_TRAILER, tarPadding } from '../data-path/tar/tar-header.ts';
import type { BackupEnd, BackupPiece, BackupTablespace, BaseBackupStream } from '../ports/replication.ts';
import type { BackupSession, BackupStart, BackupStop } from './backup-session.ts';
import { CONTROL_FILE, walkFolder, type FileMember, type FolderStat, type Member } from './cluster-walk.ts';
import { readControlFile, requireOwnCheckpoint } from './control-file.ts';
import { FileReads } from './file-reads.ts';
import type { Folder } from './folder.ts';
import { PageCheck } from './page-check.ts';
import type { FoundTablespace, SourceCluster } from './source-cluster.ts';
import { isSegmentMember, requireOwnSegment, requireStillThere, walkWal, type WalSpan } from './wal-walk.ts';

const PROGRESS_STEP = 16 * 1024 * 1024;
/** Of backup_manifest, before it goes out between the archives: that of most clusters never does. */
const MANIFEST_IN_MEMORY = 4 * 1024 * 1024;

export interface FilesBackupParts {
  readonly session: BackupSession;
  readonly cluster: SourceCluster;
  readonly start: BackupStart;
  /** Those whose archives are made; without the data directory. */
  readonly tablespaces: readonly FoundTablespace[];
  /** The same, and the data directory. */
  readonly described: readonly BackupTablespace[];
}

/** The files of a cluster, read where they lie, as the archives that the server would make of them. */
export class FilesBackup implements BaseBackupStream {
  readonly start: BackupStart;
  readonly tablespaces: readonly BackupTablespace[];
  readonly #parts: FilesBackupParts;
  readonly #reads = new FileReads();
  readonly #pages: PageCheck;
  readonly #manifest: BackupManifestWriter;
  #manifestBytes: Buffer[] = [];
  #manifestSize = 0;
  #doneBytes = 0;
  #reportedBytes = 0;
  #end: BackupEnd | undefined;

  constructor(parts: FilesBackupParts) {
    this.#parts = parts;
    this.start = parts.start;
    this.tablespaces = parts.described;
    this.#pages = new PageCheck(parts.start.lsn);
    this.#manifest = new BackupManifestWriter(parts.cluster);
  }

  async *pieces(): AsyncGenerator<BackupPiece> {
    try {
      for (const tablespace of this.#parts.tablespaces) yield* this.#tablespace(tablespace);
      yield* this.#dataDirectory();
    } finally {
      await this.#reads.close();
      if (!this.#end) this.abort();
    }
  }

  async *#tablespace({ oid, location, folder, version }: FoundTablespace): AsyncGenerator<BackupPiece> {
    yield { kind: 'archive', oid, location };
    yield* this.#data(folderHeader(version, folder.stat));
    yield* this.#members(walkFolder(folder, `${version}/`, this.#parts.cluster.rules), `pg_tblspc/${oid}/`);
    await this.#parts.cluster.requireStillThere(oid);
    yield* this.#data(TAR_TRAILER);
    yield this.#progress();
  }

  async *#dataDirectory(): AsyncGenerator<BackupPiece> {
    const { cluster, session, tablespaces } = this.#parts;
    yield { kind: 'archive', oid: null, location: null };
    const elsewhere = new Set(tablespaces.flatMap(({ inside }) => (inside === undefined ? [] : [inside])));
    yield* this.#members(walkFolder(cluster.root, '', { ...cluster.rules, elsewhere }), '');
    cluster.requireSameRoot();
    const control = await readControlFile(cluster.root);
    requireOwnCheckpoint(control, this.start.lsn, cluster.root.path);
    const stop = await session.stop();
    requireOwnLabel(stop, this.start);
    yield* this.#content('backup_label', Buffer.from(stop.label));
    const map = tablespaces.map((each) => each.mapLine).join('');
    yield* this.#content('tablespace_map', Buffer.from(map, 'latin1'));
    // Behind the label: whatever is unpacked of a series that lacks its end is then no cluster that starts.
    yield* this.#content(CONTROL_FILE, control.bytes, control.stat);
    yield* this.#wal(stop);
    yield* this.#data(TAR_TRAILER);
    yield this.#progress();
    const { timeline, lsn: start } = this.start;
    this.#keepManifest(this.#manifest.finish([{ timeline, start, end: stop.lsn }]));
    yield* this.#takeManifest();
    const { failures, warnings } = this.#pages;
    this.#end = { lsn: stop.lsn, timeline, checksumFailures: failures, warnings };
  }

  /** @param prefix what leads to the archive's files from the data directory */
  async *#members(walk: Iterator<Member>, prefix: string): AsyncGenerator<BackupPiece> {
    this.#reads.begin(walk);
    for (let member = this.#reads.nextMember(); member; member = this.#reads.nextMember()) {
      this.#parts.session.requireAlive();
      if (member.kind === 'file') yield* this.#file(member, prefix);
      else if (member.kind === 'folder') yield* this.#data(folderHeader(member.name, member.stat));
      else if (member.kind === 'warning') this.#pages.warn(member.text);
      else await new Promise(setImmediate);
      if (this.#manifestSize > MANIFEST_IN_MEMORY) yield* this.#takeManifest();
    }
  }

  async *#file(member: FileMember, prefix: string): AsyncGenerator<BackupPiece> {
    const { name, file } = member;
    const { size, mtime } = file.stat;
    yield* this.#data(fileHeader(name, size, file.stat));
    let crc = CRC32C_START;
    for (let chunk = await this.#reads.nextChunk(); chunk; chunk = await this.#reads.nextChunk()) {
      if (this.#parts.cluster.dataChecksums) await this.#pages.check(member, chunk);
      crc = updateCrc32c(crc, chunk.bytes);
      yield* this.#data(chunk.bytes);
      this.#parts.session.requireAlive();
    }
    this.#pages.endFile(member);
    yield* this.#data(tarPadding(size));
    this.#note(prefix + name, size, mtime, finishCrc32c(crc));
  }

  /** A file that is made here, or was read at once. */
  async *#content(name: string, bytes: Buffer, stat?: FolderStat): AsyncGenerator<BackupPiece> {
    const facts = stat ?? { ...this.#parts.cluster.newFile, mtimeMs: Date.now() };
    yield* this.#data(fileHeader(name, bytes.length, facts));
    yield* this.#data(bytes);
    yield* this.#data(tarPadding(bytes.length));
    const crc = finishCrc32c(updateCrc32c(CRC32C_START, bytes));
    this.#note(name, bytes.length, new Date(facts.mtimeMs), crc);
  }

  async *#wal({ lsn: end }: BackupStop): AsyncGenerator<BackupPiece> {
    const { cluster } = this.#parts;
    const { lsn: start, timeline } = this.start;
    const { segmentSize, systemIdentifier } = cluster;
    const span = { start, end, timeline, segmentSize, systemIdentifier };
    const folder = await cluster.openWal();
    try {
      this.#reads.begin(walkWal(folder, span));
      for (let member = this.#reads.nextMember(); member; member = this.#reads.nextMember()) {
        if (member.kind !== 'file') continue;
        if (isSegmentMember(member)) yield* this.#segment(folder, member, span);
        else yield* this.#file(member, '');
        // So that a promoted copy does not archive it once more.
        const status = `pg_wal/archive_status/${member.name.slice('pg_wal/'.length)}.done`;
        yield* this.#content(status, Buffer.alloc(0));
      }
    } finally {
      folder.close();
    }
  }

  /** No line of the manifest: it has the WAL's beginning and end. */
  async *#segment(folder: Folder, member: FileMember, span: WalSpan): AsyncGenerator<BackupPiece> {
    yield* this.#data(fileHeader(member.name, span.segmentSize, member.file.stat));
    for (let chunk = await this.#reads.nextChunk(); chunk; chunk = await this.#reads.nextChunk()) {
      requireOwnSegment(member, chunk, span);
      yield* this.#data(chunk.bytes);
    }
    requireStillThere(folder, member, span);
  }

  #note(path: string, size: number, modifiedAt: Date, crc32c: number): void {
    this.#keepManifest(this.#manifest.add({ path, size, modifiedAt, crc32c }));
  }

  #keepManifest(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#manifestBytes.push(bytes);
    this.#manifestSize += bytes.length;
  }

  *#takeManifest(): Generator<BackupPiece> {
    const kept = this.#manifestBytes;
    this.#manifestBytes = [];
    this.#manifestSize = 0;
    for (const bytes of kept) yield { kind: 'manifest', bytes };
  }

  *#data(bytes: Buffer): Generator<BackupPiece> {
    if (bytes.length === 0) return;
    this.#doneBytes += bytes.length;
    yield { kind: 'data', bytes };
    if (this.#doneBytes - this.#reportedBytes >= PROGRESS_STEP) yield this.#progress();
  }

  #progress(): BackupPiece {
    this.#reportedBytes = this.#doneBytes;
    return { kind: 'progress', doneBytes: this.#doneBytes };
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

/** @throws LifeboatError BUG: what starts a recovery elsewhere than the backup did would lose data without a word */
function requireOwnLabel({ label }: BackupStop, { lsn }: BackupStart): void {
  const [, start] = /^START WAL LOCATION: (\S+) /m.exec(label) ?? [];
  if (start !== undefined && tryParseLsn(start) === lsn) return;
  throw new LifeboatError(
    'BUG',
    `PostgreSQL ended another backup than the one of ${formatLsn(lsn)}: ${label}`,
  );
}

function folderHeader(name: string, { mode, uid, gid, mtimeMs }: FolderStat): Buffer {
  return encodeTarHeader({
    name,
    encoding: 'latin1',
    type: 'directory',
    mode: mode & 0o7777,
    uid,
    gid,
    modifiedAt: mtimeMs / 1000,
  });
}

function fileHeader(name: string, size: number, { mode, uid, gid, mtimeMs }: FolderStat): Buffer {
  return encodeTarHeader({
    name,
    encoding: 'latin1',
    type: 'file',
    size,
    mode: mode & 0o7777,
    uid,
    gid,
    modifiedAt: mtimeMs / 1000,
  });
}
