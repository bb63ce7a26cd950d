/** How a run ended, as far as people are told of it. Times are UTC, sizes bytes, durations milliseconds. */

export interface RunFailure {
  /** A code of lib/domain/errors.ts. */
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

interface RunFacts {
  readonly app: string;
  readonly host: string;
  readonly runId: string;
  readonly database: string;
  readonly durationMs: number;
  /** What was not done or could not be checked, such as missing role passwords; each is one sentence. */
  readonly warnings: readonly string[];
}

/** What the manifest counted, or the restore compared. */
export interface RowTotals {
  readonly tables: number;
  readonly rows: number;
}

export interface LastGoodBackup {
  readonly id: string;
  readonly finishedAt: Date;
}

export type BackupOutcome = RunFacts &
  (
    | {
        readonly succeeded: true;
        readonly id: string;
        /** The dump's name without its folder. */
        readonly file: string;
        readonly bytes: number;
        /** Where the dump lies: paths and `s3://` URLs. */
        readonly locations: readonly string[];
        readonly totals: RowTotals;
      }
    | {
        readonly succeeded: false;
        readonly error: RunFailure;
        /** The newest verified backup of the series; `undefined` when there is none, `'unknown'` when nobody could look. */
        readonly lastGood: LastGoodBackup | 'unknown' | undefined;
      }
  );

export type RestoreOutcome = RunFacts & {
  /** What was asked for and found: an id, a path or an `s3://` URL. */
  readonly source: string;
} & (
    | {
        readonly succeeded: true;
        /** `undefined`: the backup had no manifest to compare with. */
        readonly checked: RowTotals | undefined;
        /** The name under which the replaced database is kept. */
        readonly keptAs: string | undefined;
        /** What a recovery before it reached, a line each. */
        readonly recovered?: readonly string[];
      }
    | {
        readonly succeeded: false;
        readonly error: RunFailure;
        /** Whether the target is certainly as it was before the run. */
        readonly targetUntouched: boolean;
      }
  );
