/** What was asked for, settings and options in one. */
export interface BaseBackupRequest {
  readonly app: string;
  /** zstd's; 1 when left out. */
  readonly level: number | undefined;
  /** Only what changed since the newest backup, where the server can tell. */
  readonly incremental: boolean;
  readonly localRetentionDays: number;
  readonly runId: string;
  readonly lifeboatVersion: string;
  readonly allowStandby: boolean;
  readonly dryRun: boolean;
}
