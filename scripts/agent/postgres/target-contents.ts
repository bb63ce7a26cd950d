import type { SchemaGrant } from '../../../lib/domain/restore/preflight-facts.ts';
import type { Connection } from './connection.ts';

/**
 * Everything made after initdb has an oid from here on (FirstNormalObjectId in src/include/access/transam.h); a large
 * object may be given any.
 */
const FIRST_USER_OID = 16_384;

/**
 * Catalogs whose rows a user makes, and what such a row is called; tables first, they matter most. An extension's own
 * objects are not counted, the extension is.
 */
const CATALOGS = [
  { catalog: 'pg_class', noun: 'table', where: "relkind IN ('r', 'p', 'f') AND relpersistence <> 't'" },
  { catalog: 'pg_class', noun: 'view', where: "relkind IN ('v', 'm')" },
  { catalog: 'pg_class', noun: 'sequence', where: "relkind = 'S'" },
  { catalog: 'pg_largeobject_metadata', noun: 'large object', where: 'true' },
  { catalog: 'pg_proc', noun: 'function', where: 'true' },
  // A table and a type of one's own each bring types along; only those that stand for themselves are named.
  {
    catalog: 'pg_type',
    noun: 'type',
    // 'p' is a shell type here: PostgreSQL's own pseudo-types have smaller oids.
    where: "typtype IN ('e', 'd', 'r', 'p') OR (typtype = 'b' AND typelem = 0)",
  },
  { catalog: 'pg_class', noun: 'composite type', where: "relkind = 'c'" },
  { catalog: 'pg_namespace', noun: 'schema', where: "nspname !~ '^pg_(toast_)?temp_'" },
  { catalog: 'pg_extension', noun: 'extension', where: 'true' },
  { catalog: 'pg_foreign_server', noun: 'foreign server', where: 'true' },
  { catalog: 'pg_event_trigger', noun: 'event trigger', where: 'true' },
  { catalog: 'pg_publication', noun: 'publication', where: 'true' },
  { catalog: 'pg_operator', noun: 'operator', where: 'true' },
  { catalog: 'pg_cast', noun: 'cast', where: 'true' },
  { catalog: 'pg_ts_config', noun: 'text search configuration', where: 'true' },
  { catalog: 'pg_ts_dict', noun: 'text search dictionary', where: 'true' },
  { catalog: 'pg_ts_parser', noun: 'text search parser', where: 'true' },
  { catalog: 'pg_ts_template', noun: 'text search template', where: 'true' },
  { catalog: 'pg_collation', noun: 'collation', where: 'true' },
  { catalog: 'pg_default_acl', noun: 'default privilege', where: 'true' },
  { catalog: 'pg_foreign_data_wrapper', noun: 'foreign-data wrapper', where: 'true' },
  { catalog: 'pg_language', noun: 'language', where: 'true' },
  { catalog: 'pg_conversion', noun: 'conversion', where: 'true' },
  { catalog: 'pg_opclass', noun: 'operator class', where: 'true' },
  { catalog: 'pg_opfamily', noun: 'operator family', where: 'true' },
  { catalog: 'pg_am', noun: 'access method', where: 'true' },
  { catalog: 'pg_transform', noun: 'transform', where: 'true' },
] as const;

/** What a user keeps in the connection's database, such as `3 tables, 1 function`; `undefined` when nothing. */
export async function readContents(connection: Connection): Promise<string | undefined> {
  const counts = CATALOGS.map(
    ({ catalog, noun, where }) =>
      `SELECT '${noun}' AS noun, count(*)::int AS number FROM ${catalog} c
        WHERE (${where}) AND (oid >= ${FIRST_USER_OID} OR '${catalog}' = 'pg_largeobject_metadata')
          AND NOT EXISTS (SELECT FROM pg_depend
                           WHERE classid = '${catalog}'::regclass AND objid = c.oid AND deptype = 'e')`,
  );
  const rows = await connection.rows<{ noun: string; number: number }>(counts.join(' UNION ALL '));
  const held = rows.filter(({ number }) => number > 0);
  return held.length === 0
    ? undefined
    : held.map(({ noun, number }) => `${number} ${number === 1 ? noun : plural(noun)}`).join(', ');
}

function plural(noun: string): string {
  if (noun.endsWith('s')) return `${noun}es`;
  return noun.endsWith('y') ? `${noun.slice(0, -1)}ies` : `${noun}s`;
}

/** Whatever was granted on the schema public of the connection's database since initdb made it. */
export async function readPublicGrants(connection: Connection): Promise<SchemaGrant[]> {
  return await connection.rows<SchemaGrant & Record<string, unknown>>(
    `WITH schema AS (SELECT oid, nspacl FROM pg_namespace WHERE nspname = 'public')
     SELECT CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee)::text END AS grantee,
            privilege_type AS privilege, is_grantable AS grantable
       FROM (SELECT grantee, privilege_type, is_grantable FROM schema, aclexplode(nspacl)
             EXCEPT
             SELECT grantee, privilege_type, is_grantable FROM schema
               JOIN pg_init_privs i ON i.objoid = schema.oid AND i.classoid = 'pg_namespace'::regclass,
                    aclexplode(i.initprivs)) AS added
      ORDER BY 1, 2`,
  );
}
