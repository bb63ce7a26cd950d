import { createDumpCounter } from '../../../scripts/agent/data-path/dump-counter.ts';
import { PlainDumpLexer } from '../../../scripts/agent/data-path/plain-dump/lexer.ts';

const TRAILER = '--\n-- PostgreSQL database dump complete\n--\n\n';

function count(dump: string, chunkSize = Infinity) {
  const counter = createDumpCounter('plain');
  const bytes = Buffer.from(dump);
  for (let at = 0; at < bytes.length; at += Math.min(chunkSize, bytes.length)) {
    counter.push(bytes.subarray(at, Math.min(bytes.length, at + chunkSize)));
  }
  const { tables, ...rest } = counter.end();
  return {
    ...rest,
    tables: Object.fromEntries(tables.map(({ schema, name, rows }) => [`${schema}|${name}`, rows])),
  };
}

const FOOLING_COPY = 'COPY public.fake (a) FROM stdin;\n1\n2\n\\.\n';

const CASES: readonly {
  readonly what: string;
  readonly sql: string;
  readonly tables: Record<string, number>;
}[] = [
  {
    what: 'counts one row a line',
    sql: 'COPY public.t (a, b) FROM stdin;\n1\tx\n2\ty\n\\.\n\n',
    tables: { 'public|t': 2 },
  },
  {
    what: 'counts an empty table as zero rows',
    sql: 'COPY public.t (a) FROM stdin;\n\\.\n',
    tables: { 'public|t': 0 },
  },
  {
    what: 'counts the empty lines of a table without columns, or of empty strings',
    sql: 'COPY public.nothing  FROM stdin;\n\n\n\n\\.\n',
    tables: { 'public|nothing': 3 },
  },
  {
    what: 'keeps tables apart and in order, and adds up one that appears twice',
    sql: 'COPY a.t (x) FROM stdin;\n1\n\\.\nCOPY b.t (x) FROM stdin;\n1\n2\n\\.\nCOPY a.t (x) FROM stdin;\n3\n\\.\n',
    tables: { 'a|t': 2, 'b|t': 2 },
  },
  {
    what: 'is not fooled by escaped terminators and COPY statements within the data',
    sql: 'COPY public.t (a) FROM stdin;\n\\\\.\nCOPY public.fake (a) FROM stdin;\n\\\\.\\n\\.x\n--\n\\.\n',
    tables: { 'public|t': 4 },
  },
  {
    what: 'is not fooled by a dollar-quoted function body',
    sql: `CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $_$\n${FOOLING_COPY}$$ $x$ '\n$_$;\nCOPY public.t (a) FROM stdin;\n1\n\\.\n`,
    tables: { 'public|t': 1 },
  },
  {
    what: 'is not fooled by an empty dollar tag that holds others',
    sql: `DO $$ begin; $a$ ${FOOLING_COPY} $a$ end $$;\nCOPY public.t (a) FROM stdin;\n1\n\\.\n`,
    tables: { 'public|t': 1 },
  },
  {
    what: 'is not fooled by string literals, doubled quotes and escape strings',
    sql: `COMMENT ON TABLE t IS 'it''s\n;\n${FOOLING_COPY}';\nSELECT E'a\\'b;\n${FOOLING_COPY.replaceAll('\\', '\\\\')}''still\\\\', 'C:\\';\nCOPY public.t (a) FROM stdin;\n1\n\\.\n`,
    tables: { 'public|t': 1 },
  },
  {
    what: 'is not fooled by names that end in e before a string',
    sql: `SELECT date'2026\\';\nCOPY public.t (a) FROM stdin;\n1\n\\.\n`,
    tables: { 'public|t': 1 },
  },
  {
    what: 'is not fooled by line comments and nested block comments',
    sql: `-- it's a "comment; $$\n/* ' /* " */ ${FOOLING_COPY} */\nSELECT 1; -- trailing '\nCOPY public.t (a) FROM stdin;\n1\n\\.\n`,
    tables: { 'public|t': 1 },
  },
  {
    what: 'takes $1 for a parameter and a dollar inside a name for part of it',
    sql: `SELECT $1, a$b$c, $2;\nCOPY public.t (a) FROM stdin;\n1\n\\.\n`,
    tables: { 'public|t': 1 },
  },
  {
    what: 'reads quoted names with quotes, dots, newlines, semicolons and Unicode',
    sql: 'COPY "We""ird.schema"."tab\nle; FROM stdin;" ("a;b", "c""d") FROM stdin;\n1\t2\n\\.\nCOPY public."Größe" (a) FROM stdin;\n1\n\\.\n',
    tables: { 'We"ird.schema|tab\nle; FROM stdin;': 1, 'public|Größe': 1 },
  },
  {
    what: 'passes psql commands by',
    sql: `\\restrict abc'def\nCOPY public.t (a) FROM stdin;\n1\n\\.\n\\unrestrict abc'def\n`,
    tables: { 'public|t': 1 },
  },
  {
    what: 'reads large objects as statements',
    sql: `SELECT pg_catalog.lo_open('1', 131072);\nSELECT pg_catalog.lowrite(0, '\\x${'00ff'.repeat(50_000)}');\nCOPY public.t (a) FROM stdin;\n1\n\\.\n`,
    tables: { 'public|t': 1 },
  },
];

describe('Counting the rows of a plain dump', () => {
  for (const { what, sql, tables } of CASES) {
    it(`${what}, however the stream is cut`, () => {
      const dump = sql + TRAILER;
      expect(count(dump).tables).toEqual(tables);
      const sizes = dump.length < 5000 ? [1, 2, 3, 4, 5, 7, 13, 64] : [97, 4096, 65_536];
      for (const size of sizes) expect(count(dump, size)).toEqual(count(dump));
    });
  }

  it('sees the end mark only outside of data and strings', () => {
    expect(count(TRAILER).complete).toBe(true);
    expect(count(`COPY public.t (a) FROM stdin;\n${TRAILER}`).complete).toBe(false);
    expect(count(`SELECT '${TRAILER}`).complete).toBe(false);
    expect(count('SELECT 1;\n').complete).toBe(false);
  });

  it('does not call a dump complete that goes on inside a statement after the mark', () => {
    expect(count(`${TRAILER}SELECT 'x`).complete).toBe(false);
  });

  it('tells whether psql must know \\restrict', () => {
    expect(count(`\\restrict token\n${TRAILER}`).restricted).toBe(true);
    expect(count(`SELECT '\n\\restrict token\n';\n${TRAILER}`).restricted).toBe(false);
  });

  it('reports comments with their offset in the dump', () => {
    const seen: [string, number][] = [];
    const lexer = new PlainDumpLexer({ comment: (text, offset) => seen.push([text, offset]) });
    lexer.push(Buffer.from('SELECT 1;\n--'));
    lexer.push(Buffer.from(' Name: t; Type: TABLE\nSELECT 2; -- end\n'));
    expect(seen).toEqual([
      ['-- Name: t; Type: TABLE', 10],
      ['-- end', 44],
    ]);
  });
});
