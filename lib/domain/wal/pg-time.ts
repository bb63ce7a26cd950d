import { LifeboatError } from '../errors.ts';

/**
 * PostgreSQL's TimestampTz, microseconds since 2000-01-01 UTC in a signed 64-bit integer, and the same instant as text with
 * all six decimals: `2026-01-17T08:54:59.123456Z`. Texts of this form sort as the instants do; a Date would drop the last
 * three decimals, and with them which of two commits came first.
 */
export type PgTime = bigint;

const EPOCH_MS = Date.UTC(2000, 0, 1);
const ISO = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,6}))?Z$/;

/** @throws LifeboatError CORRUPT for an instant outside of the years 0 to 9999, infinity above all */
export function formatPgTime(time: PgTime): string {
  const micros = time % 1_000_000n;
  const fraction = micros < 0n ? micros + 1_000_000n : micros;
  const date = new Date(EPOCH_MS + Number((time - fraction) / 1000n));
  const text = Number.isNaN(date.getTime()) ? '' : date.toISOString();
  if (!/^\d{4}-/.test(text))
    throw new LifeboatError('CORRUPT', `${time} µs since 2000 is no time of a commit`);
  return `${text.slice(0, 19)}.${String(fraction).padStart(6, '0')}Z`;
}

/** @param text ISO 8601 in UTC with up to six decimals; `undefined` for anything else, a date that does not exist too */
export function tryParsePgTime(text: string): PgTime | undefined {
  const [, seconds, decimals = ''] = ISO.exec(text) ?? [];
  if (seconds === undefined) return undefined;
  const date = new Date(`${seconds}Z`);
  if (Number.isNaN(date.getTime()) || date.toISOString().slice(0, 19) !== seconds) return undefined;
  return BigInt(date.getTime() - EPOCH_MS) * 1000n + BigInt(decimals.padEnd(6, '0'));
}

/** @throws LifeboatError CORRUPT naming the text */
export function parsePgTime(text: string): PgTime {
  const time = tryParsePgTime(text);
  if (time !== undefined) return time;
  throw new LifeboatError(
    'CORRUPT',
    `${JSON.stringify(text)} is no time in UTC; one looks like 2026-01-17T08:54:59.123456Z`,
  );
}

/** Microseconds since 2000-01-01 UTC. */
export function pgTimeOfDate(date: Date): PgTime {
  return BigInt(date.getTime() - EPOCH_MS) * 1000n;
}

/** Cut to whole milliseconds, downwards. */
export function dateOfPgTime(time: PgTime): Date {
  const rest = time % 1000n;
  return new Date(EPOCH_MS + Number((time - (rest < 0n ? rest + 1000n : rest)) / 1000n));
}
