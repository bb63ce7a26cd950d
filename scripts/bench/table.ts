import { median, medianRatio } from './statistics.ts';

/** One run of one contender. */
export interface Measured {
  readonly seconds: number;
  /** User and system time of the command and all that it started; the database server and the S3 are not in it. */
  readonly cpuSeconds: number;
  /** The agent's own process alone: its CPU time and the most memory it ever had resident. */
  readonly agent?: { readonly cpuSeconds: number; readonly peakBytes: number };
  /** Of the backup that it made. */
  readonly fileBytes?: number;
  /** The end of what it printed. */
  readonly said?: string;
}

interface Target {
  readonly ratio: number;
  readonly comparison: '≤' | '<';
}

export interface Row {
  readonly label: string;
  /** One a round. */
  readonly runs: readonly Measured[];
  /** Whose time is 1; `undefined` for the one that is 1 itself. */
  readonly against: readonly Measured[] | undefined;
  readonly target?: Target;
}

/** What a run was held to, and whether it kept it. */
export interface Verdict {
  readonly what: string;
  readonly met: boolean;
}

const HEAD = ['median', 'min–max', 'ratio', 'target', '', 'CPU', 'peak memory', 'file'];
export const PEAK_LIMIT_MB = 300;
const MEGABYTE = 1e6;

/** @param title of the first column */
export function renderRows(title: string, rows: readonly Row[]): string[] {
  return renderMarkdown([title, ...HEAD], rows.map(renderRow));
}

function renderRow(row: Row): string[] {
  const seconds = row.runs.map((run) => run.seconds);
  const verdict = judge(row);
  return [
    row.label,
    formatSeconds(median(seconds)),
    `${formatNumber(Math.min(...seconds))}–${formatNumber(Math.max(...seconds))}`,
    row.against ? ratioOf(row, row.against).toFixed(2) : '1',
    row.target ? `${row.target.comparison} ${row.target.ratio.toFixed(2)}` : '',
    verdict === undefined ? '' : verdict.met ? 'met' : '**missed**',
    formatCpu(row.runs),
    formatPeak(row.runs),
    formatFile(row.runs),
  ];
}

/** `undefined` when nothing was asked of it. */
export function judge(row: Row): Verdict | undefined {
  const { target, against, label } = row;
  if (!target || !against) return undefined;
  // As printed: nobody should read "0.40, target ≤ 0.40, missed".
  const ratio = Number(ratioOf(row, against).toFixed(2));
  return { what: label, met: target.comparison === '<' ? ratio < target.ratio : ratio <= target.ratio };
}

function ratioOf({ runs }: Row, against: readonly Measured[]): number {
  return medianRatio(
    runs.map((run) => run.seconds),
    against.map((run) => run.seconds),
  );
}

function formatCpu(runs: readonly Measured[]): string {
  const all = formatSeconds(median(runs.map((run) => run.cpuSeconds)));
  const agent = runs.flatMap((run) => run.agent?.cpuSeconds ?? []);
  return agent.length === 0 ? all : `${all} (agent ${median(agent).toFixed(1)})`;
}

function formatPeak(runs: readonly Measured[]): string {
  const peak = peakMegabytes(runs);
  return peak === undefined ? '' : `${peak} MB`;
}

function formatFile(runs: readonly Measured[]): string {
  const sizes = runs.flatMap((run) => run.fileBytes ?? []);
  return sizes.length === 0 ? '' : `${Math.round(median(sizes) / MEGABYTE)} MB`;
}

/** The highest of all runs, rounded up; `undefined` where no agent ran. */
export function peakMegabytes(runs: readonly Measured[]): number | undefined {
  const peaks = runs.flatMap((run) => run.agent?.peakBytes ?? []);
  return peaks.length === 0 ? undefined : Math.ceil(Math.max(...peaks) / MEGABYTE);
}

/** The agent's peak memory at several sizes of the database. */
export interface MemoryRow {
  readonly label: string;
  /** One a size. */
  readonly peaksMb: readonly number[];
}

export function renderMemory(gigabytes: readonly number[], rows: readonly MemoryRow[]): string[] {
  const sizes = gigabytes.map((size) => `${size} GB`);
  return renderMarkdown(
    ['peak memory of the agent', ...sizes, 'target', ''],
    rows.map(({ label, peaksMb }) => [
      label,
      ...peaksMb.map((peak) => `${peak} MB`),
      `≤ ${PEAK_LIMIT_MB} MB`,
      peaksMb.every((peak) => peak <= PEAK_LIMIT_MB) ? 'met' : '**missed**',
    ]),
  );
}

/** Columns padded as prettier would, so that a written table is a formatted one. */
export function renderMarkdown(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((cell, column) =>
    Math.max(3, cell.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[], alignRight: boolean): string => {
    const padded = widths.map((width, column) => {
      const cell = cells[column] ?? '';
      return alignRight && column > 0 ? cell.padStart(width) : cell.padEnd(width);
    });
    return `| ${padded.join(' | ')} |`;
  };
  const rule = widths.map((width, column) =>
    column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [line(head, true), line(rule, false), ...rows.map((row) => line(row, true))];
}

/** `52.3 s`, and `0.42 s` below one second. */
export function formatSeconds(seconds: number): string {
  return `${formatNumber(seconds)} s`;
}

function formatNumber(seconds: number): string {
  return seconds.toFixed(seconds < 1 ? 2 : 1);
}
