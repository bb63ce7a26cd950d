import { formatBackupId, type BackupId } from '../../../../lib/domain/backup/backup-id.ts';
import { manifestKey, parseBackupFile } from '../../../../lib/domain/backup/keys.ts';
import { parseManifest, type Manifest, type StoredFile } from '../../../../lib/domain/backup/manifest.ts';
import { asLifeboatError, LifeboatError } from '../../../../lib/domain/errors.ts';
import { splitPath, type RestoreSource } from '../../../../lib/domain/restore/source.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import type { ObjectStore } from '../../ports/store.ts';
import { findLatest } from './restore-latest.ts';
import {
  folderPlace,
  openPlaces,
  storePlace,
  type FoundCopy,
  type LocatedBackup,
  type Place,
} from './restore-places.ts';

/** What was found for the source that the user named. */
export interface FoundBackup {
  /** The id, or the file's name. */
  readonly label: string;
  /** `undefined` for a dump of the user's own making. */
  readonly manifest: Manifest | undefined;
  /** In the order in which they are to be tried; those of a wrong size are left out. */
  readonly copies: readonly FoundCopy[];
  readonly warnings: readonly string[];
  /** What to do when every copy proves damaged, where the error's own hint does not serve. */
  readonly hintIfCorrupt: string | undefined;
  /** @returns the roles file, from the first place that has it in its recorded size and content */
  readGlobals(): Promise<string | undefined>;
}

/** @throws LifeboatError BACKUP_NOT_FOUND, CORRUPT, MANIFEST_NEWER; for `latest` the failure of any configured store */
export async function findBackup(ports: RestorePorts, source: RestoreSource): Promise<FoundBackup> {
  if (source.kind === 'latest') return await describe(ports, await findLatest(ports));
  if (source.kind === 'id') return await findById(ports, source.id);
  if (source.kind === 'path') return await findByPath(ports, source.path);
  return await findByUrl(ports, source);
}

async function findById(ports: RestorePorts, id: BackupId): Promise<FoundBackup> {
  const { reachable, warnings } = await openPlaces(ports);
  const places = reachable.map((store) => storePlace(store, ''));
  const label = formatBackupId(id);
  const manifest = await findManifest(places, id);
  const name = manifest?.dump.key ?? (await findDumpName(reachable, label));
  if (name === undefined) {
    const where = reachable.map((store) => store.urlOf('')).join(' and ');
    throw new LifeboatError('BACKUP_NOT_FOUND', `There is no backup ${label} in ${where}`);
  }
  return await describe(ports, { label, name, manifest, places, warnings });
}

async function findDumpName(stores: readonly ObjectStore[], label: string): Promise<string | undefined> {
  for (const store of stores) {
    for await (const { key } of store.list(`${label}.`)) {
      const file = parseBackupFile(key);
      if (file?.role === 'dump' && !file.partial) return key;
    }
  }
  return undefined;
}

async function findByPath(ports: RestorePorts, path: string): Promise<FoundBackup> {
  const file = await ports.files.find(path);
  if (!file) throw new LifeboatError('BACKUP_NOT_FOUND', `There is no file ${JSON.stringify(path)}`);
  const { folder, name } = splitPath(file.path);
  return await findByName(ports, folderPlace(ports.files, folder), name);
}

async function findByUrl(
  ports: RestorePorts,
  { bucket, key }: { bucket: string; key: string },
): Promise<FoundBackup> {
  const store = await ports.openBucket(bucket);
  const { folder, name } = splitPath(key);
  const place = storePlace(store, folder);
  if (!(await place.copyOf(name))) {
    // The answer to HEAD does not say whether the key or the whole bucket is missing.
    await store.check({ writable: false });
    throw new LifeboatError('BACKUP_NOT_FOUND', `There is no object ${store.urlOf(key)}`);
  }
  return await findByName(ports, place, name);
}

/**
 * A file that the user named is never replaced by another of the same name. The series' own places serve for what does not
 * lie beside it; they are asked only then, as S3 may be away.
 */
async function findByName(ports: RestorePorts, place: Place, name: string): Promise<FoundBackup> {
  const id = parseBackupFile(name)?.id;
  const warnings: string[] = [];
  const openOthers = async (): Promise<Place[]> => {
    const opened = await openPlaces(ports);
    warnings.push(...opened.warnings);
    return opened.reachable.map((store) => storePlace(store, ''));
  };
  const manifest = id && (await findManifestOf(id, place, openOthers));
  if (!id || !manifest)
    return await describe(ports, { label: name, name, manifest: undefined, places: [place], warnings });
  const isManifest = name === manifestKey(id);
  if (manifest.dump.key !== name && !isManifest) {
    throw new LifeboatError(
      'CORRUPT',
      `The manifest of ${formatBackupId(id)} is of ${manifest.dump.key}, not of ${name}`,
      {
        hint: `Run: lifeboat restore ${formatBackupId(id)}; or move ${name} elsewhere under another name to restore from it unchecked.`,
      },
    );
  }
  const dump = manifest.dump.key;
  const elsewhere = isManifest && !(await place.copyOf(dump));
  return await describe(ports, {
    label: manifest.id,
    name: dump,
    manifest,
    places: elsewhere ? [place, ...(await openOthers())] : [place],
    openOthers,
    warnings,
    hintIfCorrupt: `For the backup as it was made, from wherever a good copy lies: lifeboat restore ${manifest.id}. To restore ${dump} as it is, unchecked: copy it elsewhere under another name.`,
  });
}

async function findManifestOf(
  id: BackupId,
  place: Place,
  openOthers: () => Promise<Place[]>,
): Promise<Manifest | undefined> {
  // A failure comes again below, unless another place has a good one.
  const beside = await findManifest([place], id).catch(() => undefined);
  return beside ?? (await findManifest([place, ...(await openOthers())], id));
}

/** The first that can be read; one that cannot counts only where no other place has a good one. */
async function findManifest(places: readonly Place[], id: BackupId): Promise<Manifest | undefined> {
  let failure: LifeboatError | undefined;
  for (const place of places) {
    const text = await place.read(manifestKey(id));
    if (text === undefined) continue;
    const where = place.urlOf(manifestKey(id));
    try {
      const manifest = parseManifest(text.toString('utf8'), where);
      if (manifest.id === formatBackupId(id)) return manifest;
      throw new LifeboatError('CORRUPT', `${where} is the manifest of ${manifest.id}`);
    } catch (error) {
      failure ??= asLifeboatError(error);
    }
  }
  if (failure) throw failure;
  return undefined;
}

async function describe(ports: RestorePorts, found: LocatedBackup): Promise<FoundBackup> {
  const { label, name, manifest, places, warnings, openOthers, hintIfCorrupt } = found;
  const copies = new Map<string, FoundCopy>();
  for (const place of places) {
    const copy = await place.copyOf(name);
    if (!copy) continue;
    if (manifest && copy.size !== manifest.dump.size) {
      warnings.push(`${copy.url} is damaged: it has ${copy.size} bytes instead of ${manifest.dump.size}.`);
    } else if (!copies.has(copy.url)) copies.set(copy.url, copy);
  }
  if (copies.size === 0) {
    const message = warnings.at(-1) ?? `The manifest of ${label} is there, but no copy of ${name}`;
    throw new LifeboatError('CORRUPT', message, hintIfCorrupt === undefined ? {} : { hint: hintIfCorrupt });
  }
  return {
    label,
    manifest,
    copies: [...copies.values()],
    warnings,
    hintIfCorrupt,
    readGlobals: () => readGlobals(ports, manifest?.globals, places, openOthers),
  };
}

async function readGlobals(
  ports: RestorePorts,
  globals: StoredFile | undefined,
  places: readonly Place[],
  openOthers?: () => Promise<Place[]>,
): Promise<string | undefined> {
  if (!globals) return undefined;
  let failure: unknown;
  for (const place of places) {
    const bytes = await place.read(globals.key);
    if (!bytes) continue;
    try {
      return await ports.files.unzipGlobals(bytes, globals, place.urlOf(globals.key));
    } catch (error) {
      failure ??= error;
    }
  }
  if (openOthers) return await readGlobals(ports, globals, [...places, ...(await openOthers())]);
  if (failure) throw failure;
  throw new LifeboatError('BACKUP_NOT_FOUND', `There is no ${globals.key} beside the backup`, {
    hint: 'Create the missing roles by hand and run the restore without --globals.',
  });
}
