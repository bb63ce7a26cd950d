/**
 * Cuts SQL text into statements as psql does: comments, strings, quoted names and dollar quotes are passed over whole,
 * lines of psql's own (`\restrict …`) are left out. For short texts such as the roles file; a dump is streamed instead.
 */
export function splitStatements(sql: string): string[] {
  const statements: string[] = [];
  let start = 0;
  let at = 0;
  const take = (end: number): void => {
    const statement = sql.slice(start, end).trim();
    if (stripComments(statement) !== '') statements.push(statement);
  };
  while (at < sql.length) {
    const character = sql[at] as string;
    if (character === ';') {
      take(at);
      start = at + 1;
      at += 1;
    } else if (character === '\\' && stripComments(sql.slice(start, at)) === '') {
      at = lineEnd(sql, at);
      start = at;
    } else {
      at = tokenEnd(sql, at);
    }
  }
  take(sql.length);
  return statements;
}

/** A statement without the comment lines before it. */
export function stripComments(statement: string): string {
  return statement.replace(/^(?:\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/, '').trim();
}

const BLANK_OR_PLAIN = /[^'"$;\\/-]+/y;

/** Where the token that begins at `at` ends: a string, quoted name, comment or dollar quote whole, else a run of text. */
function tokenEnd(sql: string, at: number): number {
  const two = sql.slice(at, at + 2);
  if (two === '--') return lineEnd(sql, at);
  if (two === '/*') return blockCommentEnd(sql, at);
  const character = sql[at];
  if (character === "'")
    return quotedEnd(sql, at, "'", /(?:^|[^\w$])[eE]$/.test(sql.slice(Math.max(0, at - 2), at)));
  if (character === '"') return quotedEnd(sql, at, '"', false);
  if (character === '$') return dollarQuoteEnd(sql, at);
  BLANK_OR_PLAIN.lastIndex = at;
  return BLANK_OR_PLAIN.test(sql) ? BLANK_OR_PLAIN.lastIndex : at + 1;
}

function lineEnd(sql: string, at: number): number {
  const end = sql.indexOf('\n', at);
  return end < 0 ? sql.length : end + 1;
}

function quotedEnd(sql: string, at: number, quote: string, backslashEscapes: boolean): number {
  for (let index = at + 1; index < sql.length; index += 1) {
    if (backslashEscapes && sql[index] === '\\') index += 1;
    else if (sql[index] === quote) {
      if (sql[index + 1] !== quote) return index + 1;
      index += 1;
    }
  }
  return sql.length;
}

function blockCommentEnd(sql: string, at: number): number {
  let depth = 0;
  for (let index = at; index < sql.length; index += 1) {
    const two = sql.slice(index, index + 2);
    if (two !== '/*' && two !== '*/') continue;
    depth += two === '/*' ? 1 : -1;
    index += 1;
    if (depth === 0) return index + 1;
  }
  return sql.length;
}

const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y;

function dollarQuoteEnd(sql: string, at: number): number {
  DOLLAR_TAG.lastIndex = at;
  const tag = DOLLAR_TAG.exec(sql)?.[0];
  if (tag === undefined) return at + 1;
  const end = sql.indexOf(tag, at + tag.length);
  return end < 0 ? sql.length : end + tag.length;
}
