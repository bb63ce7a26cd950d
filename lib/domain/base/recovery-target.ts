import { LifeboatError } from '../errors.ts';
import { formatLsn, parseLsn, type Lsn } from '../wal/lsn.ts';
import { formatPgTime, tryParsePgTime } from '../wal/pg-time.ts';
import { requireBaseLabel } from './base-label.ts';

/** Where recovery is to stop: https://www.postgresql.org/docs/current/runtime-config-wal.html#RUNTIME-CONFIG-WAL-RECOVERY-TARGET */
export type RecoveryTarget =
  /** ISO 8601, UTC, microseconds. */
  | { readonly kind: 'time'; readonly time: string; readonly inclusive: boolean }
  | { readonly kind: 'lsn'; readonly lsn: Lsn; readonly inclusive: boolean }
  /** 32 bits, as in WAL. */
  | { readonly kind: 'xid'; readonly xid: number; readonly inclusive: boolean }
  /** Of a restore point made with pg_create_restore_point. */
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'latest' }
  /** As soon as the base backup is consistent. */
  | { readonly kind: 'immediate' };

export interface RecoveryRequest {
  readonly target: RecoveryTarget;
  /** `undefined`: chosen by the plan. */
  readonly timeline: number | undefined;
  /** A label; `undefined`: chosen by the plan. */
  readonly base: string | undefined;
}

/** As typed. */
export interface RecoveryOptions {
  readonly toTime?: string | undefined;
  readonly toLsn?: string | undefined;
  readonly toXid?: string | undefined;
  readonly toName?: string | undefined;
  readonly latest?: boolean | undefined;
  readonly immediate?: boolean | undefined;
  /** Stop before what is named, not behind it. */
  readonly exclusive?: boolean | undefined;
  readonly timeline?: string | undefined;
  readonly base?: string | undefined;
}

/** @throws LifeboatError USAGE unless exactly one target is given, and is one */
export function parseRecoveryRequest(options: RecoveryOptions): RecoveryRequest {
  const inclusive = options.exclusive !== true;
  const { toTime, toLsn, toXid, toName } = options;
  const targets: RecoveryTarget[] = [];
  if (toTime !== undefined) targets.push({ kind: 'time', time: parseTargetTime(toTime), inclusive });
  if (toLsn !== undefined) targets.push({ kind: 'lsn', lsn: parseLsn(toLsn), inclusive });
  if (toXid !== undefined) targets.push({ kind: 'xid', xid: parseXid(toXid), inclusive });
  if (toName !== undefined) targets.push({ kind: 'name', name: parseRestorePointName(toName) });
  if (options.latest === true) targets.push({ kind: 'latest' });
  if (options.immediate === true) targets.push({ kind: 'immediate' });
  const [target, another] = targets;
  if (!target || another) {
    const seen = target ? `${targets.length} recovery targets` : 'no recovery target';
    throw new LifeboatError('USAGE', `${seen}: one is needed, a time, an LSN, an xid, a name, or the latest`);
  }
  if (!inclusive && !('inclusive' in target)) {
    throw new LifeboatError('USAGE', `a recovery to ${describeTarget(target)} cannot stop before it`);
  }
  const { timeline, base } = options;
  if (base !== undefined) requireBaseLabel(base);
  return { target, timeline: timeline === undefined ? undefined : parseTimelineNumber(timeline), base };
}

const TIME = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?(?:\.(\d+))?\s*(.*)$/;

/**
 * A date and a time of day with its zone, as `2026-01-17T08:54:59Z`, `2026-01-17 09:54:59.123456+01`, `… +01:00`, `… UTC`.
 * @returns ISO 8601, UTC, microseconds
 * @throws LifeboatError USAGE: a time without a zone means another instant on another machine
 */
export function parseTargetTime(text: string): string {
  const [, day, minutes, seconds = ':00', decimals = '', zone = ''] = TIME.exec(text.trim()) ?? [];
  const offset = parseZone(zone);
  const local =
    day === undefined ? undefined : tryParsePgTime(`${day}T${minutes}${seconds}.${decimals || '0'}Z`);
  if (local !== undefined && offset !== undefined) return formatPgTime(local - BigInt(offset) * 60_000_000n);
  const example = {
    hint: 'Write it as in 2026-01-17T08:54:59Z, or with an offset: 2026-01-17T09:54:59+01:00',
  };
  if (local !== undefined && zone === '') {
    throw new LifeboatError(
      'USAGE',
      `${JSON.stringify(text)} has no time zone: which instant it means would depend on the machine`,
      example,
    );
  }
  throw new LifeboatError('USAGE', `${JSON.stringify(text)} is no time with a time zone`, example);
}

/** Minutes east of Greenwich; names other than UTC's are refused: what they mean changes with the date and the machine. */
function parseZone(zone: string): number | undefined {
  if (/^(?:z|utc|gmt)$/i.test(zone)) return 0;
  const [, sign, hours, minutes = '00'] = /^([+-])(\d{2})(?::?(\d{2}))?$/.exec(zone) ?? [];
  if (hours === undefined || Number(hours) > 15 || Number(minutes) > 59) return undefined;
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}

const FIRST_NORMAL_XID = 3n;

/** 32 bits, or 64 as pg_current_xact_id() gives them: WAL holds the lower half. */
function parseXid(text: string): number {
  if (/^\d{1,20}$/.test(text) && BigInt(text) <= 0xffff_ffff_ffff_ffffn) {
    const xid = BigInt(text) & 0xffff_ffffn;
    if (xid >= FIRST_NORMAL_XID) return Number(xid);
  }
  throw new LifeboatError('USAGE', `${JSON.stringify(text)} is no transaction id; one looks like 123456`);
}

/** PostgreSQL's limit is 63 bytes. A line break would end the setting that it is written into. */
function parseRestorePointName(text: string): string {
  const bytes = new TextEncoder().encode(text).length;
  // oxlint-disable-next-line no-control-regex -- control characters are what is refused
  if (bytes >= 1 && bytes <= 63 && !/[\u0000-\u001f\u007f]/.test(text)) return text;
  throw new LifeboatError(
    'USAGE',
    `${JSON.stringify(text)} is no name of a restore point: 1 to 63 bytes, without control characters`,
  );
}

function parseTimelineNumber(text: string): number {
  const timeline = Number(text);
  if (/^\d{1,10}$/.test(text) && timeline >= 1 && timeline <= 0xffff_ffff) return timeline;
  throw new LifeboatError('USAGE', `${JSON.stringify(text)} is no timeline; they are counted from 1`);
}

/** For people, behind “recovery to”. */
export function describeTarget(target: RecoveryTarget): string {
  switch (target.kind) {
    case 'time':
      return target.time;
    case 'lsn':
      return `the LSN ${formatLsn(target.lsn)}`;
    case 'xid':
      return `transaction ${target.xid}`;
    case 'name':
      return `the restore point ${JSON.stringify(target.name)}`;
    case 'latest':
      return 'the latest commit';
    case 'immediate':
      return 'the end of the base backup';
  }
}
