import { LifeboatError } from '../errors.ts';
import type { CountedTable } from '../backup/manifest.ts';
import { cutToBytes, quoteIdentifier, quoteLiteral, quoteQualified } from './sql.ts';
import { keyOfName, type QualifiedName } from './table-names.ts';
import type { TableSelection } from './table-selection.ts';

/** A table of the target, as it is before the restore. */
export interface PresentTable extends QualifiedName {
  /** The partitioned table that it belongs to. */
  readonly parent: QualifiedName | undefined;
  /** Tables whose foreign keys refer to it. */
  readonly referredBy: readonly QualifiedName[];
}

/** What `restore --table` is going to do in the target, in one transaction. */
export interface TablePlan {
  readonly tables: readonly QualifiedName[];
  /** Tables that stand in the way and are moved aside, with where to. */
  readonly moved: readonly (QualifiedName & { readonly to: string })[];
  /** Before the dump's own statements. */
  readonly before: readonly string[];
  /** After them: the rows are counted within the transaction, so that wrong ones are never seen. */
  readonly after: readonly string[];
  readonly warnings: readonly string[];
}

export interface TablePlanInput {
  readonly target: string;
  readonly selection: TableSelection;
  readonly present: readonly PresentTable[];
  readonly counted: readonly CountedTable[] | undefined;
  readonly replace: boolean;
  readonly now: Date;
}

/** @throws LifeboatError TARGET_NOT_EMPTY when a table is there already and is not to be replaced */
export function planTables({ target, selection, present, counted, replace, now }: TablePlanInput): TablePlan {
  const inTheWay = findInTheWay(selection.tables, present);
  if (inTheWay.length > 0 && !replace) {
    const names = inTheWay.map(({ schema, name }) => `${schema}.${name}`).join(', ');
    throw new LifeboatError(
      'TARGET_NOT_EMPTY',
      `${JSON.stringify(target)} has these tables already: ${names}`,
      {
        hint: 'Add --replace: what is there is then moved to a schema before_<time>, not destroyed. Or restore to another database with --to-database NAME.',
      },
    );
  }
  const time = now.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '');
  const moved = inTheWay.map(({ schema, name }) => ({ schema, name, to: asideSchema(schema, time) }));
  const schemas = new Set(selection.tables.map(({ schema }) => schema));
  return {
    tables: selection.tables,
    moved,
    before: [
      ...[...new Set(moved.map(({ to }) => to))].map((schema) => `CREATE SCHEMA ${quoteIdentifier(schema)}`),
      ...moved.map(
        ({ schema, name, to }) =>
          `ALTER TABLE ${quoteQualified(schema, name)} SET SCHEMA ${quoteIdentifier(to)}`,
      ),
      ...[...schemas].map((schema) => `CREATE SCHEMA IF NOT EXISTS ${quoteIdentifier(schema)}`),
    ],
    after: countChecks(selection.tables, counted ?? []),
    warnings: [...keyWarnings(selection), ...movedWarnings(inTheWay)],
  };
}

/** The selected tables that are there, and the partitions that go with them. */
function findInTheWay(tables: readonly QualifiedName[], present: readonly PresentTable[]): PresentTable[] {
  const keys = new Set(tables.map(keyOfName));
  for (let before = -1; before < keys.size;) {
    before = keys.size;
    for (const table of present)
      if (table.parent && keys.has(keyOfName(table.parent))) keys.add(keyOfName(table));
  }
  return present.filter((table) => keys.has(keyOfName(table)));
}

/** Tables of one name from several schemas must not meet. */
function asideSchema(schema: string, time: string): string {
  return cutToBytes(schema === 'public' ? `before_${time}` : `before_${time}_${schema}`, 63);
}

function countChecks(tables: readonly QualifiedName[], counted: readonly CountedTable[]): string[] {
  const rows = new Map(counted.map((table) => [keyOfName(table), table.rows]));
  return tables.flatMap((table) => {
    const expected = rows.get(keyOfName(table));
    if (expected === undefined) return [];
    const relation = quoteQualified(table.schema, table.name);
    const message = `format('%s: %s rows in the backup, %s restored', ${quoteLiteral(`${table.schema}.${table.name}`)}, ${expected}, found)`;
    const body = [
      `DECLARE found bigint; BEGIN SELECT count(*) INTO found FROM ONLY ${relation};`,
      `IF found <> ${expected} THEN RAISE EXCEPTION USING MESSAGE = ${message}; END IF; END`,
    ].join(' ');
    return [`DO ${quoteLiteral(body)}`];
  });
}

function keyWarnings({ leftOutKeys }: TableSelection): string[] {
  if (leftOutKeys.length === 0) return [];
  return [`Foreign keys to tables that are not there were left out: ${leftOutKeys.join(', ')}.`];
}

function movedWarnings(moved: readonly PresentTable[]): string[] {
  if (moved.length === 0) return [];
  const keys = new Set(moved.map(keyOfName));
  const referring = moved
    .flatMap(({ referredBy }) => referredBy)
    .filter((table) => !keys.has(keyOfName(table)));
  const names = [...new Set(referring.map(({ schema, name }) => `${schema}.${name}`))];
  return [
    'Views and functions that used the old tables by their identity still do: make them anew where they must use the restored ones.',
    ...(names.length > 0
      ? [`Foreign keys of these tables still refer to the old ones: ${names.join(', ')}.`]
      : []),
  ];
}
