import { realpath } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { Environment } from '../environment.ts';

/**
 * What a scheduler is to start: the bundle's own launcher, or the checkout's backup-db.sh, neither of which needs Node
 * in PATH. A symbolic link by which the launcher was called is kept: it survives an update of what it points at.
 */
export async function findBackupCommand(
  environment: Environment,
  here = import.meta.dirname,
): Promise<string[]> {
  const launcher = await findLauncher(environment, here);
  return launcher === undefined ? [join(here, '..', '..', 'backup-db.sh')] : [launcher, 'backup'];
}

/** The same for the stream of WAL: the bundle's own launcher, or the checkout's. */
export async function findWalCommand(
  environment: Environment,
  here = import.meta.dirname,
): Promise<string[]> {
  const launcher = await findLauncher(environment, here);
  return [launcher ?? join(here, '..', '..', 'lifeboat.sh'), 'wal', 'stream'];
}

async function findLauncher(environment: Environment, here: string): Promise<string | undefined> {
  const bundled = join(here, '..', 'bin', 'lifeboat');
  const launcher = await realpath(bundled).catch(() => undefined);
  if (launcher === undefined) return undefined;
  const called = environment['LIFEBOAT_LAUNCHER'] ?? '';
  const same = isAbsolute(called) && (await realpath(called).catch(() => undefined)) === launcher;
  return same ? called : launcher;
}
