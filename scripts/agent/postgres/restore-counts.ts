import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { FoundRows, FoundTable } from '../../../lib/domain/restore/row-counts.ts';
import { quoteQualified } from '../../../lib/domain/restore/sql.ts';
import type { CountRequest } from '../ports/target-server.ts';
import type { Connection } from './connection.ts';

/** More would only wait for the same disk; fewer leave a core idle. */
const CONNECTIONS = 2;

/**
 * Counts every table exactly, the largest first, so that no connection is left with a large one at the end. What goes on
 * meanwhile may wait for a count's lock, but never a count for that of another table while it holds one: those of
 * partitioned tables, which lock several, come when nothing goes on any more.
 */
export async function countRestoredRows(
  open: () => Promise<Connection>,
  request: CountRequest,
): Promise<FoundRows> {
  const { tables, loaded } = request;
  const counts = tables.map((): FoundTable | undefined => undefined);
  let late: QueuedTable[] = [];
  await withConnections(open, CONNECTIONS, request, async (connections) => {
    const queue = await sortBySize(connections[0]!, tables);
    late = queue.filter(({ partitioned }) => partitioned);
    const early = queue.filter(({ partitioned }) => !partitioned);
    await Promise.all(connections.map((connection) => countQueued(connection, early, counts)));
  });
  await loaded;
  // Another connection: the wait may have been longer than a firewall keeps an idle one.
  return await withConnections(open, 1, request, async (connections) => {
    const [connection] = connections as [Connection];
    await countQueued(connection, late, counts);
    return { tables: counts, ...(await readOthers(connection)) };
  });
}

async function withConnections<Result>(
  open: () => Promise<Connection>,
  number: number,
  { interrupted, loaded }: CountRequest,
  work: (connections: readonly Connection[]) => Promise<Result>,
): Promise<Result> {
  const connections = await openAll(open, number);
  const stop = (): void => {
    for (const connection of connections) void connection.close();
  };
  interrupted.addEventListener('abort', stop);
  loaded.catch(stop);
  try {
    return await work(connections);
  } catch (error) {
    interrupted.throwIfAborted();
    throw error;
  } finally {
    interrupted.removeEventListener('abort', stop);
    await Promise.all(connections.map((connection) => connection.close()));
  }
}

async function openAll(open: () => Promise<Connection>, number: number): Promise<Connection[]> {
  const opened: Connection[] = [];
  try {
    while (opened.length < number) opened.push(await open());
    // Rows that a policy hides would be missing from the count; this makes such a count an error instead.
    for (const connection of opened) await connection.rows('SET row_security = off; SET jit = off');
    return opened;
  } catch (error) {
    await Promise.all(opened.map((connection) => connection.close()));
    throw error;
  }
}

interface QueuedTable {
  readonly index: number;
  /** A SELECT of one number, `rows`. */
  readonly count: string;
  readonly ofExtension: boolean;
  readonly partitioned: boolean;
}

/** Tables that do not exist are left out. */
async function sortBySize(connection: Connection, tables: CountRequest['tables']): Promise<QueuedTable[]> {
  const rows = await connection.rows<Relation & Record<string, unknown>>(
    `SELECT c.oid::text AS oid, nspname::text AS schema, relname::text AS name,
            relkind = 'p' AS partitioned, pg_relation_size(c.oid)::text AS size,
            EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND objsubid = 0
                       AND refclassid = 'pg_extension'::regclass AND deptype = 'e') AS "ofExtension"
       FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'f')`,
  );
  const relations = new Map(rows.map((relation) => [keyOf(relation), relation]));
  const counted = tables.flatMap((table) => relations.get(keyOf(table))?.oid ?? []);
  return tables
    .flatMap((table, index) => {
      const relation = relations.get(keyOf(table));
      if (!relation) return [];
      const { ofExtension, partitioned, size } = relation;
      const count = countStatement(relation, counted);
      return [{ index, count, ofExtension, partitioned, size: Number(size) }];
    })
    .sort((a, b) => b.size - a.size);
}

interface Relation {
  readonly oid: string;
  readonly schema: string;
  readonly name: string;
  readonly partitioned: boolean;
  /** Bytes. */
  readonly size: string;
  readonly ofExtension: boolean;
}

function keyOf({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return JSON.stringify([schema, name]);
}

/**
 * Without ONLY a parent would count its children's rows too, which are dumped and counted with the children. A partitioned
 * table holds no rows itself; one that the dump has data of was loaded through (`--load-via-partition-root`, and hash
 * partitions by enum from pg_dump 16 on), so its rows are those of the partitions that are not counted themselves.
 *
 * @param counted oids of all tables that are counted
 */
function countStatement({ schema, name, partitioned }: Relation, counted: readonly string[]): string {
  const relation = quoteQualified(schema, name);
  return partitioned
    ? `SELECT count(*)::text AS rows FROM ${relation} WHERE tableoid <> ALL ('{${counted.join(',')}}'::oid[])`
    : `SELECT count(*)::text AS rows FROM ONLY ${relation}`;
}

async function countQueued(
  connection: Connection,
  queue: QueuedTable[],
  counts: (FoundTable | undefined)[],
): Promise<void> {
  for (let table = queue.shift(); table; table = queue.shift()) {
    const [row] = await connection.rows<{ rows: string }>(table.count).catch(explainHiddenRows);
    counts[table.index] = { rows: Number(row?.rows), ofExtension: table.ofExtension };
  }
}

/** FORCE ROW LEVEL SECURITY hides rows from the table's owner too. */
function explainHiddenRows(error: unknown): never {
  const { message } = error as LifeboatError;
  if (!/row-level security/.test(message)) throw error;
  throw new LifeboatError('DB_RIGHTS', `The restored rows cannot all be counted: ${message}`, {
    hint: 'Nothing was changed. Restore as a superuser, or let DB_USER see all rows: ALTER ROLE … BYPASSRLS.',
    cause: error,
  });
}

async function readOthers(connection: Connection): Promise<Omit<FoundRows, 'tables'>> {
  const materializedViews = await connection.rows<
    FoundRows['materializedViews'][number] & Record<string, unknown>
  >(
    'SELECT schemaname::text AS schema, matviewname::text AS name, ispopulated AS populated FROM pg_matviews',
  );
  const [objects] = await connection.rows<{ number: string }>(
    'SELECT count(*)::text AS number FROM pg_largeobject_metadata',
  );
  return { materializedViews, largeObjects: Number(objects?.number) };
}
