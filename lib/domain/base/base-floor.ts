import { isFromFuture } from '../backup/catalog.ts';
import { timelinesOf, type WalArchive } from '../wal/archive.ts';
import { basePrefix } from '../wal/keys.ts';
import { dateOfPgTime, parsePgTime } from '../wal/pg-time.ts';
import { stopTimeOf } from '../wal/base-place.ts';
import { restorableWindow, type RestorableStretch } from '../wal/window.ts';
import { isUsable, type Base, type UsableBase } from './base-catalog.ts';

/**
 * Retention is a floor: whatever could be recovered of the last `days` days still can be. So the base backup from before
 * that time stays too, and with each that stays everything it is restored from.
 */
export interface PitrPolicy {
  readonly days: number;
  readonly now: Date;
  /** Labels that somebody pinned. */
  readonly pinned?: ReadonlySet<string>;
  /** Labels that a restore, or a reading of every byte, has proven. */
  readonly proven?: ReadonlySet<string>;
}

export interface BaseDecision {
  readonly base: Base;
  readonly expire: boolean;
  /** For people: why it stays or goes. */
  readonly reason: string;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** @param bases of one app, of all its clusters; archives of the same clusters */
export function decideBaseRetention(
  bases: readonly Base[],
  archives: readonly WalArchive[],
  policy: PitrPolicy,
): BaseDecision[] {
  const kept = new Map<Base, string>();
  for (const base of bases) {
    const reason = reasonToKeep(base, bases, policy);
    if (reason !== undefined) kept.set(base, reason);
  }
  for (const archive of archives) keepForWindow(archive, bases, policy, kept);
  // Those that are added on the way are gone through as well.
  for (const base of kept.keys()) keepChain(base, bases, kept);
  return bases.map((base) => {
    const reason = kept.get(base);
    const over = `${describeAge(ageOf(base, policy.now))} old, kept for ${days(policy.days)}; newer: ${newestOf(bases, policy.now)[0]?.label}`;
    return { base, expire: reason === undefined, reason: reason ?? over };
  });
}

/** The same base backups, in one order or another. */
export interface BaseViews {
  /** As they lie there. */
  readonly listed: readonly Base[];
  /** Those damaged that a verification called so. */
  readonly verified: readonly Base[];
}

/** The WAL of one cluster as it lies there, and without the segments that a verification called damaged. */
export interface WalViews {
  readonly listed: WalArchive;
  /** The very same where none was. */
  readonly verified: WalArchive;
}

/**
 * What goes whether one believes the verifications or not, of base backups, of WAL, or of both. What is damaged then takes the
 * place of nothing that is good, and a wrong word costs room, never a recovery.
 * @returns decisions on the verified base backups; WAL judged by these stays where any view needs it
 */
export function decideWithVerdicts(
  bases: BaseViews,
  archives: readonly WalViews[],
  policy: PitrPolicy,
): BaseDecision[] {
  const views = (['verified', 'listed'] as const).flatMap((each) => {
    const verified = decideBaseRetention(
      bases[each],
      archives.map((archive) => archive.verified),
      policy,
    );
    if (archives.every((archive) => archive.verified === archive.listed)) return [verified];
    const listed = decideBaseRetention(
      bases[each],
      archives.map((archive) => archive.listed),
      policy,
    );
    return [verified, listed];
  });
  const kept = new Map(
    views.flatMap((view) =>
      view.flatMap((each) => (each.expire ? [] : [[nameOf(each.base), each] as const])),
    ),
  );
  return views[0]!.map((decision) => {
    const other = decision.expire ? kept.get(nameOf(decision.base)) : undefined;
    return other ? { ...other, base: decision.base } : decision;
  });
}

function nameOf({ series, label }: Base): string {
  return basePrefix(series, label);
}

function reasonToKeep(base: Base, bases: readonly Base[], policy: PitrPolicy): string | undefined {
  const { now, pinned, proven } = policy;
  const newest = newestOf(bases, now);
  if (newest.includes(base as UsableBase)) return 'the newest verified base backup is never removed';
  if (
    proven &&
    newestOf(
      bases.filter(({ label }) => proven.has(label)),
      now,
    ).includes(base as UsableBase)
  ) {
    return 'the newest base backup that a restore has proven is never removed';
  }
  if (pinned?.has(base.label)) return 'pinned';
  const age = ageOf(base, now);
  if (age < policy.days * DAY_MS) return `${describeAge(age)} old, kept for ${days(policy.days)}`;
  return standsBehind(believableTime(base), bases, now) ? undefined : 'no newer verified base backup stands';
}

/** Whether a usable base backup is newer than `time`, and not by a wrong clock. */
export function standsBehind(time: Date, bases: readonly Base[], now: Date): boolean {
  return bases.some(
    (base) => isVerified(base) && !isFromFuture(base.time, now) && believableTime(base) > time,
  );
}

/** Whole, with all it builds on, and without damaged pages. */
function isVerified(base: Base): base is UsableBase {
  return isUsable(base) && base.chain.every(({ pageChecksums }) => pageChecksums.failures === 0);
}

/** The newest by its own date, and by S3's: where a clock was wrong, both stay. */
function newestOf(bases: readonly Base[], now: Date): UsableBase[] {
  const usable = bases.filter(isVerified);
  const dated = usable.toSorted((one, other) => other.time.getTime() - one.time.getTime());
  const received = usable.toSorted((one, other) => receivedAt(other) - receivedAt(one))[0];
  const byDate = dated.find(({ time }) => !isFromFuture(time, now)) ?? dated[0];
  return [...new Set([byDate, received])].filter((base) => base !== undefined);
}

/** A backup cannot have ended after S3 received its manifest: one that says so was dated by a wrong clock. */
function believableTime(base: Base): Date {
  const received = new Date(receivedAt(base));
  return isFromFuture(base.time, received) ? received : base.time;
}

function receivedAt({ files }: Base): number {
  return files.reduce((newest, { modifiedAt }) => Math.max(newest, modifiedAt.getTime()), 0);
}

/** By its own date or by S3's, whichever makes it the younger. */
function ageOf(base: Base, now: Date): number {
  return now.getTime() - Math.max(believableTime(base).getTime(), receivedAt(base));
}

/** The base backups that recovery to an instant of the kept days begins with, although they are older. */
function keepForWindow(
  archive: WalArchive,
  bases: readonly Base[],
  { days: kept, now }: PitrPolicy,
  into: Map<Base, string>,
): void {
  const cutoff = new Date(now.getTime() - kept * DAY_MS);
  const stray = youngWithoutHistory(archive, cutoff);
  if (stray !== undefined) {
    for (const base of bases) {
      if (base.series.systemIdentifier !== archive.series.systemIdentifier || into.has(base)) continue;
      into.set(base, `where timeline ${stray} comes from is not known, so it may be needed`);
    }
  }
  for (const { stretches } of restorableWindow({ archive, bases }).timelines) {
    for (const stretch of stretches) {
      const anchor = anchorOf(stretch, cutoff);
      if (!anchor || into.has(anchor)) continue;
      into.set(anchor, `recovery to the first of the last ${days(kept)} begins with it`);
    }
  }
}

function anchorOf({ bases, tail }: RestorableStretch, cutoff: Date): UsableBase | undefined {
  if (receivedAt(bases.at(-1)!) < cutoff.getTime() && !holdsYounger(tail, cutoff)) return undefined;
  return bases.findLast((base) => dateOfPgTime(parsePgTime(stopTimeOf(base))) <= cutoff);
}

function holdsYounger(tail: RestorableStretch['tail'], cutoff: Date): boolean {
  for (const { files } of tail) if (files.some(({ modifiedAt }) => modifiedAt >= cutoff)) return true;
  return false;
}

/** A timeline in use whose history file is missing; only from it could be told what it is built on. */
export function youngWithoutHistory(archive: WalArchive, cutoff: Date): number | undefined {
  const unknown = new Set(timelinesOf(archive).filter((each) => each > 1 && !archive.histories.has(each)));
  if (unknown.size === 0) return undefined;
  for (const timeline of unknown) {
    for (const [, { modifiedAt }] of archive.segments.entriesFrom(timeline, 0n))
      if (modifiedAt >= cutoff) return timeline;
  }
  const pieces = [...archive.pieces].map(([name, all]) => [name, all.at(-1)!.file] as const);
  for (const [name, { modifiedAt }] of [...archive.partials, ...pieces]) {
    const timeline = Number.parseInt(name.slice(0, 8), 16);
    if (unknown.has(timeline) && modifiedAt >= cutoff) return timeline;
  }
  return undefined;
}

/** What a base backup that stays is restored from. */
function keepChain(base: Base, bases: readonly Base[], kept: Map<Base, string>): void {
  for (const member of membersOf(base, bases)) {
    if (!kept.has(member)) kept.set(member, `${base.label} builds on it`);
  }
}

function membersOf(base: Base, bases: readonly Base[]): Base[] {
  const { systemIdentifier } = base.series;
  const cluster = bases.filter(({ series }) => series.systemIdentifier === systemIdentifier);
  if (base.manifest) {
    const prefixes = new Set(base.manifest.chain.map((label) => basePrefix(base.series, label)));
    return cluster.filter(({ series, label }) => prefixes.has(basePrefix(series, label)));
  }
  if (base.state === 'unfinished') return [];
  // What one that cannot be read builds on is not known: at most everything since the last full one before it.
  const before = cluster
    .filter(({ time }) => time <= base.time)
    .toSorted((one, other) => other.time.getTime() - one.time.getTime());
  const full = before.findIndex(({ manifest }) => manifest?.type === 'full');
  return before.slice(0, full < 0 ? before.length : full + 1).filter((each) => each !== base);
}

function days(count: number): string {
  return `${count} ${count === 1 ? 'day' : 'days'}`;
}

function describeAge(ageMs: number): string {
  return days(Math.max(0, Math.floor(ageMs / DAY_MS)));
}
