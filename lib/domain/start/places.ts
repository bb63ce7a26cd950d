import type { DeploymentConfig, SeriesConfig } from '../deployment/config.ts';

/** One host that a series is backed up on. */
export interface Target {
  readonly series: SeriesConfig;
  readonly instanceId: string;
}

/** Where a host's backups lie: hosts that were chosen by tag have a folder each, or they would meet under one app name. */
export function backupPrefix({ storage }: DeploymentConfig, { series, instanceId }: Target): string {
  return 'tag' in series.host ? `${storage.prefix}/${instanceId}` : storage.prefix;
}

/** As in `i-0123456789abcdef0`; hosts outside of EC2 that SSM manages have `mi-…`. */
export function isInstanceId(text: string): boolean {
  return /^m?i-[0-9a-f]{8,17}$/.test(text);
}
