import { LifeboatError } from '../errors.ts';

/** @param hint instead of the code's own */
export function refuse(message: string, hint?: string): LifeboatError {
  return new LifeboatError('RESTORE_REFUSED', message, hint === undefined ? {} : { hint });
}

const NAMES_SHOWN = 20;

/** The first names, and how many more. */
export function nameList(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_SHOWN).join(', ');
  return names.length > NAMES_SHOWN ? `${shown} and ${names.length - NAMES_SHOWN} more` : shown;
}
