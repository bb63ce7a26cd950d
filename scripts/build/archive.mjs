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
  // Owned by root on the host, and the same bytes from the same sources, whoever built it and when: other bytes would be
  // another version to the deployment, which every host would install anew.
  const owner = ['--owner=0', '--group=0', '--numeric-owner', '--mode=u+rwX,go+rX,go-w'];
  const order = ['--format=gnu', '--sort=name', '--mtime=@0'];
  const compress = ['--use-compress-program=gzip -n'];
  const args = ['-cf', archive, ...owner, ...order, ...compress, '-C', dirname(folder), name];
  execFileSync('tar', args, { stdio: 'pipe' });
  return archive;
}
