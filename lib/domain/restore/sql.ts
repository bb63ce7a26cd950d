/** Quoting for statements whose names cannot be parameters (CREATE DATABASE, ALTER ROLE, …). */

/** Always quoted, so that no name is ever a keyword, folded, or more than a name. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Right whatever standard_conforming_strings is: a backslash makes it an E'' string. */
export function quoteLiteral(text: string): string {
  const escaped = text.replaceAll("'", "''").replaceAll('\\', '\\\\');
  return text.includes('\\') ? `E'${escaped}'` : `'${escaped}'`;
}

export function quoteQualified(schema: string, name: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
}

/** `name` cut to `limit` bytes of UTF-8 without cutting a character in two. */
export function cutToBytes(name: string, limit: number): string {
  let bytes = 0;
  let cut = '';
  for (const character of name) {
    bytes += byteLength(character);
    if (bytes > limit) return cut;
    cut += character;
  }
  return cut;
}

/** In UTF-8, as PostgreSQL counts the length of names. */
export function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}
