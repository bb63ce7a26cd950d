/** Estimates for people; what was measured goes before what was assumed. */

/** US East (N. Virginia), STANDARD_IA, USD a GB and month: https://aws.amazon.com/s3/pricing/ */
const STANDARD_IA_PER_GB_MONTH = 0.0125;
const PUT_PER_THOUSAND = 0.01;
const GB = 1e9;
const PUTS_PER_BACKUP = 3;

/** @param storedBytes what lies in S3 now. @returns USD a month with a backup each day */
export function monthlyS3Cost(storedBytes: number): number {
  return (storedBytes / GB) * STANDARD_IA_PER_GB_MONTH + ((30 * PUTS_PER_BACKUP) / 1000) * PUT_PER_THOUSAND;
}

/** Of the user's guide, until this host has restored once: two minutes a GB to restore, one to download. */
const ASSUMED_RESTORE_BYTES_PER_SECOND = GB / 120;
const ASSUMED_DOWNLOAD_BYTES_PER_SECOND = GB / 60;

export interface RestoreEstimate {
  readonly localMs: number;
  readonly s3Ms: number;
  /** False when no restore was measured on this host yet. */
  readonly measured: boolean;
}

/** @param restores finished restores on this host, newest last */
export function estimateRestore(
  dump: { readonly size: number; readonly rawSize: number },
  restores: readonly { readonly durationMs: number; readonly rawBytes: number }[],
): RestoreEstimate {
  const last = restores.filter(({ rawBytes, durationMs }) => rawBytes > 0 && durationMs > 0).at(-1);
  const localMs = last
    ? (dump.rawSize / last.rawBytes) * last.durationMs
    : (dump.rawSize / ASSUMED_RESTORE_BYTES_PER_SECOND) * 1000;
  const downloadMs = (dump.size / ASSUMED_DOWNLOAD_BYTES_PER_SECOND) * 1000;
  return { localMs, s3Ms: localMs + downloadMs, measured: last !== undefined };
}
