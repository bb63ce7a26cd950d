import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, readLockFile, readProject } from './project.mjs';

/**
 * Node for Linux on `architecture`, of the version that the project pins: npm installed this machine's own, the other
 * one is fetched once and kept in .cache/.
 * @returns {{ node: string, license: string }} paths
 */
export function findRuntime(architecture) {
  const name = `node-linux-${architecture}`;
  const version = readProject().optionalDependencies[name];
  const installed = join(ROOT, 'node_modules', name);
  const folder = isVersion(installed, version) ? installed : fetchRuntime(name, version);
  return { node: join(folder, 'bin', 'node'), license: join(folder, 'LICENSE') };
}

function isVersion(folder, version) {
  const file = join(folder, 'package.json');
  return existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).version === version;
}

function fetchRuntime(name, version) {
  const cache = join(ROOT, '.cache', 'runtime');
  const folder = join(cache, `${name}-${version}`);
  if (existsSync(folder)) return folder;
  const work = `${folder}.${process.pid}.unfinished`;
  mkdirSync(work, { recursive: true });
  try {
    execFileSync('npm', ['pack', `${name}@${version}`, '--silent', '--pack-destination', work], {
      cwd: ROOT,
      stdio: 'pipe',
    });
    const archive = join(work, `${name}-${version}.tgz`);
    checkIntegrity(archive, name, version);
    const members = ['package/bin/node', 'package/LICENSE', 'package/package.json'];
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
