/** Bytes that mean something to SQL or psql; every server encoding keeps ASCII bytes for ASCII characters. */

export const NEWLINE = 10;
export const CARRIAGE_RETURN = 13;
export const DOUBLE_QUOTE = 34;
export const DOLLAR = 36;
export const SINGLE_QUOTE = 39;
export const STAR = 42;
export const DASH = 45;
export const SLASH = 47;
export const SEMICOLON = 59;
export const BACKSLASH = 92;
/** `E` and `e`, which open an escape string. */
export const UPPER_E = 69;
export const LOWER_E = 101;
export const DIGIT_0 = 48;
export const DIGIT_9 = 57;

export function isSpace(byte: number): boolean {
  return byte === 32 || (byte >= 9 && byte <= 13);
}

/** Letters, digits, underscore, and every byte of a multi-byte character. */
export function isNameByte(byte: number): boolean {
  return (
    (byte >= 97 && byte <= 122) ||
    (byte >= 65 && byte <= 90) ||
    (byte >= 48 && byte <= 57) ||
    byte === 95 ||
    byte >= 128
  );
}
