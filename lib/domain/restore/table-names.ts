import { LifeboatError } from '../errors.ts';

/** A table as the user names it: `users`, `billing.invoices`, `"Order Items"`. */
export interface WantedTable {
  /** `undefined`: whichever schema has it. */
  readonly schema: string | undefined;
  readonly name: string;
  /** As typed. */
  readonly text: string;
}

export interface QualifiedName {
  readonly schema: string;
  readonly name: string;
}

/** An identifier as pg_dump writes it, and two of them with a dot between. */
export const NAME_PATTERN = String.raw`(?:"(?:[^"]|"")+"|[^\s".,;:()']+)`;
export const QUALIFIED_PATTERN = String.raw`(${NAME_PATTERN})\.(${NAME_PATTERN})`;

/**
 * A comma-separated list, quoted as in SQL.
 *
 * @throws LifeboatError USAGE
 */
export function parseTableList(list: string): WantedTable[] {
  const item = new RegExp(String.raw`\s*(?:(${NAME_PATTERN})\.)?(${NAME_PATTERN})\s*(?:,|$)`, 'y');
  const tables: WantedTable[] = [];
  while (item.lastIndex < list.length) {
    const match = item.exec(list);
    if (!match) throw notUnderstood(list);
    const schema = match[1] === undefined ? undefined : unquoteIdentifier(match[1]);
    tables.push({ schema, name: unquoteIdentifier(match[2]!), text: match[0].replace(/,$/, '').trim() });
  }
  if (tables.length === 0) throw notUnderstood(list);
  return tables;
}

function notUnderstood(list: string): LifeboatError {
  return new LifeboatError('USAGE', `--table ${JSON.stringify(list)} is no list of tables`, {
    hint: `Name them as in: --table users,billing.invoices,'"Order Items"'`,
  });
}

/** @param text one name, quoted or not */
export function unquoteIdentifier(text: string): string {
  return text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text;
}

/** Unquoted names may have been typed in any case, as in SQL. */
export function isWanted(wanted: WantedTable, { schema, name }: QualifiedName): boolean {
  const same = (typed: string, found: string): boolean => typed === found || typed.toLowerCase() === found;
  return same(wanted.name, name) && (wanted.schema === undefined || same(wanted.schema, schema));
}

/** To be looked up by; no two names have the same. */
export function keyOfName({ schema, name }: QualifiedName): string {
  return JSON.stringify([schema, name]);
}
