import { execFile } from 'node:child_process';
import { access, constants, readdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { majorOf } from '../../../lib/domain/server-version.ts';
import type { Environment } from '../environment.ts';
import type { ServerPrograms } from '../ports/recovery.ts';

/** Since PostgreSQL 17. */
export const COMBINER = 'pg_combinebackup';

/** The folder of `postgres`: PG_BIN_DIR, or where Debian's and PGDG's packages put that major version, or PATH. */
export async function findServerPrograms(
  major: number,
  binDir: string | undefined,
  environment: Environment,
): Promise<ServerPrograms | undefined> {
  const folders = binDir
    ? [binDir]
    : [
        `/usr/lib/postgresql/${major}/bin`,
        `/usr/pgsql-${major}/bin`,
        ...(environment['PATH'] ?? '').split(delimiter).filter(Boolean),
      ];
  for (const folder of folders) {
    const versionNumber = await readVersion(join(folder, 'postgres'));
    if (versionNumber === undefined) continue;
    const combiner = await readVersion(join(folder, COMBINER));
    const canCombine = combiner !== undefined && majorOf(combiner) === majorOf(versionNumber);
    return { folder, versionNumber, canCombine };
  }
  return undefined;
}

async function readVersion(program: string): Promise<number | undefined> {
  try {
    await access(program, constants.X_OK);
    const { stdout } = await promisify(execFile)(program, ['--version'], { timeout: 10_000 });
    const [, major, minor = '0'] = /\(PostgreSQL\) (\d+)(?:\.(\d+))?/.exec(stdout) ?? [];
    return major === undefined ? undefined : Number(major) * 10_000 + Number(minor);
  } catch {
    // Not there, or not for this machine: the next folder may have one.
    return undefined;
  }
}

/** Beside the server's folder: PGDG's and Debian's packages, one's own build, RHEL's and Amazon Linux' packages. */
const LIBRARY_FOLDERS = ['../lib', '../lib/postgresql', '../lib/pgsql', '../lib64', '../lib64/pgsql'];

/** Of these libraries, those that are installed beside the server; a server does not start without one that it is told to load. */
export async function installedLibraries(
  programs: ServerPrograms,
  names: readonly string[],
): Promise<string[]> {
  if (names.length === 0) return [];
  const told = await libraryFolder(programs);
  const folders =
    told === undefined ? LIBRARY_FOLDERS.map((folder) => join(programs.folder, folder)) : [told];
  const files = new Set<string>();
  for (const folder of folders) {
    const found = await readdir(folder).catch(() => []);
    for (const name of found) files.add(name);
  }
  return names.filter((name) => files.has(`${name.replace(/^.*\//, '').replace(/\.so$/, '')}.so`));
}

/** `undefined`: pg_config, which comes with the headers, is not there, or is another major version's. */
async function libraryFolder({ folder, versionNumber }: ServerPrograms): Promise<string | undefined> {
  try {
    const asked = ['--version', '--pkglibdir'];
    const { stdout } = await promisify(execFile)(join(folder, 'pg_config'), asked, { timeout: 10_000 });
    const [, major, libraries] = /^PostgreSQL (\d+).*\n(\/.*)\n$/.exec(stdout) ?? [];
    return Number(major) === majorOf(versionNumber) ? libraries : undefined;
  } catch {
    return undefined;
  }
}
