/** The table of a `COPY schema.table (columns) FROM stdin` as pg_dump writes it; `undefined` when it is none. */
export function parseCopyTable(statement: string): { schema: string; name: string } | undefined {
  const match = /^COPY ("(?:[^"]|"")*"|[^\s".(]+)\.("(?:[^"]|"")*"|[^\s".(]+)(?: |\()/.exec(statement);
  if (!match) return undefined;
  return { schema: unquote(match[1]!), name: unquote(match[2]!) };
}

function unquote(identifier: string): string {
  return identifier.startsWith('"') ? identifier.slice(1, -1).replaceAll('""', '"') : identifier;
}
