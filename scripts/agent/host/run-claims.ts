import { lstat, mkdir, open, readdir, unlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { runTime } from '../../../lib/domain/run/run-id.ts';
import type { Environment } from '../environment.ts';
import type { RunClaims } from '../ports/run.ts';
import { onDisk, syncFolder } from './durable-file.ts';

/** The state bucket forgets a run's result after as long (lib/infra/storage/lifecycle.ts). */
const KEPT_MS = 90 * 24 * 60 * 60 * 1000;

/**
 * A file for each run id, made with O_EXCL: of two processes at once, one makes it. It outlives the run, so a run that was
 * killed is not done a second time either: who asks again does so under another id. After 90 days it is removed, and from
 * then on no run of that time is taken on any more.
 */
export function openRunClaims(folder: string, note: string): RunClaims {
  return {
    claim: async (runId) => {
      const path = join(folder, runId);
      return await onDisk(`Cannot note the run in ${folder}`, async () => {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        const others = await readdir(folder);
        if (isForgotten(runId, others)) return false;
        if (!(await create(path, note))) return false;
        await syncFolder(folder);
        await removeOld(folder, runId, others);
        return true;
      });
    },
  };
}

/** Whether a run of that time may have been done and its note removed. */
function isForgotten(runId: string, others: readonly string[]): boolean {
  const newest = Math.max(...others.map((name) => runTime(name)?.getTime() ?? -Infinity));
  const time = runTime(runId);
  return time !== undefined && newest - time.getTime() > KEPT_MS;
}

/**
 * Old by the ids, which a Lambda's clock made, and by this host's files: one clock that was set wrong removes nothing. What
 * is not ours, or cannot be removed, stays: a note too many does no harm.
 */
async function removeOld(folder: string, runId: string, others: readonly string[]): Promise<void> {
  const now = runTime(runId)?.getTime() ?? -Infinity;
  for (const name of others) {
    const time = runTime(name)?.getTime();
    if (time === undefined || now - time <= KEPT_MS) continue;
    const path = join(folder, name);
    try {
      const found = await lstat(path);
      if (found.isFile() && Date.now() - found.mtimeMs > KEPT_MS) await unlink(path);
    } catch {
      // It is tried again with the next run.
    }
  }
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
