import { parseCopyTable } from '../../../lib/domain/backup/copy-statement.ts';
import type { DumpFormat } from '../../../lib/domain/backup/keys.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { BlockWalker } from './custom-archive/block-walker.ts';
import { PlainDumpLexer } from './plain-dump/lexer.ts';

/** What is learnt of a dump while it streams by. */
interface DumpCounts {
  /** Rows of each table that has data in the dump, in the dump's order; one entry a table. */
  readonly tables: readonly { readonly schema: string; readonly name: string; readonly rows: number }[];
  /** False when the dump's own end mark was not seen: pg_dump did not finish, whatever its exit status. */
  readonly complete: boolean;
  /** True when psql needs to know `\restrict` to read it. */
  readonly restricted: boolean;
}

/** Counts the rows of a dump from its bytes alone. @throws LifeboatError CORRUPT when they are no dump */
export interface DumpCounter {
  push(chunk: Buffer): void;
  end(): DumpCounts;
  /** The table that is being dumped, for progress. */
  readonly table: string;
}

export function createDumpCounter(format: DumpFormat): DumpCounter {
  return format === 'plain' ? new PlainDumpCounter() : new CustomDumpCounter();
}

const PLAIN_TRAILER = '-- PostgreSQL database dump complete';

class PlainDumpCounter implements DumpCounter {
  table = '';
  readonly #rows = new TableRows();
  #sawTrailer = false;
  #restricted = false;
  readonly #lexer = new PlainDumpLexer({
    comment: (text) => {
      this.#sawTrailer ||= text === PLAIN_TRAILER;
    },
    metaCommand: (line) => {
      this.#restricted ||= line.startsWith('\\restrict ');
    },
    copyStart: (statement) => {
      const table = parseCopyTable(statement);
      if (!table)
        throw new LifeboatError(
          'CORRUPT',
          `The dump holds a COPY that cannot be read: ${statement.slice(0, 200)}`,
        );
      this.table = `${table.schema}.${table.name}`;
      this.#rows.start(table.schema, table.name);
    },
    copyEnd: (rows) => this.#rows.add(rows),
  });

  push(chunk: Buffer): void {
    this.#lexer.push(chunk);
  }

  end(): DumpCounts {
    return {
      tables: this.#rows.all,
      complete: this.#sawTrailer && this.#lexer.atRest,
      restricted: this.#restricted,
    };
  }
}

class CustomDumpCounter implements DumpCounter {
  table = '';
  readonly #rows = new TableRows();
  readonly #walker = new BlockWalker({
    blockStart: ({ schema, tag, description }) => {
      this.table = description === 'TABLE DATA' ? `${schema}.${tag}` : 'large objects';
      if (description === 'TABLE DATA') this.#rows.start(schema, tag);
    },
    blockEnd: ({ description }, rows) => {
      if (description === 'TABLE DATA') this.#rows.add(rows);
    },
  });

  push(chunk: Buffer): void {
    this.#walker.push(chunk);
  }

  end(): DumpCounts {
    this.#walker.end();
    return { tables: this.#rows.all, complete: this.#walker.complete, restricted: false };
  }
}

class TableRows {
  readonly #tables = new Map<string, { schema: string; name: string; rows: number }>();
  #current: { schema: string; name: string; rows: number } | undefined;

  get all(): { schema: string; name: string; rows: number }[] {
    return [...this.#tables.values()];
  }

  start(schema: string, name: string): void {
    const key = JSON.stringify([schema, name]);
    this.#current = this.#tables.get(key) ?? { schema, name, rows: 0 };
    this.#tables.set(key, this.#current);
  }

  add(rows: number): void {
    this.#current!.rows += rows;
  }
}
