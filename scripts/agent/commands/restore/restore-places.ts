import type { Manifest } from '../../../../lib/domain/backup/manifest.ts';
import { asLifeboatError, type LifeboatError } from '../../../../lib/domain/errors.ts';
import type { DumpFiles } from '../../ports/dump-files.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import type { ObjectStore } from '../../ports/store.ts';

/** A folder or a bucket's prefix in which a backup's files lie side by side. */
export interface Place {
  urlOf(name: string): string;
  copyOf(name: string): Promise<FoundCopy | undefined>;
  /** A small file, whole; `undefined` when it is not there. */
  read(name: string): Promise<Buffer | undefined>;
}

/** One copy of a dump. */
export type FoundCopy = {
  /** A path or an `s3://` URL. */
  readonly url: string;
  readonly size: number;
} & (
  | { readonly where: 'local'; readonly path: string }
  | {
      readonly where: 's3';
      readonly store: ObjectStore;
      readonly key: string;
      /** base64, as the store recorded it. */
      readonly crc32: string | undefined;
    }
);

/** A backup and where it is to be looked for. */
export interface LocatedBackup {
  readonly label: string;
  /** The dump's file name. */
  readonly name: string;
  readonly manifest: Manifest | undefined;
  readonly places: readonly Place[];
  readonly warnings: string[];
  /** Where else a roles file may lie. */
  readonly openOthers?: () => Promise<Place[]>;
  readonly hintIfCorrupt?: string;
}

/** @param prefix with its slash; empty for the store's own root */
export function storePlace(store: ObjectStore, prefix: string): Place {
  return {
    urlOf: (name) => store.urlOf(prefix + name),
    copyOf: async (name) => {
      const key = prefix + name;
      const found = await store.head(key);
      if (!found) return undefined;
      const common = { url: store.urlOf(key), size: found.size };
      return store.kind === 'local'
        ? { ...common, where: 'local', path: store.urlOf(key) }
        : { ...common, where: 's3', store, key, crc32: found.crc32 };
    },
    read: async (name) => ((await store.head(prefix + name)) ? await store.read(prefix + name) : undefined),
  };
}

/** @param folder absolute, with its slash */
export function folderPlace(files: DumpFiles, folder: string): Place {
  return {
    urlOf: (name) => folder + name,
    copyOf: async (name) => {
      const file = await files.find(folder + name);
      return file && { where: 'local', url: file.path, path: file.path, size: file.size };
    },
    read: async (name) =>
      (await files.find(folder + name)) ? await files.readSmall(folder + name) : undefined,
  };
}

export interface UnreachableStore {
  readonly url: string;
  readonly failure: LifeboatError;
}

/**
 * The stores that answer. S3 may be what has failed today: the copies in BACKUP_DIR then still serve.
 * @throws the failure when no store answers
 */
export async function openPlaces(
  ports: RestorePorts,
): Promise<{ reachable: ObjectStore[]; unreachable: UnreachableStore[]; warnings: string[] }> {
  const reachable: ObjectStore[] = [];
  const unreachable: UnreachableStore[] = [];
  for (const store of ports.stores) {
    try {
      await store.check({ writable: false });
      reachable.push(store);
    } catch (error) {
      unreachable.push({ url: store.urlOf(''), failure: asLifeboatError(error) });
    }
  }
  const last = unreachable.at(-1);
  if (reachable.length === 0 && last) throw last.failure;
  const warnings = unreachable.map(({ url, failure }) => `${url} was left out: ${failure.message}`);
  return { reachable, unreachable, warnings };
}
