import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** The checkout's top folder. */
export const ROOT = resolve(import.meta.dirname, '..', '..');

export function readProject() {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
}

export function readLockFile() {
  return JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
}
