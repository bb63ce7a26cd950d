import type { BackupFacts } from './backup-facts.ts';
import { LifeboatError } from '../errors.ts';

/** What the restored database was found to hold. */
export interface FoundRows {
  /** In the order of the tables asked for; `undefined` where the table does not exist. */
  readonly tables: readonly (FoundTable | undefined)[];
  readonly materializedViews: readonly {
    readonly schema: string;
    readonly name: string;
    readonly populated: boolean;
  }[];
  readonly largeObjects: number;
}

export interface FoundTable {
  readonly rows: number;
  /** It was made by CREATE EXTENSION, which may have filled it too. */
  readonly ofExtension: boolean;
}

export interface RowTotals {
  readonly tables: number;
  readonly rows: number;
}

const DIFFERENCES_SHOWN = 10;
/** Nothing proves such a dump wrong: a rule or a trigger of the user's may well be the reason. */
const WITHOUT_MANIFEST =
  'The restored copy was removed and nothing was replaced. To look at the difference, restore the file with psql or pg_restore into a new database and count there.';

/**
 * @param where the restored database, as it will be called
 * @returns what was compared; `undefined` when the backup's rows are not known
 * @throws LifeboatError ROWS_DIFFER naming tables, expected and found numbers
 */
export function compareRows(backup: BackupFacts, found: FoundRows, where: string): RowTotals | undefined {
  const tables = backup.tables ?? [];
  const differences = [
    ...tables.flatMap((table, index) => tableDifference(table, found.tables[index])),
    ...viewDifferences(backup, found),
  ];
  if (backup.largeObjects !== undefined && backup.largeObjects !== found.largeObjects) {
    differences.push(`large objects: ${backup.largeObjects} in the backup, ${found.largeObjects} restored`);
  }
  if (differences.length > 0) throw differ(differences, where, backup);
  return backup.tables && { tables: tables.length, rows: tables.reduce((sum, { rows }) => sum + rows, 0) };
}

function tableDifference(
  { schema, name, rows }: NonNullable<BackupFacts['tables']>[number],
  found: FoundTable | undefined,
): string[] {
  // The extension itself fills such a table too; the backup holds only what the user added.
  const right = found && (found.ofExtension ? found.rows >= rows : found.rows === rows);
  return right
    ? []
    : [`${schema}.${name}: ${rows} rows in the backup, ${found?.rows ?? 'no such table'} restored`];
}

function viewDifferences(backup: BackupFacts, found: FoundRows): string[] {
  const populated = new Map(
    found.materializedViews.map((view) => [JSON.stringify([view.schema, view.name]), view.populated]),
  );
  return backup.materializedViews.flatMap((view) => {
    const here = populated.get(JSON.stringify([view.schema, view.name]));
    if (here === undefined) return [`materialized view ${view.schema}.${view.name} is missing`];
    return view.populated && !here ? [`materialized view ${view.schema}.${view.name} was not filled`] : [];
  });
}

function differ(differences: readonly string[], where: string, backup: BackupFacts): LifeboatError {
  const shown = differences.slice(0, DIFFERENCES_SHOWN).map((line) => `- ${line}`);
  if (differences.length > DIFFERENCES_SHOWN)
    shown.push(`- and ${differences.length - DIFFERENCES_SHOWN} more`);
  return new LifeboatError(
    'ROWS_DIFFER',
    `What was restored into ${where} is not what the backup holds:\n${shown.join('\n')}`,
    backup.exact && backup.startedAt === undefined ? { hint: WITHOUT_MANIFEST } : {},
  );
}
