import type { DumpEncoding } from '../../../../lib/domain/backup/keys.ts';

/** What was asked for, settings and options in one. */
export interface BackupRequest {
  readonly app: string;
  readonly database: string;
  readonly user: string;
  readonly encoding: DumpEncoding;
  readonly level: number | undefined;
  readonly localRetentionDays: number;
  readonly runId: string;
  readonly lifeboatVersion: string;
  readonly allowStandby: boolean;
  readonly adoptSeries: boolean;
  readonly dryRun: boolean;
}
