import type { DatabaseDescription, DatabaseGrant } from '../backup/manifest.ts';
import { LifeboatError } from '../errors.ts';
import type { SchemaGrant } from './preflight-facts.ts';
import { quoteIdentifier, quoteLiteral } from './sql.ts';

/**
 * What pg_dump without --create leaves out, as statements: the database itself with its encoding and locale, its owner,
 * grants, settings, comment and connection limit. https://www.postgresql.org/docs/current/sql-createdatabase.html
 */

/**
 * @param tablespace `undefined`: the server's default
 * @param serverVersion as in `server_version_num`; the options' names changed in 15, 16 and 17
 */
export function createDatabase(
  name: string,
  source: DatabaseDescription | undefined,
  tablespace: string | undefined,
  serverVersion: number,
): string {
  const options = source ? localeOptions(source, serverVersion) : [];
  if (tablespace !== undefined) options.push(`TABLESPACE ${quoteIdentifier(tablespace)}`);
  return [`CREATE DATABASE ${quoteIdentifier(name)} TEMPLATE template0`, ...options].join(' ');
}

function localeOptions(source: DatabaseDescription, serverVersion: number): string[] {
  const options = [
    `ENCODING ${quoteLiteral(source.encoding)}`,
    `LC_COLLATE ${quoteLiteral(source.collate)}`,
    `LC_CTYPE ${quoteLiteral(source.ctype)}`,
  ];
  // Before 15 every database is libc's.
  if (serverVersion < 150_000) return options;
  options.push(`LOCALE_PROVIDER ${source.localeProvider}`);
  if (source.localeProvider === 'icu') {
    if (source.locale !== null) options.push(`ICU_LOCALE ${quoteLiteral(source.locale)}`);
    if (source.icuRules !== null) options.push(`ICU_RULES ${quoteLiteral(source.icuRules)}`);
  }
  if (source.localeProvider === 'builtin' && source.locale !== null) {
    options.push(`BUILTIN_LOCALE ${quoteLiteral(source.locale)}`);
  }
  return options;
}

export function commentOnDatabase(name: string, comment: string | null): string {
  return `COMMENT ON DATABASE ${quoteIdentifier(name)} IS ${comment === null ? 'NULL' : quoteLiteral(comment)}`;
}

export function renameDatabase(from: string, to: string): string {
  return `ALTER DATABASE ${quoteIdentifier(from)} RENAME TO ${quoteIdentifier(to)}`;
}

export function dropDatabase(name: string): string {
  return `DROP DATABASE ${quoteIdentifier(name)}`;
}

/** Before the load: from PostgreSQL 15 on only the database's owner may create anything in the schema public. */
export function databaseOwner(name: string, { owner }: DatabaseDescription): string {
  return `ALTER DATABASE ${quoteIdentifier(name)} OWNER TO ${quoteIdentifier(owner)}`;
}

/**
 * Grants, settings and connection limit, which could hinder the load; the comment is left to the rename's own transaction, because until then
 * it marks the database as unfinished.
 *
 * @param unknownSettings parameters that this server does not know, left out
 */
export function databaseProperties(
  name: string,
  source: DatabaseDescription,
  unknownSettings: ReadonlySet<string>,
): string[] {
  const database = quoteIdentifier(name);
  const statements: string[] = [];
  if (source.grants) statements.push(...grantStatements(database, source.owner, source.grants));
  for (const { role, values } of source.settings) {
    const subject =
      role === null ? `DATABASE ${database}` : `ROLE ${quoteIdentifier(role)} IN DATABASE ${database}`;
    for (const setting of values.map(splitSetting)) {
      if (unknownSettings.has(setting.name)) continue;
      statements.push(`ALTER ${subject} SET ${quoteIdentifier(setting.name)} TO ${settingValue(setting)}`);
    }
  }
  // -1: no limit; -2: the mark of a database whose DROP was cut short.
  if (source.connectionLimit >= 0) {
    statements.push(`ALTER DATABASE ${database} CONNECTION LIMIT ${source.connectionLimit}`);
  }
  return statements;
}

/** Grants start from nothing: what the defaults give and the source had revoked must not come back. */
function grantStatements(database: string, owner: string, grants: readonly DatabaseGrant[]): string[] {
  const revoke = ['PUBLIC', quoteIdentifier(owner)].map(
    (grantee) => `REVOKE ALL ON DATABASE ${database} FROM ${grantee}`,
  );
  const grant = grants.map(({ grantee, privilege, grantable }) => {
    const to = grantee === null ? 'PUBLIC' : quoteIdentifier(grantee);
    return `GRANT ${requirePrivilege(privilege)} ON DATABASE ${database} TO ${to}${grantable ? ' WITH GRANT OPTION' : ''}`;
  });
  return [...revoke, ...grant];
}

/** To be run in the database itself. */
export function publicSchemaGrants(grants: readonly SchemaGrant[] = []): string[] {
  return grants.map(({ grantee, privilege, grantable }) => {
    const to = grantee === null ? 'PUBLIC' : quoteIdentifier(grantee);
    return `GRANT ${privilege} ON SCHEMA public TO ${to}${grantable ? ' WITH GRANT OPTION' : ''}`;
  });
}

/** A privilege is a keyword and cannot be quoted; what a manifest holds is not trusted to be one. */
function requirePrivilege(privilege: string): string {
  if (/^(?:CREATE|CONNECT|TEMPORARY|TEMP)$/.test(privilege)) return privilege;
  throw new LifeboatError(
    'CORRUPT',
    `The manifest names an unknown database privilege: ${JSON.stringify(privilege)}`,
  );
}

interface Setting {
  readonly name: string;
  readonly value: string;
}

/** As pg_db_role_setting stores it: `name=value`; the value may hold further equals signs. */
export function splitSetting(text: string): Setting {
  const equals = text.indexOf('=');
  return { name: text.slice(0, equals), value: text.slice(equals + 1) };
}

/**
 * These hold lists of names, stored as one text; SET wants every element as a literal of its own, or it becomes one
 * element with commas in it (variable_is_guc_list_quote in PostgreSQL's src/bin/pg_dump/dumputils.c).
 */
const LIST_SETTINGS: ReadonlySet<string> = new Set([
  'local_preload_libraries',
  'search_path',
  'session_preload_libraries',
  'shared_preload_libraries',
  'temp_tablespaces',
  'unix_socket_directories',
]);

function settingValue({ name, value }: Setting): string {
  if (!LIST_SETTINGS.has(name.toLowerCase())) return quoteLiteral(value);
  return splitNameList(value).map(quoteLiteral).join(', ') || "''";
}

/** `"$user", public` → `$user`, `public`. */
function splitNameList(value: string): string[] {
  const names: string[] = [];
  for (const match of value.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^,"]+))\s*(?:,|$)/g)) {
    names.push(match[1] === undefined ? (match[2] as string).trim() : match[1].replaceAll('""', '"'));
  }
  return names;
}
