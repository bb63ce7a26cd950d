import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/**
 * Packs an agent's folder as lifeboat-<version>-<platform>-<arch>.tar.gz beside it.
 * @returns {string} the archive's path
 */
export function packFolder(folder) {
  const version = readFileSync(join(folder, 'VERSION'), 'utf8').trim();
  const name = basename(folder);
  const archive = join(dirname(folder), `lifeboat-${version}-${name}.tar.gz`);
  // Owned by root on the host, whoever built it.
  const owner = ['--owner=0', '--group=0', '--numeric-owner'];
  execFileSync('tar', ['-czf', archive, ...owner, '-C', dirname(folder), name], { stdio: 'pipe' });
  return archive;
}
