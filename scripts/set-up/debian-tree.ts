import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { LifeboatError } from '../../lib/domain/errors.ts';

/** Programs of another Debian release than this machine's, in a folder of their own: nothing is installed, no rights are needed. */
export interface DebianTreeOptions {
  /** Such as `trixie`. */
  readonly suite: string;
  /** Those whose programs are wanted. Of what they depend on, only the libraries come along. */
  readonly packages: readonly string[];
  /** Names of libraries that can be done without. */
  readonly without?: readonly string[];
  /** Of packages; default: the one that apt uses here. */
  readonly mirror?: string;
  /** Default: `.cache/debian` of the checkout. */
  readonly cache?: string;
}

const CACHE = path.resolve(import.meta.dirname, '../../.cache/debian');
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const PUBLIC_MIRROR = 'http://deb.debian.org/debian';
/** By which copyInstallation knows that a program needs the whole tree. */
export const TREE_MARK = 'debian-tree';
const UNNEEDED = ['usr/share/doc', 'usr/share/man', 'usr/share/locale', 'usr/share/lintian', 'var'];

/**
 * The root folder of a tree that has these packages, fetched unless it is there already (some 10 s, 45 MB for PostgreSQL). Its programs
 * run as `usr/bin/…` and `usr/lib/postgresql/…/bin/…` below it, with the tree's own C library, since that is newer
 * than what an older release has. apt checks the packages' signatures.
 * @throws LifeboatError CLIENT_MISSING when they cannot be had, with apt's words
 */
export function fetchDebianTree(options: DebianTreeOptions): string {
  const { suite, packages, cache = CACHE } = options;
  const place = path.join(cache, `${suite}-${packages.join('+')}`);
  if (existsSync(path.join(place, TREE_MARK))) return place;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(path.join(cache, 'fetching-'));
  try {
    const root = path.join(work, 'root');
    for (const file of download(options, work)) execFileSync('dpkg-deb', ['-x', file, root]);
    completeTree(root);
    moveInto(root, place);
    return place;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function download(
  { suite, packages, without = [], mirror = aptMirror() }: DebianTreeOptions,
  work: string,
): string[] {
  if (!existsSync(KEYRING)) {
    throw new LifeboatError(
      'CLIENT_MISSING',
      `${packages.join(', ')} of Debian ${suite}: ${KEYRING}, which checks signatures, is missing`,
      {
        hint: 'Install it: sudo apt-get install debian-archive-keyring',
      },
    );
  }
  const apt = privateApt(work, `deb [signed-by=${KEYRING}] ${mirror} ${suite} main`);
  try {
    apt('update', '--error-on=any');
    // Nothing counts as installed, so that this names all that they depend on.
    const named = apt('install', '-y', '-qq', '--no-install-recommends', '--print-uris', ...packages);
    const all = named.split('\n').flatMap((line) => /^'[^']+' ([^_]+)_/.exec(line)?.[1] ?? []);
    const libraries = all.filter((name) => /^(lib|zlib1g)/.test(name) && !without.includes(name));
    apt('download', ...new Set([...packages, ...libraries]));
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr || (cause as Error).message;
    throw new LifeboatError(
      'CLIENT_MISSING',
      `${packages.join(', ')} of Debian ${suite} cannot be had from ${mirror}: ${said.trim().split('\n').slice(-5).join('\n')}`,
      {
        cause,
        hint: 'It needs apt-get and a mirror that answers. What was fetched once stays in .cache/debian/.',
      },
    );
  }
  return readdirSync(work)
    .filter((name) => name.endsWith('.deb'))
    .map((name) => path.join(work, name));
}

/** apt-get with all of its folders in `work`: it works for anybody, and leaves the system's own alone. */
function privateApt(work: string, source: string): (...args: readonly string[]) => string {
  for (const folder of ['lists/partial', 'cache/archives/partial'])
    mkdirSync(path.join(work, folder), { recursive: true });
  writeFileSync(path.join(work, 'sources.list'), `${source}\n`);
  writeFileSync(path.join(work, 'status'), '');
  const settings = [
    `Dir::Etc::sourcelist=${work}/sources.list`,
    'Dir::Etc::sourceparts=-',
    'Dir::Etc::preferencesparts=-',
    `Dir::State::lists=${work}/lists`,
    `Dir::State::status=${work}/status`,
    `Dir::Cache=${work}/cache`,
    'Debug::NoLocking=1',
    'Acquire::Languages=none',
    'Acquire::Retries=3',
    'Acquire::http::Timeout=30',
    // The folder is not the _apt user's.
    'APT::Sandbox::User=',
  ].flatMap((setting) => ['-o', setting]);
  return (...args) =>
    execFileSync('apt-get', [...settings, ...args], {
      cwd: work,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 1 << 26,
    });
}

function aptMirror(): string {
  try {
    const uris = execFileSync(
      'apt-get',
      ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'],
      { encoding: 'utf8' },
    );
    return (
      uris
        .split('\n')
        .find((uri) => /\/debian\/?$/.test(uri))
        ?.replace(/\/$/, '') ?? PUBLIC_MIRROR
    );
  } catch {
    // Without apt the download says so.
    return PUBLIC_MIRROR;
  }
}

function completeTree(root: string): void {
  for (const folder of UNNEEDED) rmSync(path.join(root, folder), { recursive: true, force: true });
  const usr = path.join(root, 'usr');
  const libraries = list(path.join(usr, 'lib')).find((name) => name.endsWith('-linux-gnu')) ?? '';
  const loader =
    list(path.join(usr, 'lib', libraries)).find((name) => /^ld-linux-.*\.so\.\d+$/.test(name)) ?? '';
  const servers = list(path.join(usr, 'lib/postgresql')).map((major) => path.join('lib/postgresql', major));
  // Its compiler library is another 100 MB, and without that the server would fail at the first long query.
  for (const server of servers) {
    for (const name of ['lib/llvmjit.so', 'lib/bitcode'])
      rmSync(path.join(usr, server, name), { recursive: true, force: true });
  }
  for (const folder of ['bin', ...servers.map((server) => path.join(server, 'bin'))]) {
    const up = folder
      .split('/')
      .map(() => '..')
      .join('/');
    wrapPrograms(path.join(usr, folder), { up, libraries: `lib/${libraries}`, loader });
  }
  writeFileSync(path.join(root, TREE_MARK), 'Made by scripts/set-up/debian-tree.ts\n');
  chmodSync(root, 0o755);
}

interface Surroundings {
  /** From the programs' folder to `usr`. */
  readonly up: string;
  /** Below `usr`. */
  readonly libraries: string;
  readonly loader: string;
}

/**
 * A script in the place of each program, which starts it with the tree's own loader and libraries. The program is told the
 * script's path as its own: by that PostgreSQL finds its other programs and its files, wherever the tree lies.
 */
function wrapPrograms(folder: string, { up, libraries, loader }: Surroundings): void {
  const hidden = path.join(folder, '.programs');
  for (const name of list(folder).filter((each) => isElf(path.join(folder, each)))) {
    mkdirSync(hidden, { recursive: true });
    renameSync(path.join(folder, name), path.join(hidden, name));
    const script = [
      '#!/bin/sh',
      'here=${0%/*}',
      `usr=$here/${up}`,
      `exec "$usr/${libraries}/${loader}" --library-path "$usr/${libraries}" --argv0 "$here/${name}" "$here/.programs/${name}" "$@"`,
      '',
    ];
    writeFileSync(path.join(folder, name), script.join('\n'), { mode: 0o755 });
  }
}

function isElf(file: string): boolean {
  const head = Buffer.alloc(4);
  const descriptor = openSync(file, 'r');
  try {
    readSync(descriptor, head);
  } catch {
    return false; // a folder
  } finally {
    closeSync(descriptor);
  }
  return head.toString('latin1') === '\u007FELF';
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** Another process may have been quicker: then its tree is as good. */
function moveInto(root: string, place: string): void {
  try {
    renameSync(root, place);
  } catch (error) {
    if (!existsSync(path.join(place, TREE_MARK))) throw error;
  }
}
