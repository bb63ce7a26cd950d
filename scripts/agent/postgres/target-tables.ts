import type { PresentTable } from '../../../lib/domain/restore/table-plan.ts';
import type { Connection } from './connection.ts';

interface Row extends Record<string, unknown> {
  readonly schema: string;
  readonly name: string;
  readonly parent: { readonly schema: string; readonly name: string } | null;
  readonly referredBy: { readonly schema: string; readonly name: string }[] | null;
}

/** The connection's tables, with the partitioned tables they belong to and the tables that refer to them. */
export async function readPresentTables(connection: Connection): Promise<PresentTable[]> {
  const rows = await connection.rows<Row>(`
    WITH named AS (
      SELECT c.oid, c.relispartition, nspname AS schema, relname AS name,
             jsonb_build_object('schema', nspname, 'name', relname) AS both
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
       WHERE relkind IN ('r', 'p', 'f') AND nspname !~ '^pg_' AND nspname <> 'information_schema')
    SELECT t.schema::text AS schema, t.name::text AS name, parent.both AS parent,
           (SELECT jsonb_agg(other.both) FROM pg_constraint k JOIN named other ON other.oid = k.conrelid
             WHERE k.confrelid = t.oid AND k.contype = 'f') AS "referredBy"
      FROM named t
      LEFT JOIN pg_inherits i ON i.inhrelid = t.oid AND t.relispartition
      LEFT JOIN named parent ON parent.oid = i.inhparent
     ORDER BY 1, 2`);
  return rows.map(({ schema, name, parent, referredBy }) => ({
    schema,
    name,
    parent: parent ?? undefined,
    referredBy: referredBy ?? [],
  }));
}
