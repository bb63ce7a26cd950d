import type { FoundRows } from '../../../lib/domain/restore/row-counts.ts';
import { quoteQualified } from '../../../lib/domain/restore/sql.ts';
import type { CountRequest } from '../ports/restore.ts';
import type { Connection } from './connection.ts';

/** More would only wait for the same disk; fewer leave a core idle. */
const CONNECTIONS = 2;

/** Counts every table exactly, the largest first, so that no connection is left with a large one at the end. */
export async function countRestoredRows(
  open: () => Promise<Connection>,
  request: CountRequest,
): Promise<FoundRows> {
  const { tables, interrupted } = request;
  const connections = await openAll(open);
  const stop = (): void => {
    for (const connection of connections) void connection.close();
  };
  interrupted.addEventListener('abort', stop);
  try {
    const [first] = connections as [Connection];
    const queue = await sortBySize(first, tables);
    const counts = tables.map((): number | undefined => undefined);
    await Promise.all(connections.map((connection) => countQueued(connection, queue, counts)));
    return { tables: counts, ...(await readOthers(first)) };
  } catch (error) {
    interrupted.throwIfAborted();
    throw error;
  } finally {
    interrupted.removeEventListener('abort', stop);
    await Promise.all(connections.map((connection) => connection.close()));
  }
}

async function openAll(open: () => Promise<Connection>): Promise<Connection[]> {
  const opened: Connection[] = [];
  try {
    for (let count = 0; count < CONNECTIONS; count += 1) opened.push(await open());
    // Rows that a policy hides would be missing from the count; this makes such a count an error instead.
    for (const connection of opened) await connection.rows('SET row_security = off');
    return opened;
  } catch (error) {
    await Promise.all(opened.map((connection) => connection.close()));
    throw error;
  }
}

interface QueuedTable {
  readonly index: number;
  readonly relation: string;
}

/** Tables that do not exist are left out. */
async function sortBySize(connection: Connection, tables: CountRequest['tables']): Promise<QueuedTable[]> {
  const rows = await connection.rows<{ schema: string; name: string; size: string }>(
    `SELECT nspname::text AS schema, relname::text AS name, pg_relation_size(c.oid)::text AS size
       FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'f')`,
  );
  const sizes = new Map(rows.map(({ schema, name, size }) => [JSON.stringify([schema, name]), Number(size)]));
  return tables
    .flatMap(({ schema, name }, index) => {
      const size = sizes.get(JSON.stringify([schema, name]));
      return size === undefined ? [] : [{ index, relation: quoteQualified(schema, name), size }];
    })
    .sort((a, b) => b.size - a.size);
}

/** Without ONLY a parent would count its children's rows too, which are dumped and counted with the children. */
async function countQueued(
  connection: Connection,
  queue: QueuedTable[],
  counts: (number | undefined)[],
): Promise<void> {
  for (let table = queue.shift(); table; table = queue.shift()) {
    const [row] = await connection.rows<{ rows: string }>(
      `SELECT count(*)::text AS rows FROM ONLY ${table.relation}`,
    );
    counts[table.index] = Number(row?.rows);
  }
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
