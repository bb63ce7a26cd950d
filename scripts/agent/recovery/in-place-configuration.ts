import {
  copyFile,
  chmod,
  chown,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import path from 'node:path';
import { isMissing, onDisk, syncFolder } from '../host/durable-file.ts';
import { SERVER_LOG } from './server-process.ts';

/** What the isolated server was given in place of the source's. */
const REPLACED = ['postgresql.conf', 'postgresql.auto.conf', 'pg_hba.conf', 'pg_ident.conf'];
/** Settings, certificates and keys that lie in the data directory; on Debian there is postgresql.auto.conf alone. */
const CONFIGURATION = /\.(?:conf|crt|key|pem|crl)$/;
const FOLDERS = ['conf.d'];

/**
 * Takes away what isolated the recovered cluster. The live one's configuration of this very moment is the one to go on with;
 * that of the backup may be months old, its certificates expired.
 * @param live the data directory of the same cluster; `undefined`: there is none
 */
export async function configureInPlace(recovered: string, live: string | undefined): Promise<void> {
  await onDisk(`Cannot write the configuration in ${recovered}`, async () => {
    for (const name of REPLACED) {
      const file = path.join(recovered, name);
      await rm(file, { force: true });
      await rename(`${file}.source`, file).catch((error: unknown) => {
        // On Debian the others lie elsewhere.
        if (!isMissing(error)) throw error;
      });
    }
    await rm(path.join(recovered, SERVER_LOG), { force: true });
    if (live !== undefined) {
      await copyConfiguration(live, recovered);
      for (const folder of FOLDERS) await copyFolder(path.join(live, folder), path.join(recovered, folder));
    }
    await syncFolder(recovered);
  });
}

async function copyFolder(from: string, to: string): Promise<void> {
  if (!(await isFolder(from))) return;
  await mkdir(to, { recursive: true });
  await keepOwner(from, to);
  await copyConfiguration(from, to);
  await syncFolder(to);
}

async function copyConfiguration(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (!CONFIGURATION.test(entry.name)) continue;
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)];
    if (entry.isSymbolicLink()) {
      await rm(target, { force: true });
      await symlink(await readlink(source), target);
    } else if (entry.isFile()) {
      await copyFile(source, target);
      await keepOwner(source, target);
      await syncFile(target);
    }
  }
}

async function syncFile(name: string): Promise<void> {
  const file = await open(name, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** PostgreSQL refuses keys that others may read. */
async function keepOwner(from: string, to: string): Promise<void> {
  const { mode, uid, gid } = await stat(from);
  await chmod(to, mode & 0o777);
  if (process.getuid?.() === 0) await chown(to, uid, gid);
}

async function isFolder(name: string): Promise<boolean> {
  return await stat(name).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
