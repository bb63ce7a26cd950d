import { splitStatements, stripComments } from './statements.ts';

/** What of a roles file (`pg_dumpall --globals-only`) is run on this server, and what is left out. */
export interface GlobalsPlan {
  /** To run in order, in one transaction. Some hold password verifiers: never logged. */
  readonly statements: readonly string[];
  readonly created: readonly string[];
  /** Roles that exist here already: neither their passwords nor anything else of theirs is changed. */
  readonly leftAlone: readonly string[];
  /** A tablespace is a folder of this host: only an operator can say where. */
  readonly missingTablespaces: readonly string[];
}

export interface ExistingGlobals {
  readonly roles: ReadonlySet<string>;
  readonly tablespaces: ReadonlySet<string>;
}

/** An identifier as pg_dumpall writes it: bare, or quoted with doubled quotes. */
const NAME = String.raw`("(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)`;
const CREATE_ROLE = new RegExp(`^CREATE ROLE ${NAME}$`);
const ABOUT_ROLE = new RegExp(
  `^(?:ALTER ROLE|COMMENT ON ROLE|SECURITY LABEL .*? ON ROLE) ${NAME}(?:\\s|$)`,
  's',
);
const ON_PARAMETER = new RegExp(
  `^GRANT .+ ON PARAMETER .+ TO ${NAME}(?: WITH GRANT OPTION)?(?: GRANTED BY .+)?$`,
  's',
);
const MEMBERSHIP = new RegExp(`^GRANT ${NAME} TO ${NAME}(.*?)(?: GRANTED BY ${NAME})?$`, 's');
const CREATE_TABLESPACE = new RegExp(`^CREATE TABLESPACE ${NAME}\\s`);

/** Which of a globals file's statements are run: those of roles that are missing, and of nothing that exists. */
export function planGlobals(sql: string, existing: ExistingGlobals): GlobalsPlan {
  const statements = splitStatements(sql).map(stripComments);
  const inFile = statements.map((statement) => nameIn(CREATE_ROLE.exec(statement), 1)).filter(isName);
  const created = inFile.filter((role) => !existing.roles.has(role));
  const known = new Set([...existing.roles, ...created]);
  const selected = statements.map((statement) => select(statement, new Set(created), known)).filter(isName);
  const tablespaces = statements
    .map((statement) => nameIn(CREATE_TABLESPACE.exec(statement), 1))
    .filter(isName);
  return {
    statements: created.length > 0 ? selected : [],
    created,
    leftAlone: inFile.filter((role) => existing.roles.has(role)),
    missingTablespaces: tablespaces.filter((name) => !existing.tablespaces.has(name)),
  };
}

/** The statement as it is to be run, or `undefined`: only what makes or describes a role that this restore creates. */
function select(
  statement: string,
  created: ReadonlySet<string>,
  known: ReadonlySet<string>,
): string | undefined {
  if (/^(?:SET [a-z_]+ = |SELECT pg_catalog\.set_config\()/.test(statement)) return statement;
  const role =
    nameIn(CREATE_ROLE.exec(statement), 1) ??
    nameIn(ABOUT_ROLE.exec(statement), 1) ??
    nameIn(ON_PARAMETER.exec(statement), 1);
  if (role !== undefined) return created.has(role) ? statement : undefined;
  const membership = MEMBERSHIP.exec(statement);
  return membership ? selectMembership(membership, created, known) : undefined;
}

/** The grantor of the old cluster may not exist here; without GRANTED BY the grant is the restoring role's own. */
function selectMembership(
  match: RegExpExecArray,
  created: ReadonlySet<string>,
  known: ReadonlySet<string>,
): string | undefined {
  const [group, member, grantor] = [nameIn(match, 1), nameIn(match, 2), nameIn(match, 4)];
  if (group === undefined || member === undefined) return undefined;
  if (!created.has(group) && !created.has(member)) return undefined;
  if (!known.has(group) || !known.has(member)) return undefined;
  return grantor === undefined || known.has(grantor)
    ? match[0]
    : `GRANT ${match[1]} TO ${match[2]}${match[3]}`;
}

function nameIn(match: RegExpExecArray | null, group: number): string | undefined {
  const text = match?.[group];
  if (text === undefined) return undefined;
  return text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text;
}

function isName(text: string | undefined): text is string {
  return text !== undefined;
}
