import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { DumpEntry } from '../../../lib/domain/restore/dump-entries.ts';
import { stripComments } from '../../../lib/domain/restore/statements.ts';
import { readArchiveHead, type ArchiveEntry } from './custom-archive/archive-reader.ts';
import { PlainDumpLexer } from './plain-dump/lexer.ts';

/** A dump's table of contents, and parts of a plain dump by it. */

/** Enough of an entry to tell what it is about. */
const STATEMENT_KEPT = 16 * 1024;
const ENTRY = /^-- (?:Data for )?Name: .*; Type: ([A-Z ]+); Schema: /;

/** @returns entries whose id is the position of their comment. */
export async function readPlainEntries(
  content: AsyncIterable<Buffer>,
  onProgress: (rawBytes: number) => void,
): Promise<DumpEntry[]> {
  const found: { id: number; type: string; bytes: Buffer }[] = [];
  const lexer = new PlainDumpLexer({
    comment: (text, offset) => {
      const type = ENTRY.exec(text)?.[1];
      if (type !== undefined) found.push({ id: offset, type, bytes: Buffer.alloc(0) });
    },
  });
  let position = 0;
  let complete = 0;
  for await (const chunk of content) {
    lexer.push(chunk);
    for (let index = complete; index < found.length; index += 1) keepStatement(found, index, chunk, position);
    // Only the last one may go on in the next chunk.
    complete = Math.max(0, found.length - 1);
    position += chunk.length;
    onProgress(position);
  }
  return found.map(({ id, type, bytes }) => ({ id, type, statement: stripComments(bytes.toString('utf8')) }));
}

function keepStatement(
  found: { readonly id: number; bytes: Buffer }[],
  index: number,
  chunk: Buffer,
  position: number,
): void {
  const entry = found[index]!;
  // Its comment began in the chunk before, and was known for one only now: what is missing of it is made up for.
  if (entry.bytes.length === 0 && entry.id < position) entry.bytes = Buffer.alloc(position - entry.id, '-');
  const from = entry.id + entry.bytes.length;
  const to = Math.min(entry.id + STATEMENT_KEPT, found[index + 1]?.id ?? Number.POSITIVE_INFINITY);
  const piece = chunk.subarray(Math.max(0, from - position), Math.max(0, to - position));
  if (piece.length > 0) entry.bytes = Buffer.concat([entry.bytes, piece]);
}

/**
 * The dump's head and the selected entries. `SET default_tablespace` lines between entries that are left out are left out
 * too: a table may then come to lie in the default tablespace.
 */
export async function* selectPlainEntries(
  content: AsyncIterable<Buffer>,
  entries: readonly DumpEntry[],
  selected: readonly number[],
): AsyncGenerator<Buffer> {
  const wanted = new Set(selected);
  const head = { from: 0, to: entries[0]?.id ?? 0 };
  const ranges = entries.map(({ id }, index) => ({
    from: id,
    to: entries[index + 1]?.id ?? Number.POSITIVE_INFINITY,
  }));
  const kept = [head, ...ranges.filter(({ from }) => wanted.has(from))];
  let position = 0;
  for await (const chunk of content) {
    const end = position + chunk.length;
    while (kept[0] && kept[0].from < end) {
      const { from, to } = kept[0];
      yield chunk.subarray(Math.max(0, from - position), Math.min(chunk.length, to - position));
      if (to > end) break;
      kept.shift();
    }
    position = end;
    if (kept.length === 0) return;
  }
}

/** @returns entries whose id is their dumpId. @throws LifeboatError CORRUPT */
export async function readCustomEntries(content: AsyncIterable<Buffer>, where: string): Promise<DumpEntry[]> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of content) {
    bytes = Buffer.concat([bytes, chunk]);
    const head = readArchiveHead(bytes);
    if (head) return head.entries.map(toEntry);
  }
  throw new LifeboatError('CORRUPT', `${where} ends within its table of contents`);
}

function toEntry({ dumpId, description, definition, copyStatement }: ArchiveEntry): DumpEntry {
  return { id: dumpId, type: description, statement: stripComments(definition || copyStatement) };
}
