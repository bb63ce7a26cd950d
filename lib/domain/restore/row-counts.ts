import type { BackupFacts } from './backup-facts.ts';
import { LifeboatError } from '../errors.ts';

/** What the restored database was found to hold. */
export interface FoundRows {
  /** In the order of the tables asked for; `undefined` where the table does not exist. */
  readonly tables: readonly (number | undefined)[];
  readonly materializedViews: readonly {
    readonly schema: string;
    readonly name: string;
    readonly populated: boolean;
  }[];
  readonly largeObjects: number;
}

export interface RowTotals {
  readonly tables: number;
  readonly rows: number;
}

const DIFFERENCES_SHOWN = 10;

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
  if (differences.length > 0) throw differ(differences, where);
  return backup.tables && { tables: tables.length, rows: tables.reduce((sum, { rows }) => sum + rows, 0) };
}

function tableDifference(
  { schema, name, rows, kind }: NonNullable<BackupFacts['tables']>[number],
  found: number | undefined,
): string[] {
  // The extension itself fills such a table too; the backup holds only what the user added.
  const right = found !== undefined && (kind === 'extension-configuration' ? found >= rows : found === rows);
  return right ? [] : [`${schema}.${name}: ${rows} rows in the backup, ${found ?? 'no such table'} restored`];
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

function differ(differences: readonly string[], where: string): LifeboatError {
  const shown = differences.slice(0, DIFFERENCES_SHOWN).map((line) => `- ${line}`);
  if (differences.length > DIFFERENCES_SHOWN)
    shown.push(`- and ${differences.length - DIFFERENCES_SHOWN} more`);
  return new LifeboatError(
    'ROWS_DIFFER',
    `What was restored into ${where} is not what the backup holds:\n${shown.join('\n')}`,
  );
}
