import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { ObjectStore } from '../ports/store.ts';

const MANIFESTS_AT_ONCE = 8;

/**
 * The manifests under `keys`, several at a time. One that cannot be read stands there as its error: it must not hide the
 * other backups.
 * @throws LifeboatError when the store hands none out: nobody can tell then whose backups those are
 */
export async function readManifests<Manifest>(
  store: ObjectStore,
  keys: readonly string[],
  parse: (text: string, where: string) => Manifest,
): Promise<Map<string, Manifest | Error>> {
  const manifests = new Map<string, Manifest | Error>();
  const waiting = [...keys];
  const read = async (key: string): Promise<Manifest> =>
    parse((await store.read(key)).toString('utf8'), store.urlOf(key));
  const work = async (): Promise<void> => {
    for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
      manifests.set(key, await read(key).catch(keepUnreadable));
    }
  };
  await Promise.all(Array.from({ length: MANIFESTS_AT_ONCE }, work));
  return manifests;
}

function keepUnreadable(error: unknown): Error {
  const kept = ['CORRUPT', 'MANIFEST_NEWER', 'BACKUP_NOT_FOUND', 'DISK_FAILED'];
  if (error instanceof LifeboatError && kept.includes(error.code)) return error;
  throw error;
}
