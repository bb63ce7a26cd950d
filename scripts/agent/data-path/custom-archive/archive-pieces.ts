import { open, type FileHandle } from 'node:fs/promises';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { onDisk, writeFully } from '../../host/durable-file.ts';
import type { ArchiveOutline, ArchivePiece } from '../../ports/dump-files.ts';
import { readArchiveHead, type ArchiveEntry, type ArchiveHead } from './archive-reader.ts';
import { enterOffsets, type DataOffset } from './data-offsets.ts';
import { BlockWalker, type BlockBody } from './block-walker.ts';

/**
 * Takes a custom-format archive apart: the rows of tables, with the COPY statements that the table of contents has for them,
 * and an archive of all the rest, which pg_restore restores.
 */

/** teSection of pg_backup_archiver.h. */
const SECTION = { none: 1, beforeData: 2, data: 3 } as const;
const COPY_STATEMENT = /^COPY .* FROM stdin;\n?$/s;

interface Request {
  /** Chunks, each valid until the next but one is asked for. Their bytes are moved about. */
  readonly content: AsyncIterable<Buffer>;
  /** Of the scratch file; must not exist. */
  readonly path: string;
  /** The dump's name, for errors. */
  readonly where: string;
  readonly onProgress: (rawBytes: number) => void;
}

/** @throws LifeboatError CORRUPT, DISK_FULL */
export async function* takeArchiveApart(request: Request): AsyncGenerator<ArchivePiece> {
  const { content, path, where, onProgress } = request;
  let separator: Separator | undefined;
  let head = Buffer.alloc(0);
  let position = 0;
  for await (const chunk of content) {
    position += chunk.length;
    if (separator) yield* keepParts(path, separator.push(chunk));
    else {
      head = Buffer.concat([head, chunk]);
      separator = startSeparator(head, where);
      if (!separator) continue;
      const bytes = head.subarray(0, separator.head.length);
      await inFile(path, 'ax', (file) => writeFully(file, bytes));
      yield separator.archive(path);
      yield* keepParts(path, separator.push(head.subarray(bytes.length)));
    }
    onProgress(position);
  }
  if (!separator) throw new LifeboatError('CORRUPT', `${where} ends within its table of contents`);
  if (!separator.complete)
    throw new LifeboatError('CORRUPT', `${where} is not complete: the data of some tables is missing`);
  const { head: contents, offsets } = separator;
  await inFile(path, 'r+', (file) => enterOffsets(file, contents, offsets));
}

function startSeparator(bytes: Buffer, where: string): Separator | undefined {
  const head = readArchiveHead(bytes);
  if (head?.compressed)
    throw new LifeboatError('CORRUPT', `${where} was compressed by pg_dump itself, unlike its manifest says`);
  return head && new Separator(head);
}

async function* keepParts(path: string, parts: readonly Part[]): AsyncGenerator<ArchivePiece> {
  for (const part of parts) {
    if (part.kind === 'kept') await inFile(path, 'a', (file) => writeFully(file, part.bytes));
    else yield part;
  }
}

function isCopied({ hasData, description, copyStatement }: ArchiveEntry): boolean {
  return hasData && description === 'TABLE DATA' && COPY_STATEMENT.test(copyStatement);
}

/**
 * What belongs to no section belongs to the one that it stands in, as pg_restore has it. But grants come last, as in one
 * run of pg_restore: an owner who is not allowed to write into his table could not restore it either.
 */
function sectionsOf(entries: readonly ArchiveEntry[]): Pick<ArchiveOutline, 'before' | 'beside' | 'after'> {
  const [before, beside, after]: [number[], number[], number[]] = [[], [], []];
  let section: number = SECTION.beforeData;
  for (const entry of entries) {
    if (entry.section !== SECTION.none) section = entry.section;
    if (/^(?:DEFAULT )?ACL/.test(entry.description)) after.push(entry.dumpId);
    else if (section === SECTION.beforeData) before.push(entry.dumpId);
    else if (section === SECTION.data) beside.push(entry.dumpId);
    else after.push(entry.dumpId);
  }
  return { before, beside, after };
}

/** Opened anew each time: few blocks are kept. */
async function inFile(path: string, flags: string, work: (file: FileHandle) => Promise<void>): Promise<void> {
  await onDisk(`Cannot write ${path}`, async () => {
    const file = await open(path, flags, 0o600);
    try {
      await work(file);
    } finally {
      await file.close();
    }
  });
}

type Part = ArchivePiece | { readonly kind: 'kept'; readonly bytes: Buffer };

class Separator {
  readonly offsets: DataOffset[] = [];
  readonly head: ArchiveHead;
  readonly #copied: ReadonlySet<number>;
  readonly #walker: BlockWalker;
  #parts: Part[] = [];
  #inside: 'rows' | 'kept' | 'nothing' = 'nothing';
  #chunk: Buffer = Buffer.alloc(0);
  /** Offset of the chunk in the archive. */
  #base: number;
  /** Positions in the chunk: where the stretch at hand began, and how far its rows have been moved together. */
  #from = 0;
  #to = 0;
  /** Length of the archive that is written beside. */
  #keptLength: number;

  constructor(head: ArchiveHead) {
    this.head = head;
    this.#copied = new Set(head.entries.filter(isCopied).map(({ dumpId }) => dumpId));
    this.#base = head.length;
    this.#keptLength = head.length;
    const listener = {
      blockStart: (entry: ArchiveEntry, _offset: number, block: BlockBody) => this.#start(entry, block),
      data: (chunk: Buffer, from: number, to: number) => this.#data(chunk, from, to),
      blockEnd: (_entry: ArchiveEntry, _rows: number, offset: number) => this.#end(offset),
    };
    this.#walker = new BlockWalker(listener, { countsRows: false, head });
  }

  get complete(): boolean {
    return this.#walker.complete;
  }

  archive(path: string): ArchivePiece {
    const rest = this.head.entries.filter(({ dumpId }) => !this.#copied.has(dumpId));
    return { kind: 'archive', path, encoding: this.head.encoding, ...sectionsOf(rest) };
  }

  push(chunk: Buffer): Part[] {
    this.#parts = [];
    this.#chunk = chunk;
    this.#from = 0;
    this.#to = 0;
    this.#walker.push(chunk);
    this.#close(chunk.length);
    this.#base += chunk.length;
    return this.#parts;
  }

  #start(entry: ArchiveEntry, { type, offset }: BlockBody): void {
    this.#from = offset - this.#base;
    this.#to = this.#from;
    if (this.#copied.has(entry.dumpId)) {
      this.#inside = 'rows';
      this.#parts.push({ kind: 'copy', statement: withoutSemicolon(entry.copyBytes) });
      return;
    }
    this.#inside = 'kept';
    this.offsets.push({ position: entry.offsetPosition, offset: this.#keptLength });
    this.#keep(blockHead(this.head, type, entry.dumpId));
  }

  /** Rows stand in chunks of their own, each after its length; they are moved together over those. */
  #data(chunk: Buffer, from: number, to: number): void {
    if (this.#inside !== 'rows') return;
    chunk.copyWithin(this.#to, from, to);
    this.#to += to - from;
  }

  #end(offset: number): void {
    this.#close(offset - this.#base);
    if (this.#inside === 'rows') this.#parts.push({ kind: 'end of rows' });
    this.#inside = 'nothing';
  }

  #close(end: number): void {
    if (this.#inside === 'kept') this.#keep(this.#chunk.subarray(this.#from, end));
    if (this.#inside === 'rows' && this.#to > this.#from)
      this.#parts.push({ kind: 'rows', bytes: this.#chunk.subarray(this.#from, this.#to) });
  }

  #keep(bytes: Buffer): void {
    this.#parts.push({ kind: 'kept', bytes });
    this.#keptLength += bytes.length;
  }
}

function withoutSemicolon(statement: Buffer): Buffer {
  return statement.subarray(0, statement.lastIndexOf(';'));
}

/** As pg_dump writes it: type, then the sign and the digits of the dumpId. */
function blockHead({ integerSize }: ArchiveHead, type: number, dumpId: number): Buffer {
  const head = Buffer.alloc(1 + 1 + integerSize);
  head[0] = type;
  head.writeUIntLE(dumpId, 2, Math.min(6, integerSize));
  return head;
}
