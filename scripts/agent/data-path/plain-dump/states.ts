import {
  BACKSLASH,
  DASH,
  DOLLAR,
  DOUBLE_QUOTE,
  isNameByte,
  LOWER_E,
  SINGLE_QUOTE,
  SLASH,
  STAR,
  UPPER_E,
} from './characters.ts';

/** What the bytes at hand belong to. */
export type State =
  | 'between statements'
  | 'statement'
  | 'comment'
  | 'block comment'
  | 'meta command'
  | 'string'
  | 'escape string'
  | 'quoted name'
  | 'dollar quote'
  | 'copy';

/**
 * What `byte` opens within a statement; `undefined` when it is just one more byte of the statement.
 *
 * @param before the byte before it
 * @param beforeThat the one before `before`
 */
export function stateOpenedBy(byte: number, before: number, beforeThat: number): State | undefined {
  if (byte === SINGLE_QUOTE) {
    const escapes = (before === UPPER_E || before === LOWER_E) && !isNameByte(beforeThat);
    return escapes ? 'escape string' : 'string';
  }
  if (byte === DOUBLE_QUOTE) return 'quoted name';
  if (byte === DOLLAR && !isNameByte(before)) return 'dollar quote';
  // psql obeys a command in the midst of a statement too.
  if (byte === BACKSLASH) return 'meta command';
  if (byte === DASH && before === DASH) return 'comment';
  if (byte === STAR && before === SLASH) return 'block comment';
  return undefined;
}
