/** What the rounds come to. */

/** @throws RangeError when there is nothing to take it of */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  if (upper === undefined || lower === undefined) throw new RangeError('no values to take a median of');
  return (lower + upper) / 2;
}

/**
 * The median of the rounds' own ratios. Both runs of a round lie minutes apart and rounds many, so a machine that gets
 * slower meanwhile shifts both alike; a ratio of two medians may take them from different rounds.
 * @throws RangeError when the rounds do not pair up
 */
export function medianRatio(values: readonly number[], baseline: readonly number[]): number {
  if (values.length !== baseline.length)
    throw new RangeError(`${values.length} rounds against ${baseline.length}`);
  return median(values.map((value, round) => value / (baseline[round] ?? Number.NaN)));
}
