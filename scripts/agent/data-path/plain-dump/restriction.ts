import { BACKSLASH } from './characters.ts';

/** Comments and blank lines, as pg_dump's and pg_restore's output begins; a byte order mark may stand before them. */
const HEAD = /^(?:\xef\xbb\xbf)?(?:\s|--[^\n]*\n)*(?=\\restrict ([A-Za-z0-9]+)\s)/;
const HEAD_LENGTH = 4096;
/** Of an `\unrestrict` line with what may follow it. */
const LONGEST = 1024;
const COMMENT = '--';

/**
 * The pair of lines by which a dump forbids psql all commands of its own, `\restrict KEY` and `\unrestrict KEY`. A dump from
 * elsewhere may hold both and anything behind the second one, so psql is restricted by a key that no dump knows; then it
 * would refuse the dump's own lines, and they become comments here, of the same length.
 */
export class RestrictionLines {
  #begun = false;
  #key: string | undefined;
  #held: Buffer = Buffer.alloc(0);

  /**
   * @param sql the dump's next part, changed in place
   * @returns what of it is known not to be the last line, or a copy; the rest is held back
   */
  take(sql: Buffer): Buffer {
    if (!this.#begun) this.#begin(sql);
    if (this.#key === undefined) return sql;
    const all = this.#held.length === 0 ? sql : Buffer.concat([this.#held, sql]);
    const near = Math.max(0, all.length - LONGEST);
    const found = all.subarray(near).lastIndexOf(BACKSLASH);
    const from = found < 0 ? all.length : near + found;
    this.#held = Buffer.from(all.subarray(from));
    return all.subarray(0, from);
  }

  /** Something else than SQL follows. @returns what was held back */
  release(): Buffer {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    return held;
  }

  /** The dump ends. @returns what was held back */
  end(): Buffer {
    const last = this.release();
    if (last.toString('latin1').trimEnd() === `\\unrestrict ${this.#key}`) last.write(COMMENT);
    return last;
  }

  #begin(sql: Buffer): void {
    this.#begun = true;
    const found = HEAD.exec(sql.toString('latin1', 0, HEAD_LENGTH));
    if (!found) return;
    this.#key = found[1];
    sql.write(COMMENT, found[0].length);
  }
}

/** @param content a dump, changed in place; chunks are valid as long as its own */
export async function* withoutRestriction(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const lines = new RestrictionLines();
  for await (const chunk of content) yield lines.take(chunk);
  yield lines.end();
}
