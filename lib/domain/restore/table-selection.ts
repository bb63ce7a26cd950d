import { LifeboatError } from '../errors.ts';
import { referencedTable, subjectOf, type DumpEntry, type Subject } from './dump-entries.ts';
import {
  isWanted,
  keyOfName,
  NAME_PATTERN,
  QUALIFIED_PATTERN,
  unquoteIdentifier,
  type QualifiedName,
  type WantedTable,
} from './table-names.ts';

/** Which entries of a dump make up the wanted tables. */
export interface TableSelection {
  /** The wanted tables and their partitions, in the dump's order. */
  readonly tables: readonly QualifiedName[];
  /** Ids of the entries, in the dump's order. */
  readonly entries: readonly number[];
  /** Foreign keys to tables that are neither selected nor in the target; left out. */
  readonly leftOutKeys: readonly string[];
}

/**
 * Definition, data, partitions, own sequences, defaults, indexes, constraints, triggers, policies, comments and grants of
 * the wanted tables; types and functions that they use must be in the target.
 *
 * @param present tables of the target, as keyOfName
 * @throws LifeboatError RESTORE_REFUSED for a name that the dump does not have, or has in several schemas
 */
export function selectTables(
  entries: readonly DumpEntry[],
  wanted: readonly WantedTable[],
  present: ReadonlySet<string>,
): TableSelection {
  const known = entries.flatMap((entry) => {
    const subject = subjectOf(entry);
    return subject ? [{ entry, subject }] : [];
  });
  const definitions = known.flatMap(({ entry, subject }) =>
    /^(?:FOREIGN )?TABLE$/.test(entry.type) && subject.kind === 'table' ? [subject.table] : [],
  );
  const subjects = known.map(({ subject }) => subject);
  const selected = withPartitions(
    wanted.map((each) => findWanted(each, definitions)),
    subjects,
  );
  const sequences = sequencesOf(known, selected);
  const indexes = indexesOf(known, selected);
  const leftOutKeys: string[] = [];
  const ids = known.flatMap(({ entry, subject }) => {
    if (!isSelected(subject, selected, sequences, indexes)) return [];
    const referenced = referencedTable(entry);
    const dangling =
      referenced && !selected.has(keyOfName(referenced)) && !present.has(keyOfName(referenced));
    if (!dangling) return [entry.id];
    leftOutKeys.push(`${tableLabel(subject)} → ${referenced.schema}.${referenced.name}`);
    return [];
  });
  return { tables: definitions.filter((table) => selected.has(keyOfName(table))), entries: ids, leftOutKeys };
}

interface KnownEntry {
  readonly entry: DumpEntry;
  readonly subject: Subject;
}

function findWanted(wanted: WantedTable, definitions: readonly QualifiedName[]): QualifiedName {
  const found = definitions.filter((table) => isWanted(wanted, table));
  const exact = found.filter(({ name }) => name === wanted.name);
  const [first, second] = exact.length > 0 ? exact : found;
  if (first && !second) return first;
  if (!first) {
    throw new LifeboatError('RESTORE_REFUSED', `The backup has no table ${wanted.text}`, {
      hint: 'Name it as in: --table users,billing.invoices; names with capitals or spaces in double quotes.',
    });
  }
  const schemas = found.map(({ schema }) => schema).join(', ');
  throw new LifeboatError(
    'RESTORE_REFUSED',
    `The backup has several tables ${wanted.text}, in the schemas ${schemas}`,
    {
      hint: `Say which, as in: --table ${first.schema}.${first.name}`,
    },
  );
}

function withPartitions(tables: readonly QualifiedName[], subjects: readonly Subject[]): Set<string> {
  const selected = new Set(tables.map(keyOfName));
  for (let before = 0; before < selected.size;) {
    before = selected.size;
    for (const subject of subjects) {
      if (subject.kind === 'attachment' && selected.has(keyOfName(subject.table))) {
        selected.add(keyOfName(subject.partition));
      }
    }
  }
  return selected;
}

/** Those that a selected table's column owns; identity columns make theirs by ALTER TABLE. */
function sequencesOf(known: readonly KnownEntry[], selected: ReadonlySet<string>): Set<string> {
  const sequences = new Set<string>();
  for (const { entry, subject } of known) {
    if (subject.kind === 'sequence' && subject.ownedBy && selected.has(keyOfName(subject.ownedBy))) {
      sequences.add(keyOfName(subject.sequence));
    }
    const identity =
      entry.type === 'SEQUENCE' && subject.kind === 'table' && selected.has(keyOfName(subject.table));
    const name = identity ? IDENTITY_SEQUENCE.exec(entry.statement) : null;
    if (name)
      sequences.add(keyOfName({ schema: unquoteIdentifier(name[1]!), name: unquoteIdentifier(name[2]!) }));
  }
  return sequences;
}

const IDENTITY_SEQUENCE = new RegExp(`SEQUENCE NAME ${QUALIFIED_PATTERN}`);
const INDEX_OF_CONSTRAINT = new RegExp(`ADD CONSTRAINT (${NAME_PATTERN}) (?:PRIMARY KEY|UNIQUE|EXCLUDE)`);

/** A key's index bears the constraint's name. */
function indexesOf(known: readonly KnownEntry[], selected: ReadonlySet<string>): Set<string> {
  const indexes = known.flatMap(({ entry, subject }) => {
    if (subject.kind !== 'index' && subject.kind !== 'table') return [];
    if (!selected.has(keyOfName(subject.table))) return [];
    if (subject.kind === 'index') return [keyOfName(subject.index)];
    const name = entry.type === 'CONSTRAINT' ? INDEX_OF_CONSTRAINT.exec(entry.statement)?.[1] : undefined;
    return name ? [keyOfName({ schema: subject.table.schema, name: unquoteIdentifier(name) })] : [];
  });
  return new Set(indexes);
}

function isSelected(
  subject: Subject,
  tables: ReadonlySet<string>,
  sequences: ReadonlySet<string>,
  indexes: ReadonlySet<string>,
): boolean {
  switch (subject.kind) {
    case 'table':
    case 'index':
      return tables.has(keyOfName(subject.table));
    case 'sequence':
      return sequences.has(keyOfName(subject.sequence));
    case 'about index':
      return (
        indexes.has(keyOfName(subject.index)) && (!subject.parent || indexes.has(keyOfName(subject.parent)))
      );
    // A partition wanted without its parent is restored as a table of its own.
    case 'attachment':
      return tables.has(keyOfName(subject.table)) && tables.has(keyOfName(subject.partition));
    default:
      return subject satisfies never;
  }
}

function tableLabel(subject: Subject): string {
  return subject.kind === 'table' ? `${subject.table.schema}.${subject.table.name}` : '';
}
