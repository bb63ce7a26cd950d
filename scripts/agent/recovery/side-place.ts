import path from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { lookAt } from './work-files.ts';

const MOST_KEPT = 9;

/**
 * Where a side cluster lies when nobody says where: in the same folder each time, so that the next run finds and clears away
 * what a killed one left; beside one that was kept, under the next number.
 * @throws LifeboatError RESTORE_REFUSED when there are too many
 */
export async function chooseSideFolder(backupDir: string, app: string): Promise<string> {
  for (let number = 1; number <= MOST_KEPT; number += 1) {
    const folder = path.join(backupDir, `recovered_${app}${number === 1 ? '' : `_${number}`}`);
    if (await isFree(folder)) return folder;
  }
  throw new LifeboatError(
    'RESTORE_REFUSED',
    `${MOST_KEPT} recovered clusters of ${app} were kept in ${backupDir}`,
    { hint: 'End and remove those that nobody needs, or name another place with --data-dir.' },
  );
}

async function isFree(folder: string): Promise<boolean> {
  try {
    await lookAt(folder);
    return true;
  } catch (error) {
    if (error instanceof LifeboatError && error.code === 'RESTORE_REFUSED') return false;
    throw error;
  }
}
