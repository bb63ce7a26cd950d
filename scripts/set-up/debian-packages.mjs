import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { isInstalled, quietly, SetUpError } from './step.mjs';

const APT = ['-o', 'Acquire::Retries=3', '-o', 'DPkg::Lock::Timeout=300'];
const COMMON_FOLDER = '/etc/postgresql-common';
const NO_CLUSTER = `${COMMON_FOLDER}/createcluster.d/lifeboat-set-up.conf`;

/**
 * Installs Debian (or Ubuntu) packages with what rights we have: as root, through sudo where that asks nothing, or
 * else unpacked into the user's cache folder, for which no rights are needed at all.
 */
export function installPackages(packages) {
  if (!isInstalled('apt-get')) {
    throw new SetUpError(
      `this system has no apt-get. Install what corresponds to ${packages.join(', ')} and run the command again ` +
        '(as in: dnf install postgresql-server postgresql-contrib zstd).',
    );
  }
  const asRoot = rootPrefix();
  if (asRoot) installForAll(packages, asRoot);
  else unpackForUser(packages);
}

/** What to put before a command to run it as root; `undefined` when we cannot. */
function rootPrefix() {
  if (process.getuid() === 0) return [];
  const sudo = isInstalled('sudo') && spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0;
  return sudo ? ['sudo', '-n'] : undefined;
}

function installForAll(packages, asRoot) {
  const run = (...command) => {
    const [program, ...args] = [...asRoot, ...command];
    return quietly(program, args);
  };
  const aptGet = (...args) => run('env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...APT, ...args);
  // Debian starts a server on port 5432 as soon as its package is installed; nobody asked for one here.
  const preventCluster = packages.includes('postgresql') && !existsSync(COMMON_FOLDER);
  aptGet('update');
  try {
    if (preventCluster) {
      run('mkdir', '-p', path.dirname(NO_CLUSTER));
      run('sh', '-c', `echo 'create_main_cluster = false' >${NO_CLUSTER}`);
    }
    aptGet('install', '-y', '--no-install-recommends', ...packages);
  } finally {
    if (preventCluster) run('rm', '-f', NO_CLUSTER);
  }
}

/** The folder of programs that unpackForUser made, whether or not it did yet. */
export function privatePrograms() {
  return path.join(privateFolder(), 'bin');
}

function privateFolder() {
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'lifeboat', 'debian');
}

/** Only these can be used from a private folder; the rest are services that need root's rights to be of use. */
const UNPACKABLE = ['postgresql', 'postgresql-contrib', 'pgbackrest', 'zstd', 'gzip'];

function unpackForUser(packages) {
  const refused = packages.filter((name) => !UNPACKABLE.includes(name));
  const wanted = packages.filter((name) => UNPACKABLE.includes(name));
  if (wanted.length > 0) unpack(wanted);
  if (refused.length === 0) return;
  throw new SetUpError(`they need root. To have them run: sudo apt-get install ${refused.join(' ')}`);
}

function unpack(packages) {
  const folder = privateFolder();
  const work = `${folder}.${process.pid}`;
  try {
    const archives = path.join(work, 'cache', 'archives');
    mkdirSync(path.join(archives, 'partial'), { recursive: true });
    mkdirSync(path.join(work, 'lists', 'partial'), { recursive: true });
    // apt's own folders are root's; with these three it works for anybody, and brings only what the system lacks.
    const own = [
      '-o',
      `Dir::State::lists=${work}/lists`,
      '-o',
      `Dir::Cache=${work}/cache`,
      '-o',
      'Debug::NoLocking=1',
    ];
    quietly('apt-get', [...APT, ...own, 'update']);
    quietly('apt-get', [
      ...APT,
      ...own,
      'install',
      '-y',
      '--download-only',
      '--no-install-recommends',
      ...packages,
    ]);
    const root = path.join(work, 'root');
    for (const file of readdirSync(archives).filter((name) => name.endsWith('.deb'))) {
      quietly('dpkg-deb', ['-x', path.join(archives, file), root]);
    }
    mkdirSync(folder, { recursive: true });
    const place = path.join(folder, packages.join('+'));
    rmSync(place, { recursive: true, force: true });
    renameSync(root, place);
    writeLaunchers(place);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Programs that look for their libraries in the unpacked folder too, not only where the system keeps its own. */
function writeLaunchers(root) {
  mkdirSync(privatePrograms(), { recursive: true });
  const usr = path.join(root, 'usr');
  const libraries = list(path.join(usr, 'lib'))
    .filter((name) => name.endsWith('-linux-gnu'))
    .map((name) => path.join(usr, 'lib', name));
  const servers = list(path.join(usr, 'lib', 'postgresql')).map((major) =>
    path.join(usr, 'lib', 'postgresql', major),
  );
  // Its compiler library is another 100 MB, and without that the server would fail at the first long query.
  for (const server of servers) rmSync(path.join(server, 'lib', 'llvmjit.so'), { force: true });
  for (const folder of [path.join(usr, 'bin'), ...servers.map((server) => path.join(server, 'bin'))]) {
    for (const program of list(folder)) {
      const launcher = path.join(privatePrograms(), program);
      const lines = [
        '#!/bin/sh',
        `LD_LIBRARY_PATH=${quote(libraries.join(':'))}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}`,
        'export LD_LIBRARY_PATH',
        `exec ${quote(path.join(folder, program))} "$@"`,
      ];
      writeFileSync(launcher, `${lines.join('\n')}\n`);
      chmodSync(launcher, 0o755);
    }
  }
}

function list(folder) {
  return existsSync(folder) ? readdirSync(folder) : [];
}

function quote(text) {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
