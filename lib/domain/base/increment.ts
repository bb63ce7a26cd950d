import { isFromFuture } from '../backup/catalog.ts';
import { isUsable, type Base } from './base-catalog.ts';
import type { BaseManifest } from './base-manifest.ts';

/** What the next base backup builds upon; for a full one why, where an incremental one was asked for. */
export type Increment =
  | { readonly type: 'full'; readonly reason: string | undefined }
  | { readonly type: 'incremental'; readonly parent: BaseManifest };

export interface IncrementQuestion {
  readonly wanted: boolean;
  readonly server: {
    readonly versionNumber: number;
    readonly systemIdentifier: string;
    readonly summarizesWal: boolean;
  };
  /** In the store that the backup goes to, newest first. */
  readonly bases: readonly Base[];
  readonly now: Date;
}

const FIRST_VERSION = 17_00_00;
const DAY_MS = 24 * 60 * 60 * 1000;
/** Nightly runs do not begin on the second: the full backup of the same night a week ago counts as a week old. */
const LONGEST_CHAIN_MS = 7 * DAY_MS - DAY_MS / 2;

/** A full backup a week, and on it, or on what was built on it since, the others. */
export function decideIncrement({ wanted, server, bases, now }: IncrementQuestion): Increment {
  if (!wanted) return full(undefined);
  if (server.versionNumber < FIRST_VERSION) {
    return full(`PostgreSQL ${Math.floor(server.versionNumber / 10_000)} has no incremental ones (17 has)`);
  }
  if (!server.summarizesWal) {
    return full(
      'the server’s summarize_wal is off (ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf();)',
    );
  }
  const own = bases.filter(({ series }) => series.systemIdentifier === server.systemIdentifier);
  const parent = own.filter(isUsable).find((base) => !isFromFuture(base.time, now) && !holdsDamage(base));
  if (!parent) return full('there is no whole one of this cluster yet');
  const [first] = parent.chain;
  const age = now.getTime() - Date.parse(first!.startedAt);
  if (age >= LONGEST_CHAIN_MS) return full(`the last full one, ${first!.label}, is a week old`);
  if (!parent.manifest.backupManifest) return full(`${parent.label} has no backup manifest`);
  return { type: 'incremental', parent: parent.manifest };
}

function full(reason: string | undefined): Increment {
  return { type: 'full', reason };
}

/** Whether PostgreSQL found damaged pages in what it sent: restorable, but no backup that others may rely on. */
export function holdsDamage({ chain }: Base): boolean {
  return chain.some(({ pageChecksums }) => pageChecksums.failures > 0);
}
