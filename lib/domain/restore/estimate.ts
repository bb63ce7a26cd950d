import type { DumpFormat } from '../backup/keys.ts';

/** Bytes a second, measured by earlier restores on this host. Restoring counts bytes before compression. */
export interface MeasuredRates {
  readonly download?: number | undefined;
  readonly plain?: number | undefined;
  readonly custom?: number | undefined;
}

/** Until something was measured: a modest network (1 GB a minute) and two ordinary cores. */
const USUAL: Required<{ [rate in keyof MeasuredRates]: number }> = {
  download: 17_000_000,
  plain: 40_000_000,
  custom: 60_000_000,
};

export interface RestoreEstimate {
  readonly downloadMs: number;
  readonly restoreMs: number;
  /** False when any part of it rests on the usual rates. */
  readonly measured: boolean;
}

/** @param fetched bytes to download. @param rawSize bytes of the dump before compression */
export function estimateRestore(
  fetched: number,
  rawSize: number,
  format: DumpFormat,
  rates: MeasuredRates | undefined,
): RestoreEstimate {
  const download = rates?.download;
  const restore = rates?.[format];
  return {
    downloadMs: Math.round((fetched / (download ?? USUAL.download)) * 1000),
    restoreMs: Math.round((rawSize / (restore ?? USUAL[format])) * 1000),
    measured: restore !== undefined && (fetched === 0 || download !== undefined),
  };
}

/** Too little to tell a rate by: fixed costs would pass for slowness. */
const LEAST_BYTES = 1_000_000;

/** Earlier rates with what this restore measured; the newest counts most, because machines change. */
export function updateRates(
  earlier: MeasuredRates | undefined,
  measured: readonly {
    readonly rate: keyof MeasuredRates;
    readonly bytes: number;
    readonly milliseconds: number;
  }[],
): MeasuredRates {
  const updated: { -readonly [rate in keyof MeasuredRates]: number | undefined } = { ...earlier };
  for (const { rate, bytes, milliseconds } of measured) {
    if (bytes < LEAST_BYTES || milliseconds <= 0) continue;
    const now = (bytes / milliseconds) * 1000;
    const before = updated[rate];
    updated[rate] = Math.round(before === undefined ? now : before * 0.4 + now * 0.6);
  }
  return updated;
}
