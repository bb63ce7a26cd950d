import type { MeasuredRates } from '../../../lib/domain/restore/estimate.ts';
import type { DumpFiles } from './dump-files.ts';
import type { LongWork } from './host.ts';
import type { ObjectStore } from './store.ts';
import type { TargetServer } from './target-server.ts';

/** Everything that `restore` touches. */
export interface RestorePorts extends LongWork {
  /** The series whose `latest` is meant. */
  readonly app: string;
  /** BACKUP_DIR first, then the bucket where one is configured: a copy that lies here needs no download. */
  readonly stores: readonly ObjectStore[];
  /** A whole bucket, for `s3://` URLs that lead elsewhere than the configured prefix; keys are complete. */
  openBucket(bucket: string): Promise<ObjectStore>;
  readonly files: DumpFiles;
  connectServer(target: string): Promise<TargetServer>;
  readonly rates: RateBook;
  /** Parallel jobs of pg_restore when the request names none. */
  readonly jobs: number;
}

/** How fast earlier restores on this host were; missing or unreadable is no error, the plan then uses set rates. */
export interface RateBook {
  read(): Promise<MeasuredRates | undefined>;
  record(rates: MeasuredRates): Promise<void>;
}
