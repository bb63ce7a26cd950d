import type {
  AvailableExtension,
  RestoreNeeds,
  ServerFacts,
  TargetFacts,
} from '../../../lib/domain/restore/preflight-facts.ts';
import type { Connection } from './connection.ts';
import { describeDatabase } from './source-description.ts';

/** What a restore asks of the server before it touches anything; asked in a maintenance database. */

export async function readServerFacts(connection: Connection, needs: RestoreNeeds): Promise<ServerFacts> {
  const server = await readServer(connection);
  return {
    ...server,
    databases: await names(connection, 'SELECT datname AS name FROM pg_database'),
    roles: await names(connection, 'SELECT rolname AS name FROM pg_roles'),
    memberOf: await readMemberships(connection, server.versionNumber),
    tablespaces: await names(connection, 'SELECT spcname AS name FROM pg_tablespace'),
    extensions: await readExtensions(connection, needs.extensions, server.superuser),
    unknownSettings: await names(
      connection,
      // A name with a dot is anybody's; PostgreSQL takes every value for it.
      `SELECT DISTINCT name FROM unnest($1::text[]) AS name
        WHERE strpos(name, '.') = 0 AND current_setting(name, true) IS NULL`,
      [needs.settings],
    ),
    changedCollations: [
      ...(await readChangedCollations(connection, needs.collations)),
      ...(await readChangedLocale(connection, needs.locale)),
    ],
  };
}

type Server = Pick<
  ServerFacts,
  'version' | 'versionNumber' | 'user' | 'superuser' | 'mayCreateDatabases' | 'standby'
>;

async function readServer(connection: Connection): Promise<Server> {
  const [row] = await connection.rows<Server>(
    `SELECT current_setting('server_version') AS "version",
            current_setting('server_version_num')::int AS "versionNumber",
            current_user::text AS "user", rolsuper AS "superuser", rolcreatedb AS "mayCreateDatabases",
            pg_is_in_recovery() AS "standby"
       FROM pg_roles WHERE rolname = current_user`,
  );
  return row as Server;
}

/**
 * From 16 on membership alone does not let a role hand objects over: the SET option does. And what is handed over must
 * still be altered, or dropped, afterwards, which takes membership that is inherited.
 */
async function readMemberships(connection: Connection, versionNumber: number): Promise<string[]> {
  const privilege = versionNumber >= 160_000 ? 'SET' : 'MEMBER';
  return await names(
    connection,
    `SELECT rolname AS name FROM pg_roles WHERE pg_has_role(current_user, oid, '${privilege}')
        AND pg_has_role(current_user, oid, 'USAGE')`,
  );
}

async function readExtensions(
  connection: Connection,
  wanted: readonly string[],
  superuser: boolean,
): Promise<AvailableExtension[]> {
  return await connection.rows<AvailableExtension & Record<string, unknown>>(
    `SELECT e.name::text AS name, e.default_version AS version,
            ($2 OR v.trusted OR NOT v.superuser) AS permitted
       FROM pg_available_extensions e
       JOIN pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version
      WHERE e.name = ANY ($1::text[])`,
    [wanted, superuser],
  );
}

async function readChangedCollations(
  connection: Connection,
  collations: RestoreNeeds['collations'],
): Promise<ServerFacts['changedCollations']> {
  return await connection.rows<{ name: string; recorded: string; here: string }>(
    `SELECT DISTINCT wanted.name, wanted.version AS recorded, pg_collation_actual_version(c.oid) AS here
       FROM unnest($1::text[], $2::text[]) AS wanted (name, version)
       JOIN pg_collation c ON format('%I.%I', c.collnamespace::regnamespace, c.collname) = wanted.name
      WHERE pg_collation_actual_version(c.oid) <> wanted.version`,
    [collations.map(({ name }) => name), collations.map(({ version }) => version)],
  );
}

/** Locale names are compared as libc does: `en_US.UTF-8` is `en_US.utf8`. */
async function readChangedLocale(
  connection: Connection,
  locale: RestoreNeeds['locale'],
): Promise<ServerFacts['changedCollations']> {
  if (!locale) return [];
  const provider = { libc: 'c', icu: 'i', builtin: 'b' }[locale.provider] ?? '';
  const rows = await connection.rows<{ here: string | null }>(
    `SELECT pg_collation_actual_version(oid) AS here FROM pg_collation, to_jsonb(pg_collation) AS fields
      WHERE collprovider = $1::text
        AND lower(replace($2, '-', '')) = lower(replace(coalesce(
              fields ->> 'colllocale', fields ->> 'colliculocale', fields ->> 'collcollate'), '-', ''))
      LIMIT 1`,
    [provider, locale.name],
  );
  const here = rows[0]?.here;
  return here && here !== locale.version
    ? [{ name: `${locale.name} (the database’s own)`, recorded: locale.version, here }]
    : [];
}

export type TargetState = Omit<TargetFacts, 'contents'> & { readonly takesConnections: boolean };

/** `undefined` when there is no database of that name. */
export async function readTargetState(
  connection: Connection,
  name: string,
): Promise<TargetState | undefined> {
  const [row] = await connection.rows<TargetState & { oid: string } & Record<string, unknown>>(
    `SELECT d.oid::text AS oid, pg_get_userbyid(datdba)::text AS owner, datallowconn AS "takesConnections",
            (rolsuper OR (rolcreatedb AND pg_has_role(current_user, datdba, 'USAGE'))) AS "mayRename",
            (SELECT count(*)::int FROM pg_stat_activity WHERE datid = d.oid) AS sessions,
            ARRAY(SELECT gid FROM pg_prepared_xacts WHERE database = d.datname) AS "preparedTransactions",
            ARRAY(SELECT subname::text FROM pg_subscription WHERE subdbid = d.oid) AS subscriptions
       FROM pg_database d, pg_roles r
      WHERE datname = $1 AND r.rolname = current_user`,
    [name],
  );
  if (!row) return undefined;
  const { oid: _, ...state } = row;
  const slots = await connection.rows<{ name: string; active: boolean }>(
    'SELECT slot_name::text AS name, active FROM pg_replication_slots WHERE database = $1 ORDER BY 1',
    [name],
  );
  return { ...state, slots, database: await describeDatabase(connection, name) };
}

async function names(
  connection: Connection,
  sql: string,
  values: readonly unknown[] = [],
): Promise<string[]> {
  const rows = await connection.rows<{ name: string }>(sql.replace('AS name', 'AS "name"'), values);
  return rows.map((row) => row.name);
}
