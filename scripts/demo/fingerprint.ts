import type { PostgresServer } from '../set-up/postgres-server.ts';

/** What a database holds, in a form that two databases can be compared by. */
export interface Fingerprint {
  /** By qualified name: tables, partitions and materialized views. */
  readonly tables: ReadonlyMap<string, TableFingerprint>;
  /** Everything else, by what it is: definitions, rights, sequences, large objects, the database's own properties. */
  readonly rest: ReadonlyMap<string, string>;
}

interface TableFingerprint {
  readonly rows: number;
  /** The sum of every row's 64-bit hash: the same whatever the order of the rows. */
  readonly checksum: string;
}

const USER_SCHEMAS = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`;

const TABLES = `
SELECT coalesce(json_agg(format('%I.%I', n.nspname, c.relname) ORDER BY n.nspname, c.relname), '[]')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND ${USER_SCHEMAS}`;

const sorted = (expression: string, from: string): string =>
  `(SELECT count(*) || ' ' || md5(coalesce(string_agg(x, ';' ORDER BY x COLLATE "C"), '')) FROM (SELECT ${expression} AS x FROM ${from}) AS s)`;

/** Each as a number of things and a hash of them all. */
const REST: Readonly<Record<string, string>> = {
  columns: sorted(
    `format('%s.%I %s %s %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))`,
    `pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attnum > 0 AND NOT a.attisdropped AND ${USER_SCHEMAS}`,
  ),
  indexes: sorted('indexdef', `pg_indexes WHERE schemaname !~ '^pg_'`),
  constraints: sorted(
    `format('%s %I %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid))`,
    `pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE ${USER_SCHEMAS}`,
  ),
  'functions, triggers and policies': sorted(
    'x',
    `(SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE ${USER_SCHEMAS} AND p.prokind <> 'a'
      UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
      UNION ALL SELECT format('%s %s %s', tablename, policyname, qual) FROM pg_policies) AS all_code(x)`,
  ),
  views: sorted('definition', `pg_views WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'`),
  extensions: sorted('extname', 'pg_extension'),
  comments: sorted('description', 'pg_description WHERE objoid >= 16384'),
  'owners and rights': sorted(
    'x',
    `(SELECT format('%s %s %s', c.oid::regclass, c.relowner::regrole, acl) FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN unnest(c.relacl) AS acl ON true WHERE ${USER_SCHEMAS}
      UNION ALL SELECT format('%s %s %s', nspname, nspowner::regrole, acl) FROM pg_namespace n
        LEFT JOIN unnest(nspacl) AS acl ON true WHERE ${USER_SCHEMAS}
      UNION ALL SELECT format('%s %s', attname, attacl) FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid >= 16384
      UNION ALL SELECT defaclacl::text FROM pg_default_acl) AS all_rights(x)`,
  ),
  sequences: sorted(
    `format('%I.%I %s %s', schemaname, sequencename, last_value, increment_by)`,
    'pg_sequences',
  ),
  'large objects': sorted(
    `format('%s %s %s', oid, lomowner::regrole, md5(lo_get(oid)))`,
    'pg_largeobject_metadata',
  ),
  'the database’s owner, rights, settings and comment': sorted(
    'x',
    `(SELECT format('%s %s', d.datdba::regrole, acl) FROM pg_database d LEFT JOIN unnest(d.datacl) AS acl ON true
        WHERE d.datname = current_database()
      UNION ALL SELECT format('%s %s', nullif(s.setrole, 0)::regrole, line) FROM pg_db_role_setting s
        JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS line WHERE d.datname = current_database()
      UNION ALL SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()
     ) AS around(x)`,
  ),
};

/** Reads every row of every table. */
export async function takeFingerprint(server: PostgresServer, database: string): Promise<Fingerprint> {
  // Alone on the search path, so that every name is printed in full whatever the database's own setting says.
  const ask = (sql: string): Promise<string> =>
    server.psql(database, `SET search_path = pg_catalog;\n${sql};`);
  const names = JSON.parse(await ask(TABLES)) as string[];
  const counts = names.map((name) => {
    const literal = `'${name.replaceAll("'", "''")}'`;
    return `SELECT ${literal} AS name, count(*) AS n, coalesce(sum(hashtextextended(a_row::text, 0)), 0)::text AS h FROM ${name} AS a_row`;
  });
  const rows = JSON.parse(
    await ask(`SELECT json_agg(json_build_array(name, n, h)) FROM (${counts.join('\nUNION ALL ')}) AS t`),
  ) as [string, number, string][];
  const facts = Object.entries(REST).map(([name, sql]) => `'${name}', ${sql}`);
  const rest = JSON.parse(await ask(`SELECT json_build_object(${facts.join(',\n')})`)) as Record<
    string,
    string
  >;
  return {
    tables: new Map(rows.map(([name, count, checksum]) => [name, { rows: count, checksum }])),
    rest: new Map(Object.entries(rest)),
  };
}

/** What differs, each in a few words; none when both are the same. */
export function differences(before: Fingerprint, after: Fingerprint): string[] {
  const found: string[] = [];
  for (const [name, { rows, checksum }] of before.tables) {
    const now = after.tables.get(name);
    if (!now) found.push(`${name}: gone (${rows} rows)`);
    else if (now.rows !== rows) found.push(`${name}: ${now.rows} rows instead of ${rows}`);
    else if (now.checksum !== checksum) found.push(`${name}: ${rows} rows, but other contents`);
  }
  for (const name of after.tables.keys()) {
    if (!before.tables.has(name)) found.push(`${name}: was not there before`);
  }
  for (const [name, value] of before.rest) {
    if (after.rest.get(name) !== value) found.push(`${name}: not the same`);
  }
  return found;
}

export function totalRows({ tables }: Fingerprint): number {
  return [...tables.values()].reduce((sum, { rows }) => sum + rows, 0);
}
