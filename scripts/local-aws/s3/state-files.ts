import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Small state as JSON files, written beside and renamed, so that a killed server leaves the old state or the new one.
 * Synchronous on purpose: a handler that checks and then writes state without awaiting anything in between cannot be
 * interleaved with another request, which is all the locking that write-once needs.
 */
export function writeJson(path: string, value: unknown): void {
  mkdirSync(dirname(path), { recursive: true });
  const beside = `${path}.${randomId(4)}.new`;
  writeFileSync(beside, JSON.stringify(value));
  renameSync(beside, path);
}

/** What writeJson wrote: the folder is the server's own, so its form is not checked again. */
export function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** The JSON files of a folder; none when there is no such folder. Half-written ones of a killed server are removed. */
export function jsonFilesIn(folder: string): string[] {
  const found: string[] = [];
  for (const name of namesIn(folder)) {
    if (name.endsWith('.json')) found.push(join(folder, name));
    else if (name.endsWith('.new')) rmSync(join(folder, name), { force: true });
  }
  return found;
}

export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

export const randomId = (bytes: number): string => randomBytes(bytes).toString('hex');

/** A file name for any key: spaces, slashes, quotes and `..` never reach the file system. */
export const fileNameOfKey = (key: string): string => createHash('sha256').update(key, 'utf8').digest('hex');
