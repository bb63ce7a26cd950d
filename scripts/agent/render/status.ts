import { displayName } from '../../../lib/domain/backup/series.ts';
import { formatBytes, formatCount, formatDuration, formatTime } from '../../../lib/domain/quantities.ts';
import { describeWindow, windowJson } from '../../../lib/domain/wal/window-report.ts';
import type { StatusResult } from '../commands/catalog/status.ts';
import { renderErrorAsJson } from './error.ts';

const STEPS = '▁▂▃▄▅▆▇█';
const STORE_NAME: Readonly<Record<string, string>> = { local: 'Local', s3: 'S3' };

export function renderStatus(result: StatusResult): string[] {
  const { lastGood, lastBase, lastFailure, monthlyCost, restore } = result;
  return [
    `${result.failure ? '❌' : '✅'} ${displayName(result.app)}`,
    `Last good backup  ${lastGood ? `${lastGood.id}, ${formatDuration(lastGood.ageMs)} ago (${lastGood.stores.map(nameOf).join(' and ')})` : 'none'}`,
    ...(lastBase
      ? [
          `Last base backup  ${lastBase.label}, ${formatDuration(lastBase.ageMs)} ago (${lastBase.stores.map(nameOf).join(' and ')})`,
        ]
      : []),
    ...(result.window
      ? describeWindow(result.window).map(
          (line, index) => `${index === 0 ? 'Restorable      ' : ' '.repeat(16)}  ${line}`,
        )
      : []),
    `Allowed age       ${formatDuration(result.maxAgeMs)}`,
    ...renderTrend(result.trend),
    `Last failure      ${lastFailure ? `${formatTime(new Date(lastFailure.at))} ${lastFailure.operation}: ${firstLine(lastFailure.message ?? '')}` : 'none on record'}`,
    ...result.stored.map(
      ({ store, backups, bytes }) =>
        `${nameOf(store).padEnd(16)}  ${formatCount(backups, 'good backup')}, ${formatBytes(bytes)}`,
    ),
    `Free disk         ${formatBytes(result.freeBytes)}`,
    ...(monthlyCost === undefined
      ? []
      : [`S3 cost           about $${monthlyCost.toFixed(2)} a month (STANDARD_IA)`]),
    ...(restore ? [`Restore time      ${renderRestore(restore)}`] : []),
  ];
}

function renderRestore({ localMs, s3Ms, measured }: NonNullable<StatusResult['restore']>): string {
  const basis = measured ? 'measured on this host' : 'assumed: nothing was restored on this host yet';
  return `about ${formatDuration(localMs)} from the local copy, ${formatDuration(s3Ms)} from S3 (${basis})`;
}

/** One column a backup, scaled between nothing and the largest. */
function renderTrend(trend: StatusResult['trend']): string[] {
  if (trend.length === 0) return [];
  const largest = Math.max(...trend.map(({ bytes }) => bytes));
  const bars = trend.map(
    ({ bytes }) => STEPS[Math.min(STEPS.length - 1, Math.floor((bytes / largest) * STEPS.length))],
  );
  const [first, last] = [trend[0]!, trend.at(-1)!];
  const change =
    trend.length > 1
      ? `, ${percent(first.bytes, last.bytes)} since ${formatTime(first.time).slice(0, 10)}`
      : '';
  return [`Size trend        ${bars.join('')}  ${formatBytes(last.bytes)}${change}`];
}

function percent(from: number, to: number): string {
  const change = Math.round(((to - from) / from) * 100);
  return `${change >= 0 ? '+' : ''}${change}%`;
}

function nameOf(store: string): string {
  return STORE_NAME[store] ?? store;
}

function firstLine(text: string): string {
  return text.split('\n')[0]!;
}

export function statusAsJson(result: StatusResult): unknown {
  const { failure, trend, lastFailure, ...rest } = result;
  return {
    operation: 'status',
    ...rest,
    lastGood: rest.lastGood ?? null,
    lastBase: rest.lastBase ?? null,
    window: rest.window ? windowJson(rest.window) : null,
    lastFailure: lastFailure ?? null,
    trend: trend.map(({ id, time, bytes }) => ({ id, time: time.toISOString(), bytes })),
    ...(failure ? (renderErrorAsJson(failure) as object) : { succeeded: true }),
  };
}
