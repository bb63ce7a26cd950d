import { LifeboatError } from '../errors.ts';

/** A position in the write-ahead log: bytes since its beginning, 64 bits. */
export type Lsn = bigint;

const LARGEST = 0xffff_ffff_ffff_ffffn;

/**
 * As PostgreSQL writes it: the upper and the lower 32 bits in hexadecimal, `16/B374D848`.
 * @throws LifeboatError USAGE naming the text
 */
export function parseLsn(text: string): Lsn {
  const lsn = tryParseLsn(text);
  if (lsn !== undefined) return lsn;
  throw new LifeboatError('USAGE', `${JSON.stringify(text)} is no LSN; one looks like 16/B374D848`);
}

/** The same; `undefined` for what is no LSN. */
export function tryParseLsn(text: string): Lsn | undefined {
  const [, upper, lower] = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text) ?? [];
  if (upper === undefined || lower === undefined) return undefined;
  return (BigInt(`0x${upper}`) << 32n) | BigInt(`0x${lower}`);
}

/** `16/B374D848`, without leading zeros, as PostgreSQL 14 to 18 print it. */
export function formatLsn(lsn: Lsn): string {
  requireLsn(lsn);
  return `${hex(lsn >> 32n)}/${hex(lsn & 0xffff_ffffn)}`;
}

/** 16 hexadecimal digits, so that keys sort as the LSNs do. */
export function formatLsnDigits(lsn: Lsn): string {
  requireLsn(lsn);
  return hex(lsn).padStart(16, '0');
}

/** The reverse of `formatLsnDigits`; `undefined` for anything else. */
export function parseLsnDigits(text: string): Lsn | undefined {
  return /^[0-9A-F]{16}$/.test(text) ? BigInt(`0x${text}`) : undefined;
}

function requireLsn(lsn: Lsn): void {
  if (lsn >= 0n && lsn <= LARGEST) return;
  throw new LifeboatError('BUG', `${lsn} is no LSN: it does not fit 64 bits`);
}

function hex(value: bigint): string {
  return value.toString(16).toUpperCase();
}
