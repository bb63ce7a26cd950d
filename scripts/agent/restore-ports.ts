import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { openDumpFiles } from './data-path/archive-files.ts';
import { openRateBook } from './data-path/restore-rates.ts';
import type { LongWork } from './ports/host.ts';
import type { RestorePorts } from './ports/restore.ts';
import type { ObjectStore } from './ports/store.ts';
import { connectTargetServer } from './postgres/restore-server.ts';
import { openS3Store } from './s3/s3-store.ts';
import type { Settings } from './settings.ts';

/** What a restore needs of the command's context. */
export interface RestoreGround extends LongWork {
  readonly settings: Settings;
  readonly stores: readonly (ObjectStore | undefined)[];
}

/** Connects nothing yet. */
export function openRestorePorts(ground: RestoreGround): RestorePorts {
  const { settings } = ground;
  const { environment } = settings;
  return {
    ...ground,
    app: settings.app,
    stores: ground.stores.filter((store) => store !== undefined),
    // A bucket of another series, region or account; AWS’ own variables say how it is reached.
    openBucket: (bucket): Promise<ObjectStore> =>
      Promise.resolve(
        openS3Store(
          { bucket, prefix: '', stateBucket: bucket, kmsKeyId: settings.s3?.kmsKeyId },
          { environment, interrupted: ground.interrupted },
        ),
      ),
    files: openDumpFiles(settings.backupDir),
    connectServer: (target) => connectTargetServer(settings.database, environment, target),
    rates: openRateBook(join(settings.backupDir, 'restore-rates.json')),
    jobs: settings.restoreJobs ?? availableParallelism(),
  };
}
