import { NAME_PATTERN, QUALIFIED_PATTERN, unquoteIdentifier, type QualifiedName } from './table-names.ts';

/** One entry of a dump's table of contents, from a plain dump's comments or a custom archive's head. */
export interface DumpEntry {
  /** Position in the plain dump, or dumpId in the archive. */
  readonly id: number;
  /** `TABLE`, `TABLE DATA`, `INDEX`, … */
  readonly type: string;
  /** Its SQL, at least the beginning; COPY for data. */
  readonly statement: string;
}

/**
 * What an entry is about, read from its statement: the entry's own name does not say it for indexes, and is ambiguous
 * where names hold spaces.
 */
export type Subject =
  | { readonly kind: 'table'; readonly table: QualifiedName }
  | {
      readonly kind: 'sequence';
      readonly sequence: QualifiedName;
      readonly ownedBy: QualifiedName | undefined;
    }
  | { readonly kind: 'index'; readonly index: QualifiedName; readonly table: QualifiedName }
  | {
      readonly kind: 'about index';
      readonly index: QualifiedName;
      readonly parent: QualifiedName | undefined;
    }
  | { readonly kind: 'attachment'; readonly table: QualifiedName; readonly partition: QualifiedName };

const N = NAME_PATTERN;
const Q = QUALIFIED_PATTERN;

const ATTACH_TABLE = new RegExp(`^ALTER TABLE ONLY ${Q} ATTACH PARTITION ${Q}`);
const ATTACH_INDEX = new RegExp(`^ALTER INDEX ${Q} ATTACH PARTITION ${Q}`);
const CREATE_INDEX = new RegExp(`^CREATE (?:UNIQUE )?INDEX (${N}) ON (?:ONLY )?${Q}`);
const ABOUT_INDEX = new RegExp(`^COMMENT ON INDEX ${Q}`);
const OWNED_SEQUENCE = new RegExp(`^ALTER SEQUENCE ${Q} OWNED BY ${Q}\\.`);
const ABOUT_SEQUENCE = [
  new RegExp(`^(?:CREATE SEQUENCE|COMMENT ON SEQUENCE|ALTER SEQUENCE) ${Q}`),
  new RegExp(`^(?:GRANT|REVOKE) .*? ON SEQUENCE ${Q}`, 's'),
  new RegExp(`^SELECT pg_catalog\\.setval\\('("(?:[^"]|"")+"|(?:[^'."]|'')+)\\.((?:[^']|'')+)'`),
];
const ABOUT_TABLE = [
  new RegExp(`^CREATE (?:UNLOGGED |FOREIGN )?TABLE ${Q}`),
  new RegExp(`^ALTER (?:FOREIGN )?TABLE (?:ONLY )?${Q}`),
  new RegExp(`^COPY ${Q}`),
  new RegExp(`^CREATE (?:CONSTRAINT )?TRIGGER ${N} .*? ON ${Q}`, 's'),
  new RegExp(`^CREATE RULE ${N} AS\\s+ON \\w+ TO ${Q}`),
  new RegExp(`^CREATE POLICY ${N} ON ${Q}`),
  new RegExp(`^CREATE STATISTICS .* FROM ${Q}`, 's'),
  new RegExp(`^COMMENT ON (?:TABLE|COLUMN) ${Q}`),
  new RegExp(`^COMMENT ON (?:CONSTRAINT|TRIGGER|POLICY|RULE) ${N} ON ${Q}`),
  new RegExp(`^(?:GRANT|REVOKE) .*? ON TABLE ${Q}`, 's'),
];

/** `undefined` for what is about no table: functions, types, views, … */
export function subjectOf({ type, statement }: DumpEntry): Subject | undefined {
  // A view's definition begins with CREATE VIEW, but its grants and comments look like a table's.
  if (IGNORED.has(type)) return undefined;
  return attachmentOf(statement) ?? indexOf(statement) ?? sequenceOf(statement) ?? tableOf(statement);
}

const IGNORED: ReadonlySet<string> = new Set([
  'VIEW',
  'MATERIALIZED VIEW',
  'MATERIALIZED VIEW DATA',
  'FUNCTION',
  'PROCEDURE',
]);

function attachmentOf(statement: string): Subject | undefined {
  const match = ATTACH_TABLE.exec(statement);
  return match ? { kind: 'attachment', table: nameAt(match, 1), partition: nameAt(match, 3) } : undefined;
}

function indexOf(statement: string): Subject | undefined {
  const created = CREATE_INDEX.exec(statement);
  if (created) {
    const table = nameAt(created, 2);
    return { kind: 'index', index: { schema: table.schema, name: unquoteIdentifier(created[1]!) }, table };
  }
  const attached = ATTACH_INDEX.exec(statement);
  if (attached) return { kind: 'about index', index: nameAt(attached, 3), parent: nameAt(attached, 1) };
  const about = ABOUT_INDEX.exec(statement);
  return about ? { kind: 'about index', index: nameAt(about, 1), parent: undefined } : undefined;
}

function sequenceOf(statement: string): Subject | undefined {
  const owned = OWNED_SEQUENCE.exec(statement);
  if (owned) return { kind: 'sequence', sequence: nameAt(owned, 1), ownedBy: nameAt(owned, 3) };
  const match = firstMatch(ABOUT_SEQUENCE, statement);
  if (!match) return undefined;
  const inString = statement.startsWith('SELECT');
  const sequence = nameAt(match, 1, inString ? (text) => text.replaceAll("''", "'") : undefined);
  return { kind: 'sequence', sequence, ownedBy: undefined };
}

function tableOf(statement: string): Subject | undefined {
  const match = firstMatch(ABOUT_TABLE, statement);
  return match ? { kind: 'table', table: nameAt(match, 1) } : undefined;
}

function firstMatch(patterns: readonly RegExp[], statement: string): RegExpExecArray | undefined {
  for (const pattern of patterns) {
    const match = pattern.exec(statement);
    if (match) return match;
  }
  return undefined;
}

function nameAt(
  match: RegExpExecArray,
  group: number,
  decode = (text: string): string => text,
): QualifiedName {
  return {
    schema: unquoteIdentifier(decode(match[group]!)),
    name: unquoteIdentifier(decode(match[group + 1]!)),
  };
}

const REFERENCES = new RegExp(`\\bREFERENCES ${Q}\\(`);

/** The table that a foreign key refers to. */
export function referencedTable({ type, statement }: DumpEntry): QualifiedName | undefined {
  const match = type === 'FK CONSTRAINT' ? REFERENCES.exec(statement) : null;
  return match ? nameAt(match, 1) : undefined;
}
