import type { DatabaseDescription, Manifest } from '../../../lib/domain/backup/manifest.ts';
import type { SourceDescription } from '../ports/backup.ts';
import type { Connection } from './connection.ts';

/** What the manifest says of the database beside its rows, read in the dump's own snapshot. */
export async function describeSource(connection: Connection): Promise<SourceDescription> {
  return {
    database: await describeDatabase(connection),
    extensions: await connection.rows<Manifest['extensions'][number]>(
      `SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema
         FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1`,
    ),
    roles: (await connection.rows<{ name: string }>(ROLES)).map(({ name }) => name),
    collations: await connection.rows<Manifest['collations'][number]>(COLLATIONS),
    materializedViews: await connection.rows<Manifest['materializedViews'][number]>(
      `SELECT n.nspname AS schema, c.relname AS name, c.relispopulated AS populated
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'm' AND n.nspname !~ '^pg_' ORDER BY 1, 2`,
    ),
    largeObjects: await count(connection, 'SELECT count(*) AS n FROM pg_largeobject_metadata'),
    partitions: await connection.rows<{ schema: string; name: string }>(
      `SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relispartition AND c.relkind = 'r'`,
    ),
    extensionTables: await connection.rows<{ schema: string; name: string }>(
      `SELECT n.nspname AS schema, c.relname AS name
         FROM pg_extension e CROSS JOIN unnest(e.extconfig) AS t(oid)
         JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace`,
    ),
    warnings: await describeOmissions(connection),
  };
}

async function count(connection: Connection, sql: string): Promise<number> {
  const [row] = await connection.rows<{ n: string }>(sql);
  return Number(row!.n);
}

/** The bootstrap superuser (oid 10) is pinned and so never in pg_shdepend; it counts when it owns a user's object. */
const ROLES = `
  SELECT r.rolname AS name FROM pg_roles r
   WHERE r.rolname !~ '^pg_' AND (
         r.oid IN (SELECT s.refobjid FROM pg_shdepend s, pg_database d
                    WHERE d.datname = current_database() AND s.refclassid = 'pg_authid'::regclass
                      AND (s.dbid = d.oid OR (s.classid = 'pg_database'::regclass AND s.objid = d.oid)))
      OR r.oid = (SELECT datdba FROM pg_database WHERE datname = current_database())
      OR (r.oid = 10 AND EXISTS (SELECT FROM pg_class c WHERE c.relowner = 10 AND c.oid >= 16384)))
   ORDER BY 1`;

const COLLATIONS = `
  SELECT format('%I.%I', n.nspname, c.collname) AS name, c.collversion AS version
    FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
   WHERE c.collversion IS NOT NULL
     AND c.oid IN (SELECT refobjid FROM pg_depend WHERE refclassid = 'pg_collation'::regclass)
   ORDER BY 1`;

/** As the catalog of the server's version has them; 14 knows no provider, 17 renamed the locale. */
interface DatabaseRow extends Record<string, unknown> {
  row: {
    datname: string;
    datcollate: string;
    datctype: string;
    datconnlimit: number;
    datlocprovider?: string;
    daticulocale?: string | null;
    datlocale?: string | null;
    daticurules?: string | null;
    datcollversion?: string | null;
  };
  owner: string;
  encoding: string;
  tablespace: string;
  comment: string | null;
  bytes: string;
  grants: DatabaseDescription['grants'];
  settings: DatabaseDescription['settings'] | null;
}

const DATABASE = `
  SELECT to_jsonb(d) - 'datacl' AS row, pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
         t.spcname AS tablespace, shobj_description(d.oid, 'pg_database') AS comment,
         CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) ELSE 0 END::text AS bytes,
         CASE WHEN d.datacl IS NOT NULL THEN
           (SELECT coalesce(jsonb_agg(jsonb_build_object('grantee', g.rolname, 'privilege', a.privilege_type,
                                                         'grantable', a.is_grantable)), '[]')
              FROM aclexplode(d.datacl) a LEFT JOIN pg_roles g ON g.oid = a.grantee
             WHERE a.grantee = 0 OR g.oid IS NOT NULL) END AS grants,
         (SELECT jsonb_agg(jsonb_build_object('role', r.rolname, 'values', s.setconfig) ORDER BY s.setrole)
            FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
           WHERE s.setdatabase = d.oid AND (s.setrole = 0 OR r.oid IS NOT NULL)) AS settings
    FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
   WHERE d.datname = coalesce($1, current_database())`;

/** @param name of any database of the server; the connection's own without it */
export async function describeDatabase(connection: Connection, name?: string): Promise<DatabaseDescription> {
  const [found] = await connection.rows<DatabaseRow>(DATABASE, [name ?? null]);
  const { row, owner, encoding, tablespace, comment, bytes, grants, settings } = found!;
  return {
    name: row.datname,
    owner,
    encoding,
    localeProvider: PROVIDERS[row.datlocprovider ?? 'c'] ?? 'libc',
    collate: row.datcollate,
    ctype: row.datctype,
    locale: row.datlocale ?? row.daticulocale ?? null,
    icuRules: row.daticurules ?? null,
    collationVersion: row.datcollversion ?? null,
    tablespace,
    connectionLimit: row.datconnlimit,
    comment,
    grants,
    settings: settings ?? [],
    sizeBytes: Number(bytes),
  };
}

const PROVIDERS: Readonly<Record<string, DatabaseDescription['localeProvider']>> = {
  c: 'libc',
  i: 'icu',
  b: 'builtin',
};

async function describeOmissions(connection: Connection): Promise<string[]> {
  return [...(await describeForeignTables(connection)), ...(await describeUnloggedTables(connection))];
}

/** A standby has none of their rows (https://www.postgresql.org/docs/current/sql-createtable.html#SQL-CREATETABLE-UNLOGGED). */
async function describeUnloggedTables(connection: Connection): Promise<string[]> {
  const unlogged = await connection.rows<{ name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND c.relpersistence = 'u' AND pg_is_in_recovery() ORDER BY 1`,
  );
  if (unlogged.length === 0) return [];
  return [`Unlogged tables are empty in a standby’s dump: ${unlogged.map(({ name }) => name).join(', ')}`];
}

async function describeForeignTables(connection: Connection): Promise<string[]> {
  const foreign = await connection.rows<{ name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'f' ORDER BY 1`,
  );
  if (foreign.length === 0) return [];
  return [
    `Rows of foreign tables stay on their servers and are not in the dump: ${foreign.map(({ name }) => name).join(', ')}`,
  ];
}
