import { LifeboatError } from '../errors.ts';
import { nearNames } from './near-names.ts';
import { isWanted, keyOfName, type QualifiedName, type WantedTable } from './table-names.ts';
import type { PresentTable } from './table-plan.ts';

/** What is taken out of a recovered cluster: a database of it, or some tables of that. */

/** @throws LifeboatError RESTORE_REFUSED naming databases of a similar name */
export function requireRecoveredDatabase(wanted: string, databases: readonly string[]): void {
  if (databases.includes(wanted)) return;
  const near = nearNames(
    wanted,
    databases.filter((name) => !name.startsWith('template')),
  );
  throw new LifeboatError(
    'RESTORE_REFUSED',
    `The recovered cluster has no database ${JSON.stringify(wanted)}; it has ${listed(near)}`,
    { hint: 'Name one of them with --database, or choose a time at which the database was there.' },
  );
}

/**
 * The wanted tables with all their partitions.
 * @throws LifeboatError RESTORE_REFUSED for a name that there is not, or that several schemas have
 */
export function chooseRecoveredTables(
  wanted: readonly WantedTable[],
  present: readonly PresentTable[],
): QualifiedName[] {
  const keys = new Set(wanted.map((each) => keyOfName(findTable(each, present))));
  for (let before = 0; before < keys.size;) {
    before = keys.size;
    for (const table of present)
      if (table.parent && keys.has(keyOfName(table.parent))) keys.add(keyOfName(table));
  }
  return present.filter((table) => keys.has(keyOfName(table)));
}

function findTable(wanted: WantedTable, present: readonly PresentTable[]): QualifiedName {
  const found = present.filter((table) => isWanted(wanted, table));
  const exact = found.filter(({ name }) => name === wanted.name);
  const [first, second] = exact.length > 0 ? exact : found;
  if (first && !second) return first;
  if (first) {
    throw new LifeboatError(
      'RESTORE_REFUSED',
      `The recovered database has several tables ${wanted.text}, in the schemas ${listed(found.map(({ schema }) => schema))}`,
      { hint: `Say which, as in: --table ${first.schema}.${first.name}` },
    );
  }
  const near = nearNames(
    wanted.schema === undefined ? wanted.name : `${wanted.schema}.${wanted.name}`,
    present.map(({ schema, name }) => (wanted.schema === undefined ? name : `${schema}.${name}`)),
  );
  const has = near.length > 0 ? `it has ${listed(near)}` : 'it has none at all';
  throw new LifeboatError('RESTORE_REFUSED', `The recovered database has no table ${wanted.text}; ${has}`, {
    hint: 'Name one of them with --table, or choose a time at which the table was there.',
  });
}

function listed(names: readonly string[]): string {
  return [...new Set(names)].map((name) => JSON.stringify(name)).join(', ');
}
