import { parseCopyTable } from '../../../lib/domain/backup/copy-statement.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Compression } from '../../../lib/domain/backup/keys.ts';
import {
  CLUSTER_DUMP_MARK,
  PLAIN_END_MARK,
  sniffFormat,
  type DumpInspection,
} from '../../../lib/domain/restore/inspection.ts';
import { BlockWalker } from './custom-archive/block-walker.ts';
import { PlainDumpLexer } from './plain-dump/lexer.ts';

/** Learns about a dump without a manifest by reading it whole, before anything is touched. */

type InspectedTable = NonNullable<DumpInspection['tables']>[number];

/** One entry a table: `--load-via-partition-root` copies into the same one again and again. */
class TableRows {
  readonly #tables = new Map<string, InspectedTable>();

  add(table: InspectedTable): void {
    const key = JSON.stringify([table.schema, table.name]);
    this.#tables.set(key, { ...table, rows: table.rows + (this.#tables.get(key)?.rows ?? 0) });
  }

  /** `undefined` without any COPY: a dump made with --inserts or --schema-only tells nothing of rows. */
  get all(): InspectedTable[] | undefined {
    return this.#tables.size === 0 ? undefined : [...this.#tables.values()];
  }
}

interface Inspector {
  push(chunk: Buffer): void;
  /** @throws LifeboatError CORRUPT when the dump is not complete, RESTORE_REFUSED when it would leave its database */
  finish(where: string): Omit<DumpInspection, 'rawSize' | 'compression'>;
}

/**
 * @param where named in errors
 * @throws LifeboatError CORRUPT, RESTORE_REFUSED
 */
export async function inspectDump(
  content: AsyncIterable<Buffer>,
  compression: Compression | 'none',
  where: string,
  onProgress: (rawBytes: number) => void,
): Promise<DumpInspection> {
  let inspector: Inspector | undefined;
  let rawSize = 0;
  for await (const chunk of content) {
    inspector ??= startInspector(chunk, where);
    inspector.push(chunk);
    rawSize += chunk.length;
    onProgress(rawSize);
  }
  if (!inspector) throw new LifeboatError('CORRUPT', `${where} holds nothing: 0 bytes after decompression`);
  return { ...inspector.finish(where), compression, rawSize };
}

const HEAD_LENGTH = 512;

function startInspector(first: Buffer, where: string): Inspector {
  const head = first.toString('latin1', 0, HEAD_LENGTH);
  const format = sniffFormat(head);
  if (format) return format === 'plain' ? new PlainInspector() : new CustomInspector();
  const seen =
    first.subarray(257, 262).toString('latin1') === 'ustar'
      ? 'a tar archive'
      : JSON.stringify(head.slice(0, 40));
  throw new LifeboatError('CORRUPT', `${where} is no PostgreSQL dump: it begins with ${seen}`, {
    hint: 'Give a dump made by pg_dump in its plain or custom format, compressed by gzip or zstd or not at all.',
  });
}

const ENTRY =
  /^-- (?:Data for )?Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: (.*?)(?:; Tablespace: .*)?$/;

/** The only psql commands in a plain dump; a second command could stand on the same line. */
const RESTRICT = /^\\(?:un)?restrict [A-Za-z0-9]+$/;
const COMMAND_SHOWN = 200;

class PlainInspector implements Inspector {
  readonly #lexer: PlainDumpLexer;
  readonly #owners = new Set<string>();
  readonly #extensions = new Set<string>();
  readonly #tables = new TableRows();
  #serverVersion: string | undefined;
  #pgDumpVersion: string | undefined;
  #restricted = false;
  #leaves: string | undefined;
  /** The first psql command that pg_dump would not have written. */
  #command: string | undefined;
  #complete = false;
  #table: { schema: string; name: string } | undefined;

  constructor() {
    this.#lexer = new PlainDumpLexer({
      comment: (text) => this.#comment(text.trimEnd()),
      metaCommand: (line) => this.#metaCommand(line.trimEnd()),
      copyStart: (statement) => {
        this.#table = parseCopyTable(statement);
      },
      copyEnd: (rows) => {
        if (this.#table) this.#tables.add({ ...this.#table, rows });
      },
    });
  }

  push(chunk: Buffer): void {
    this.#lexer.push(chunk);
  }

  #comment(text: string): void {
    if (text === PLAIN_END_MARK) this.#complete = true;
    else if (text === CLUSTER_DUMP_MARK) this.#leaves ??= 'it is a dump of a whole cluster (pg_dumpall)';
    else if (ENTRY.test(text)) this.#entry(text);
    this.#serverVersion ??= /^-- Dumped from database version (.+)$/.exec(text)?.[1];
    this.#pgDumpVersion ??= /^-- Dumped by pg_dump version (.+)$/.exec(text)?.[1];
  }

  #entry(text: string): void {
    const [, name, type, , owner] = ENTRY.exec(text) ?? [];
    if (owner !== undefined && owner !== '-' && owner !== '') this.#owners.add(owner);
    if (type === 'EXTENSION' && name !== undefined) this.#extensions.add(name);
    if (type === 'DATABASE') this.#leaves ??= 'it was made with pg_dump --create';
  }

  #metaCommand(line: string): void {
    if (RESTRICT.test(line)) this.#restricted ||= line.startsWith('\\restrict');
    else if (/^\\c(?:onnect)?\s/.test(line)) this.#leaves ??= `it holds ${JSON.stringify(line)}`;
    else this.#command ??= line;
  }

  finish(where: string): Omit<DumpInspection, 'rawSize' | 'compression'> {
    if (this.#leaves) {
      throw new LifeboatError(
        'RESTORE_REFUSED',
        `${where} would drop, create or enter databases by itself: ${this.#leaves}`,
        {
          hint: 'Restore it with psql on a server of its own, or make a dump without --create.',
        },
      );
    }
    if (this.#command !== undefined) {
      throw new LifeboatError(
        'RESTORE_REFUSED',
        `${where} holds a psql command, which may run programs on this host and which pg_dump never writes: ${JSON.stringify(this.#command.slice(0, COMMAND_SHOWN))}`,
        { hint: 'Find out who wrote that line; restore the file when it is removed, or use another copy.' },
      );
    }
    if (!this.#complete || !this.#lexer.atRest) {
      throw new LifeboatError(
        'CORRUPT',
        `${where} is not complete: it does not end with “${PLAIN_END_MARK}”`,
      );
    }
    return {
      format: 'plain',
      serverVersion: this.#serverVersion,
      pgDumpVersion: this.#pgDumpVersion,
      restricted: this.#restricted,
      owners: [...this.#owners].sort(),
      extensions: [...this.#extensions].sort(),
      tables: this.#tables.all,
    };
  }
}

class CustomInspector implements Inspector {
  readonly #walker: BlockWalker;
  readonly #owners = new Set<string>();
  readonly #extensions = new Set<string>();
  readonly #tables = new TableRows();
  #compressed = false;
  #serverVersion: string | undefined;
  #pgDumpVersion: string | undefined;

  constructor() {
    this.#walker = new BlockWalker({
      head: (head) => {
        this.#compressed = head.compressed;
        this.#serverVersion = head.serverVersion;
        this.#pgDumpVersion = head.dumpVersion;
        for (const { owner, description, tag } of head.entries) {
          if (owner !== '' && !description.startsWith('DATABASE')) this.#owners.add(owner);
          if (description === 'EXTENSION') this.#extensions.add(tag);
        }
      },
      blockEnd: (entry, rows) => {
        const table = parseCopyTable(entry.copyStatement);
        if (table) this.#tables.add({ ...table, rows });
      },
    });
  }

  push(chunk: Buffer): void {
    this.#walker.push(chunk);
  }

  finish(where: string): Omit<DumpInspection, 'rawSize' | 'compression'> {
    this.#walker.end();
    if (!this.#walker.complete) {
      throw new LifeboatError(
        'CORRUPT',
        `${where} is not complete: the data of some tables is missing at its end`,
      );
    }
    return {
      format: 'custom',
      serverVersion: this.#serverVersion,
      pgDumpVersion: this.#pgDumpVersion,
      restricted: false,
      owners: [...this.#owners].sort(),
      extensions: [...this.#extensions].sort(),
      tables: this.#compressed ? undefined : this.#tables.all,
    };
  }
}
