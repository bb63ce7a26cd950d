import type { PlainPiece } from '../../../scripts/agent/ports/dump-files.ts';
import { takePlainApart } from '../../../scripts/agent/data-path/plain-dump/plain-pieces.ts';

/** As frames come: the memory of a chunk is gone when the one after the next is asked for. */
async function* inChunks(dump: Buffer, size: number): AsyncGenerator<Buffer> {
  let before: Buffer | undefined;
  for (let at = 0; at < dump.length; at += size) {
    const chunk = Buffer.from(dump.subarray(at, at + size));
    yield await Promise.resolve(chunk);
    before?.fill('#');
    before = chunk;
  }
}

interface Taken {
  readonly sql: string;
  readonly tables: readonly { readonly statement: string; readonly rows: string }[];
}

async function takeApart(dump: Buffer | string, size = Infinity): Promise<Taken> {
  const bytes = Buffer.from(dump);
  let sql = '';
  const tables: { statement: string; rows: string; open: boolean }[] = [];
  const pieces: AsyncIterable<PlainPiece> = takePlainApart(
    inChunks(bytes, Math.min(size, bytes.length)),
    'x.sql',
  );
  for await (const piece of pieces) {
    const table = tables.at(-1);
    if (piece.kind === 'sql') {
      expect(table?.open ?? false).toBe(false);
      sql += piece.bytes.toString('latin1');
    } else if (piece.kind === 'copy')
      tables.push({ statement: piece.statement.toString('latin1'), rows: '', open: true });
    else if (piece.kind === 'rows') {
      expect(table?.open).toBe(true);
      table!.rows += piece.bytes.toString('latin1');
    } else if (piece.kind === 'end of rows') table!.open = false;
  }
  expect(tables.filter(({ open }) => open)).toEqual([]);
  return { sql, tables: tables.map(({ statement, rows }) => ({ statement, rows })) };
}

const DUMP = `--
-- COPY public.comment (a) FROM stdin;
--
SET client_encoding = 'UTF8';
C; CO; COP; /* COPY public.x (a) FROM stdin;
*/ SELECT 'COPY public.y (a) FROM stdin;
1
\\.
';
CREATE FUNCTION f() AS $_$
COPY public.fake (a) FROM stdin;
1
\\.
$_$;
COPY public.t (a, "odd; ""name
of two lines") FROM stdin;
1\tx
\\\\.
\\N\t\\\\N
COPY public.fake (a) FROM stdin;
\\.x
\\.\r\r
C:\\\\
\\.

--
-- Data for Name: empty; Type: TABLE DATA
--

COPY public.empty (a) FROM stdin;
\\.
COPY public.blank  FROM stdin;


\\.
SELECT pg_catalog.setval('public.s', 1);
--
-- PostgreSQL database dump complete
--
`;
const SQL = DUMP.replace(/COPY public\.t [^]*?\n\\\.\n/, '')
  .replace(/COPY public\.empty [^]*?\\\.\n/, '')
  .replace(/COPY public\.blank [^]*?\\\.\n/, '');
const TAKEN: Taken = {
  sql: SQL,
  tables: [
    {
      statement: 'COPY public.t (a, "odd; ""name\nof two lines") FROM stdin',
      rows: '1\tx\n\\\\.\n\\N\t\\\\N\nCOPY public.fake (a) FROM stdin;\n\\.x\n\\.\r\r\nC:\\\\\n',
    },
    { statement: 'COPY public.empty (a) FROM stdin', rows: '' },
    { statement: 'COPY public.blank  FROM stdin', rows: '\n\n' },
  ],
};

describe('a plain dump', () => {
  it('is taken apart into what psql runs and the rows of tables, byte for byte', async () => {
    expect(await takeApart(DUMP)).toEqual(TAKEN);
  });

  it('is taken apart in the same way wherever its chunks end', async () => {
    for (let size = 1; size < DUMP.length; size += size < 40 ? 1 : 37)
      expect(await takeApart(DUMP, size)).toEqual(TAKEN);
  });

  it('keeps names in the bytes of its encoding', async () => {
    const dump = Buffer.from(
      "SET client_encoding = 'LATIN1';\nCOPY public.\xe9 (a) FROM stdin;\n\xfc\n\\.\n",
      'latin1',
    );
    expect((await takeApart(dump, 3)).tables).toEqual([
      { statement: 'COPY public.\xe9 (a) FROM stdin', rows: '\xfc\n' },
    ]);
  });

  it('is left to psql whole when only psql can read its encoding', async () => {
    const dump = DUMP.replace('UTF8', 'SJIS');
    expect(await takeApart(dump, 16)).toEqual({ sql: dump, tables: [] });
  });

  it.each([
    ['within the rows of a table', 'COPY public.t (a) FROM stdin;\n1\n'],
    ['within a row', 'COPY public.t (a) FROM stdin;\n1\n2'],
    ['within the terminator', 'COPY public.t (a) FROM stdin;\n1\n\\.'],
    ['within a statement', 'SELECT 1'],
  ])('that ends %s is refused', async (_, dump) => {
    await expect(takeApart(dump)).rejects.toMatchObject({ code: 'CORRUPT' });
  });
});
