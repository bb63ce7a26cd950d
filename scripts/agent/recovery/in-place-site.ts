import { constants } from 'node:fs';
import { access, chown, mkdir, open, readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type {
  InPlaceFacts,
  InPlaceLayout,
  LiveCluster,
  TablespaceFacts,
  TablespacePlace,
} from '../../../lib/domain/base/in-place-plan.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { isMissing, makeFolderBelow, onDisk, readFully, syncFolder } from '../host/durable-file.ts';
import { findUser } from '../host/users.ts';
import type { InPlaceSite, Room } from '../ports/in-place.ts';
import { openConfigurationRestore, type ConfigurationGround } from './configuration-restore.ts';
import { configureInPlace } from './in-place-configuration.ts';
import * as files from './in-place-files.ts';
import { findLiveDisks, measureDisk } from './live-disks.ts';
import { findPostmaster } from './postmaster.ts';

export function openInPlaceSite(ground: ConfigurationGround): InPlaceSite {
  return {
    resolve: (dataDir) => onDisk(`Cannot read ${dataDir}`, () => realPathOf(dataDir)),
    present: async (names) => {
      const found = new Set<string>();
      for (const name of names)
        if (await onDisk(`Cannot read ${name}`, () => files.exists(name))) found.add(name);
      return found;
    },
    survey,
    owner: async (dataDir) => (await ownerOf(dataDir))?.name,
    rooms,
    makeLocations,
    configure: configureInPlace,
    tablespaces: surveyTablespaces,
    move: files.move,
    tidy: files.tidy,
    clear: files.clear,
    restoreConfiguration: openConfigurationRestore(ground),
    readJournal: async (dataDir) => files.readJournal(await realPathOf(dataDir)),
    writeJournal: files.writeJournal,
    removeJournal: files.removeJournal,
    journaled: async (candidates) => {
      const found = await Promise.all(
        candidates.map(async (each) => {
          const dataDir = await realPathOf(each);
          return (await files.readJournal(dataDir)) ? [dataDir] : [];
        }),
      );
      return [...new Set(found.flat())];
    },
  };
}

/** Also of one that is not there: links in the folders above are followed, and itself one while what it leads to is away. */
async function realPathOf(file: string): Promise<string> {
  try {
    return await realpath(file);
  } catch (error) {
    if (!isMissing(error) || file === path.dirname(file)) throw error;
    const above = await realPathOf(path.dirname(file));
    const target = await readlink(file).catch(() => undefined);
    if (target !== undefined) return await realPathOf(path.resolve(above, target));
    return path.join(above, path.basename(file));
  }
}

async function survey(named: string): Promise<InPlaceFacts> {
  return await onDisk(`Cannot read ${named}`, async () => {
    const dataDir = await realPathOf(named);
    const names: string[] = await readdir(dataDir).catch((error: unknown) => {
      if (isMissing(error)) return [];
      throw error;
    });
    const isCluster = names.includes('PG_VERSION') && names.includes('global');
    return {
      dataDir,
      holds: isCluster ? 'a cluster' : names.length === 0 ? 'nothing' : 'something else',
      isMountPoint: await isMountPoint(dataDir),
      mayRename: await mayWrite(path.dirname(dataDir)),
      cluster: isCluster ? await surveyCluster(dataDir, names) : undefined,
    };
  });
}

async function surveyCluster(dataDir: string, names: readonly string[]): Promise<LiveCluster> {
  return {
    ...(await readControlFile(dataDir)),
    major: Number.parseInt(await readFile(path.join(dataDir, 'PG_VERSION'), 'utf8'), 10),
    standby: names.includes('standby.signal'),
    postmaster: (await findPostmaster(dataDir))?.pid,
    walLink: await readlink(path.join(dataDir, 'pg_wal')).catch(() => undefined),
    tablespaces: await listTablespaces(dataDir),
  };
}

/** Of pg_control: in the same place in PostgreSQL 11 to 18 (ControlFileData, whose checkPointCopy begins at byte 40). */
const TIMELINE_AT = 48;

/** In the machine's byte order; every machine that we run on is little-endian. */
async function readControlFile(dataDir: string): Promise<Pick<LiveCluster, 'systemIdentifier' | 'timeline'>> {
  const file = await open(path.join(dataDir, 'global/pg_control'), 'r');
  try {
    const bytes = Buffer.alloc(TIMELINE_AT + 4);
    await readFully(file, bytes, 0);
    return {
      systemIdentifier: String(bytes.readBigUInt64LE()),
      timeline: bytes.readUInt32LE(TIMELINE_AT),
    };
  } finally {
    await file.close();
  }
}

/** Those made with allow_in_place_tablespaces are folders within the data directory, and go with it. */
async function listTablespaces(dataDir: string): Promise<TablespacePlace[]> {
  const folder = path.join(dataDir, 'pg_tblspc');
  const found: TablespacePlace[] = [];
  for (const name of await readdir(folder)) {
    const target = await readlink(path.join(folder, name)).catch(() => undefined);
    if (/^\d+$/.test(name) && target !== undefined) {
      found.push({ oid: Number(name), location: await realPathOf(path.resolve(folder, target)) });
    }
  }
  return found;
}

/** Mounts of a folder of the same file system have the same device number; the kernel's list has them all. */
async function isMountPoint(folder: string): Promise<boolean> {
  const [own, above] = await Promise.all(
    [folder, path.dirname(folder)].map((each) => stat(each).catch(() => undefined)),
  );
  if (own && above && own.dev !== above.dev) return true;
  const mounts = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  const escaped = folder.replaceAll('\\', '\\134').replaceAll(' ', '\\040');
  return mounts.split('\n').some((line) => line.split(' ')[4] === escaped);
}

async function mayWrite(folder: string): Promise<boolean> {
  // One that is missing is made, or fails, before anything is stopped.
  return await access(folder, constants.W_OK).then(
    () => true,
    (error: unknown) => isMissing(error),
  );
}

/** Of the cluster, else of the folder above, else Debian's and RHEL's usual one. */
async function ownerOf(dataDir: string): ReturnType<typeof findUser> {
  for (const folder of [dataDir, path.dirname(dataDir)]) {
    const uid = await stat(folder).then(
      (found) => found.uid,
      () => 0,
    );
    if (uid !== 0) return await findUser(String(uid));
  }
  return await findUser('postgres');
}

async function rooms(
  needs: Parameters<InPlaceSite['rooms']>[0],
  dataDir: string,
): ReturnType<InPlaceSite['rooms']> {
  const live = await findLiveDisks(dataDir, []);
  const disks = new Map<number, Room & { needed: number }>();
  for (const { path: place, bytes } of needs) {
    const { device, free, reserve } = await onDisk(`Cannot read the free space of ${place}`, () =>
      measureDisk(place, live),
    );
    const known = disks.get(device);
    if (known) known.needed += bytes;
    else disks.set(device, { path: place, needed: bytes, free, reserve });
  }
  return [...disks.values()];
}

async function makeLocations({ dataDir, tablespaces }: InPlaceLayout): Promise<void> {
  const owner = process.getuid?.() === 0 ? await ownerOf(dataDir) : undefined;
  for (const folder of [path.dirname(dataDir), ...tablespaces.map(({ location }) => location)])
    await onDisk(`Cannot make the folder ${folder}`, () => makeOwned(folder, owner));
}

/** Folders above one that is missing are their own parent's owner's, as an administrator's would be. */
async function makeOwned(folder: string, owner: { uid: number; gid: number } | undefined): Promise<void> {
  if (await files.exists(folder)) return;
  await makeFolderBelow(path.dirname(folder), 0o755);
  await mkdir(folder, { mode: 0o700 });
  if (owner) await chown(folder, owner.uid, owner.gid);
  await syncFolder(path.dirname(folder));
}

async function surveyTablespaces(
  { recovered, tablespaces }: InPlaceLayout,
  { cluster }: InPlaceFacts,
): Promise<TablespaceFacts> {
  const kept = new Set<number>();
  const occupied = new Set<number>();
  const live = new Map<number, number[]>();
  let versionFolder = '';
  for (const { oid, recovered: made } of tablespaces) {
    // Replaying DROP TABLESPACE takes the link away, and the folder that it leads to.
    if (!(await files.exists(path.join(recovered, 'pg_tblspc', String(oid))))) continue;
    const found = await files.versionFolderIn(made);
    if (found === undefined)
      throw new LifeboatError('CORRUPT', `${made} has no folder of a tablespace, PG_…`);
    kept.add(oid);
    versionFolder = found;
  }
  for (const { oid, location } of tablespaces) {
    if (!kept.has(oid)) continue;
    if (await files.exists(path.join(location, versionFolder))) occupied.add(oid);
    const place = await realPathOf(location);
    const there = (cluster?.tablespaces ?? []).filter((each) => each.location === place);
    live.set(
      oid,
      there.map((each) => each.oid),
    );
  }
  return { versionFolder, kept, occupied, live };
}
