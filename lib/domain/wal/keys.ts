import { parseBaseLabel } from '../base/base-label.ts';
import { LifeboatError } from '../errors.ts';
import { formatLsnDigits, parseLsnDigits, type Lsn } from './lsn.ts';
import { tryParsePgTime } from './pg-time.ts';
import { formatTimeline, parseTimeline, timelineOfSegment } from './segment.ts';

/**
 * The keys of point-in-time recovery, relative to the store's prefix. What is kept lies below `pitr/` in the backup bucket;
 * the open segment's pieces, the records of holes and of timelines in use lie in the state bucket. Every key is written once.
 */

/** One cluster of one app; a new cluster (pg_upgrade, initdb) has another system identifier and never meets the old one. */
export interface WalSeries {
  readonly app: string;
  /** 64 bits, decimal. */
  readonly systemIdentifier: string;
}

/** Everything of an app, whatever the cluster: a listing prefix. */
export function pitrAppPrefix(app: string): string {
  return `pitr/${requireApp(app)}/`;
}

/** Everything of one cluster in the backup bucket. */
export function pitrPrefix(app: string, systemIdentifier: string): string {
  return `${pitrAppPrefix(app)}${requireIdentifier(systemIdentifier)}/`;
}

/** Complete segments, ended timelines' last ones and history files. */
export function walPrefix({ app, systemIdentifier }: WalSeries): string {
  return `${pitrPrefix(app, systemIdentifier)}wal/`;
}

/** @param segment 24 hexadecimal digits, of this timeline */
export function walKey(series: WalSeries, timeline: number, segment: string): string {
  return `${segmentStem(series, timeline, segment)}.zst`;
}

/** The last, incomplete segment of a timeline that has ended. */
export function partialWalKey(series: WalSeries, timeline: number, segment: string): string {
  return `${segmentStem(series, timeline, segment)}.partial.zst`;
}

function segmentStem(series: WalSeries, timeline: number, segment: string): string {
  requireSegment(timeline, segment);
  return `${walPrefix(series)}${formatTimeline(timeline)}/${segment}`;
}

export function historyKey(series: WalSeries, timeline: number): string {
  return `${walPrefix(series)}${formatTimeline(timeline)}.history`;
}

/** All base backups of one cluster. */
export function basesPrefix({ app, systemIdentifier }: WalSeries): string {
  return `${pitrPrefix(app, systemIdentifier)}base/`;
}

/** @param label of this app */
export function basePrefix(series: WalSeries, label: string): string {
  if (parseBaseLabel(label)?.app !== series.app) {
    throw new LifeboatError(
      'BUG',
      `${JSON.stringify(label)} is no base backup of ${JSON.stringify(series.app)}`,
    );
  }
  return `${basesPrefix(series)}${label}/`;
}

/** A series of volumes: the data directory, one tablespace, the WAL of the backup's own duration, configuration elsewhere. */
export type VolumeSeries = 'base' | 'wal' | 'config' | `ts-${number}`;

const CONFIG_VOLUME = 'config.tar.zst';
const BASE_MANIFEST = 'manifest.json';
/** PostgreSQL's own manifest, as pg_verifybackup reads it. */
export const BACKUP_MANIFEST = 'backup_manifest';

/** `base-00001.tar.zst`, `ts-16400-00001.tar.zst`, `wal-00001.tar.zst`; `config` has one volume, `config.tar.zst`. @param number from 1 */
export function volumeName(series: VolumeSeries, number: number): string {
  const name =
    series === 'config' && number === 1
      ? CONFIG_VOLUME
      : `${series}-${String(number).padStart(5, '0')}.tar.zst`;
  if (parseVolumeName(name)) return name;
  throw new LifeboatError('BUG', `volume ${number} of ${JSON.stringify(series)} has no name`);
}

/** The reverse of `volumeName`; `undefined` for anything else. */
export function parseVolumeName(name: string): { series: VolumeSeries; number: number } | undefined {
  if (name === CONFIG_VOLUME) return { series: 'config', number: 1 };
  const [, series, digits] = /^(base|wal|ts-[1-9]\d{0,9})-(\d{5})\.tar\.zst$/.exec(name) ?? [];
  const number = Number(digits);
  return series === undefined || number < 1 ? undefined : { series: series as VolumeSeries, number };
}

/** @param name as of `volumeName`, or `BACKUP_MANIFEST` */
export function volumeKey(series: WalSeries, label: string, name: string): string {
  if (name === BACKUP_MANIFEST || name === BASE_MANIFEST || parseVolumeName(name))
    return basePrefix(series, label) + name;
  throw new LifeboatError('BUG', `${JSON.stringify(name)} is no file of a base backup`);
}

export function baseManifestKey(series: WalSeries, label: string): string {
  return basePrefix(series, label) + BASE_MANIFEST;
}

/** In the state bucket: pieces of open segments. */
export function journalPrefix({ app, systemIdentifier }: WalSeries): string {
  return `journal/${requireApp(app)}/${requireIdentifier(systemIdentifier)}/`;
}

/** In the state bucket: the bytes from `from` up to, and without, `to`, all of one segment. */
export function journalKey(series: WalSeries, timeline: number, segment: string, from: Lsn, to: Lsn): string {
  requireSegment(timeline, segment);
  return `${journalPrefix(series)}${formatTimeline(timeline)}/${segment}/${range(from, to)}.zst`;
}

/**
 * In the state bucket: that a timeline is the live one again since a recovery in place was undone, or finished after all. The key says it all.
 * @param at by the database host's clock, as ISO 8601 in UTC with milliseconds
 */
export function inUseKey(series: WalSeries, timeline: number, at: string): string {
  return `${journalPrefix(series)}${IN_USE}/${formatTimeline(timeline)}-${at.replaceAll(/[-:]/g, '')}.json`;
}

/** Sorts behind every timeline's folder. */
const IN_USE = 'in-use';

/** In the state bucket: records of WAL that is lost. */
export function holePrefix({ app, systemIdentifier }: WalSeries): string {
  return `holes/${requireApp(app)}/${requireIdentifier(systemIdentifier)}/`;
}

/** In the state bucket: a record of the WAL from `from` up to, and without, `to` that cannot be had any more. */
export function holeKey(series: WalSeries, timeline: number, from: Lsn, to: Lsn): string {
  return `${holePrefix(series)}${formatTimeline(timeline)}/${range(from, to)}.json`;
}

function range(from: Lsn, to: Lsn): string {
  if (from < to) return `${formatLsnDigits(from)}-${formatLsnDigits(to)}`;
  throw new LifeboatError('BUG', `the WAL from ${from} to ${to} is empty`);
}

export type PitrObject = { readonly series: WalSeries } & (
  | { readonly role: 'wal' | 'partial-wal'; readonly timeline: number; readonly segment: string }
  | { readonly role: 'history'; readonly timeline: number }
  | { readonly role: 'volume'; readonly label: string; readonly name: string }
  | { readonly role: 'backup-manifest' | 'base-manifest'; readonly label: string }
  | {
      readonly role: 'journal';
      readonly timeline: number;
      readonly segment: string;
      readonly from: Lsn;
      readonly to: Lsn;
    }
  | { readonly role: 'hole'; readonly timeline: number; readonly from: Lsn; readonly to: Lsn }
  /** `since`: ISO 8601, UTC, microseconds. */
  | { readonly role: 'in-use'; readonly timeline: number; readonly since: string }
);

/** The reverse of the functions above; `undefined` for a key that none of them can have made. @param key without the store's prefix */
export function parsePitrKey(key: string): PitrObject | undefined {
  const [root, app, systemIdentifier, ...rest] = key.split('/');
  if (app === undefined || systemIdentifier === undefined) return undefined;
  if (!isApp(app) || !isIdentifier(systemIdentifier)) return undefined;
  const series = { app, systemIdentifier };
  if (root === 'pitr' && rest[0] === 'wal') return parseWal(series, rest.slice(1));
  if (root === 'pitr' && rest[0] === 'base') return parseBase(series, rest.slice(1));
  if (root === 'journal') return parseJournal(series, rest);
  return root === 'holes' ? parseHole(series, rest) : undefined;
}

function parseWal(series: WalSeries, parts: readonly string[]): PitrObject | undefined {
  const [first = '', file, ...more] = parts;
  if (file === undefined) {
    const timeline = first.endsWith('.history')
      ? parseTimeline(first.slice(0, -'.history'.length))
      : undefined;
    return timeline === undefined ? undefined : { series, role: 'history', timeline };
  }
  const timeline = parseTimeline(first);
  const [, segment = '', partial] = /^([0-9A-F]{24})(\.partial)?\.zst$/.exec(file) ?? [];
  if (timeline === undefined || timelineOfSegment(segment) !== timeline || more.length > 0) return undefined;
  return { series, role: partial === undefined ? 'wal' : 'partial-wal', timeline, segment };
}

function parseBase(series: WalSeries, parts: readonly string[]): PitrObject | undefined {
  const [label = '', name = '', ...more] = parts;
  if (parseBaseLabel(label)?.app !== series.app || more.length > 0) return undefined;
  if (name === BASE_MANIFEST) return { series, role: 'base-manifest', label };
  if (name === BACKUP_MANIFEST) return { series, role: 'backup-manifest', label };
  return parseVolumeName(name) && { series, role: 'volume', label, name };
}

function parseJournal(series: WalSeries, parts: readonly string[]): PitrObject | undefined {
  const [first = '', segment = '', file = '', ...more] = parts;
  if (first === IN_USE) return parts.length === 2 ? parseInUse(series, segment) : undefined;
  const timeline = parseTimeline(first);
  const ends = parseRange(file, '.zst');
  if (timeline === undefined || timelineOfSegment(segment) !== timeline || !ends || more.length > 0)
    return undefined;
  return { series, role: 'journal', timeline, segment, ...ends };
}

function parseInUse(series: WalSeries, file: string): PitrObject | undefined {
  const [, digits = '', day, time] = /^([0-9A-F]{8})-(\d{8})T(\d{6}\.\d{3})Z\.json$/.exec(file) ?? [];
  const timeline = parseTimeline(digits);
  if (timeline === undefined || day === undefined || time === undefined) return undefined;
  const date = `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}`;
  const since = `${date}T${time.slice(0, 2)}:${time.slice(2, 4)}:${time.slice(4)}000Z`;
  return tryParsePgTime(since) === undefined ? undefined : { series, role: 'in-use', timeline, since };
}

function parseHole(series: WalSeries, parts: readonly string[]): PitrObject | undefined {
  const [first = '', file = '', ...more] = parts;
  const timeline = parseTimeline(first);
  const ends = parseRange(file, '.json');
  return timeline === undefined || !ends || more.length > 0
    ? undefined
    : { series, role: 'hole', timeline, ...ends };
}

function parseRange(file: string, suffix: string): { from: Lsn; to: Lsn } | undefined {
  if (!file.endsWith(suffix)) return undefined;
  const [first = '', last = '', ...more] = file.slice(0, -suffix.length).split('-');
  const from = parseLsnDigits(first);
  const to = parseLsnDigits(last);
  return from === undefined || to === undefined || from >= to || more.length > 0 ? undefined : { from, to };
}

function requireSegment(timeline: number, segment: string): void {
  if (timelineOfSegment(segment) === timeline) return;
  throw new LifeboatError('BUG', `${JSON.stringify(segment)} is no segment of timeline ${timeline}`);
}

/** As parseAppName allows it: no slash, no `..`, nothing that S3 or a URL reads something else into. */
function isApp(app: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(app) && !app.includes('..');
}

function requireApp(app: string): string {
  if (isApp(app)) return app;
  throw new LifeboatError('BUG', `${JSON.stringify(app)} is no app name`);
}

function isIdentifier(text: string): boolean {
  return /^[1-9]\d{0,19}$/.test(text);
}

function requireIdentifier(text: string): string {
  if (isIdentifier(text)) return text;
  throw new LifeboatError('BUG', `${JSON.stringify(text)} is no system identifier`);
}
