/**
 * A number of 32 bits for a name, the same for ever (FNV-1a over its code points): to spread names over slots or groups
 * without keeping a list. For nothing that somebody might want to forge.
 */
export function hashName(name: string): number {
  let value = 0x811c9dc5;
  for (const character of name) value = Math.imul(value ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return value;
}
