import { mkdir, open } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Environment } from '../environment.ts';
import type { RunClaims } from '../ports/run.ts';
import { onDisk, syncFolder } from './durable-file.ts';

/**
 * A file for each run id, made with O_EXCL: of two processes at once, one makes it. It is never removed, so a run that was
 * killed is not done a second time either: who asks again does so under another id.
 */
export function openRunClaims(folder: string, note: string): RunClaims {
  return {
    claim: async (runId) => {
      const path = join(folder, runId);
      return await onDisk(`Cannot note the run in ${folder}`, async () => {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        if (!(await create(path, note))) return false;
        await syncFolder(folder);
        return true;
      });
    },
  };
}

async function create(path: string, note: string): Promise<boolean> {
  const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined;
    throw error;
  });
  if (!file) return false;
  try {
    // The name is the claim. A full disk, which still takes empty files, must not cost the backup that goes to S3.
    await file.writeFile(`${note}\n`).catch(() => undefined);
    await file.sync();
    return true;
  } finally {
    await file.close();
  }
}

/**
 * Root's own folder, where the series' user cannot make a run look done, nor done runs look new; another user's in their
 * home (https://specifications.freedesktop.org/basedir-spec/latest/). STATE_DIRECTORY is systemd's word for it
 * (systemd.exec(5)) and wins.
 */
export function runClaimsFolder(environment: Environment): string {
  const given = environment['STATE_DIRECTORY']?.split(':')[0];
  if (given) return join(given, 'runs');
  if (process.getuid?.() === 0) return '/var/lib/lifeboat/runs';
  const ofUser = environment['XDG_STATE_HOME'] || join(homedir(), '.local', 'state');
  return join(ofUser, 'lifeboat', 'runs');
}
