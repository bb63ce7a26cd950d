import { rm, statfs } from 'node:fs/promises';
import path from 'node:path';
import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import { onDisk } from '../host/durable-file.ts';
import { freeMemory } from '../host/free-memory.ts';
import type { Log } from '../ports/host.ts';
import type { RecoveryPlace, ServerPrograms } from '../ports/recovery.ts';
import { installedLibraries } from './server-programs.ts';
import {
  hostBasedAuthentication,
  preloadedLibraries,
  serverSettings,
  stillingSettings,
} from './settings-files.ts';
import { keepSource, removeSocketLocks, writeOwn } from './work-files.ts';

interface ConfiguredServer {
  readonly place: RecoveryPlace;
  readonly programs: ServerPrograms;
  readonly owner: FileOwner | undefined;
  readonly log: Log;
  readonly socketDir: string;
  readonly port: number;
}

/** Makes what was unpacked a cluster that nobody else reaches; the source's configuration is kept beside. */
export async function configureServer(
  { place, programs, owner, log, socketDir, port }: ConfiguredServer,
  manifest: BaseManifest,
): Promise<void> {
  const { dataDir, takesOver = false } = place;
  const { wanted, leftOut } = preloadedLibraries(manifest);
  const libraries = await installedLibraries(programs, wanted);
  const missing = wanted.filter((name) => !libraries.includes(name));
  if (missing.length > 0)
    log.warn(`Not installed here, and not loaded: ${missing.join(', ')} (shared_preload_libraries)`);
  if (leftOut.length > 0)
    log.info(
      `Not loaded, as they would begin to work here: ${leftOut.join(', ')} (shared_preload_libraries)`,
    );
  const stilled = stillingSettings(libraries).map(([name, value]) => `${name} = ${value}`);
  if (stilled.length > 0) log.info(`Jobs that would begin here are switched off: ${stilled.join(', ')}`);
  const listen = place.port !== undefined;
  const { versionNumber } = programs;
  const { bavail, bsize } = await onDisk(`Cannot read the free space of ${dataDir}`, () => statfs(dataDir));
  const room = { freeMemory: freeMemory(), freeDisk: bavail * bsize };
  const own = { socketDir, port, listen, libraries, ...room, versionNumber, takesOver };
  const contents = {
    'postgresql.conf': serverSettings(manifest, own),
    'postgresql.auto.conf': '',
    'pg_hba.conf': hostBasedAuthentication(listen),
    'pg_ident.conf': '',
  };
  for (const [name, text] of Object.entries(contents)) {
    await keepSource(path.join(dataDir, name));
    await writeOwn(path.join(dataDir, name), text, owner);
  }
  // A standby's backup would have it; what a recovery is to be, it is told later.
  await rm(path.join(dataDir, 'standby.signal'), { force: true });
  await removeSocketLocks(dataDir);
}
