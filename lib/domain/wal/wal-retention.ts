import type { ListedFile } from '../backup/catalog.ts';
import {
  decideBaseRetention,
  standsBehind,
  youngWithoutHistory,
  type BaseDecision,
  type PitrPolicy,
} from '../base/base-floor.ts';
import type { Base } from '../base/base-catalog.ts';
import type { BaseManifest } from '../base/base-manifest.ts';
import { pathOf, timelinesOf, type WalArchive } from './archive.ts';
import { timelineOfBackupHistory } from './backup-history.ts';
import { parsePitrKey, walPrefix, type WalSeries } from './keys.ts';
import { parseLsn, type Lsn } from './lsn.ts';
import { parseSegmentName } from './segment.ts';
import { timelineOfLsn } from './timeline.ts';

/** Whether one object may be tagged as expirable. */
export interface PitrDecision {
  readonly key: string;
  readonly expire: boolean;
  /** For people: why it stays or goes. */
  readonly reason: string;
}

export interface PitrContents {
  /** Of one app, of all its clusters. */
  readonly bases: readonly Base[];
  /** Of the same clusters, one each. */
  readonly archives: readonly WalArchive[];
  /** The listed records of holes, and the files that PostgreSQL archives about its base backups. */
  readonly others?: readonly ListedFile[];
}

export interface PitrRetention {
  readonly bases: readonly BaseDecision[];
  /** Every listed object: volumes and manifests, WAL, the journal, records of holes. */
  readonly objects: readonly PitrDecision[];
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** A reader that listed a piece just before its segment was complete may still fetch it. */
const SUPERSEDED_MS = DAY_MS;

/** Verdicts on the WAL of one cluster, object by object: a large archive's need not be in memory together. */
export interface WalJudge {
  /** Complete segments and partial ones, then history files, in the order of their WAL. */
  wal(): Generator<PitrDecision>;
  /** Pieces of the journal that the archive knows. */
  journal(): Generator<PitrDecision>;
  /** One listed piece of the journal; `undefined` for what is none of this cluster's. */
  piece(file: ListedFile): PitrDecision | undefined;
  /** A listed `<segment>.<offset>.backup`, or a record of a hole; `undefined` for what is neither. */
  other(file: ListedFile): PitrDecision | undefined;
}

/**
 * @param decisions of every base backup of the app
 * @param damaged names of complete segments that a verification called so: the pieces of one may be all that is left of its WAL
 */
export function judgeWalOf(
  archive: WalArchive,
  decisions: readonly BaseDecision[],
  policy: PitrPolicy,
  damaged: ReadonlySet<string> = new Set(),
): WalJudge {
  const needs = findNeeds(archive, decisions, policy);
  const judgeSegment = ([name, file]: [string, ListedFile]): PitrDecision =>
    judgeWal(file, endOf(archive, name), timelineOf(name), needs);
  const judgePiece = (segment: string, to: Lsn, file: ListedFile): PitrDecision =>
    (damaged.has(segment) ? undefined : judgeSuperseded(archive, segment, file, policy.now)) ??
    judgeWal(file, to, timelineOf(segment), needs);
  const journal = function* (): Generator<PitrDecision> {
    for (const [name, pieces] of archive.pieces)
      for (const { to, file } of pieces) yield judgePiece(name, to, file);
  };
  return {
    journal,
    *wal() {
      let anythingKept = decisions.some(
        ({ base, expire }) => !expire && base.series.systemIdentifier === archive.series.systemIdentifier,
      );
      for (const all of [archive.segments, archive.partials]) {
        for (const entry of all) {
          const decision = judgeSegment(entry);
          anythingKept ||= !decision.expire;
          yield decision;
        }
      }
      anythingKept ||= [...journal()].some(({ expire }) => !expire);
      yield* judgeHistories(archive, anythingKept, needs);
    },
    piece: (file) => {
      const object = parsePitrKey(file.key);
      const ours =
        object?.role === 'journal' &&
        isOf(archive, object.series) &&
        parseSegmentName(object.segment, archive.segmentSize);
      return ours ? judgePiece(object.segment, object.to, file) : undefined;
    },
    other: (file) => judgeBackupHistory(archive, file, needs) ?? judgeHole(archive, file, needs),
  };
}

/** Pure: the same input gives the same verdicts. What is not known to be needless stays. */
export function decidePitrRetention(contents: PitrContents, policy: PitrPolicy): PitrRetention {
  const { bases, archives, others = [] } = contents;
  const decisions = decideBaseRetention(bases, archives, policy);
  const volumes = decisions.flatMap(({ base, expire, reason }) =>
    base.files.map(({ key }) => ({ key, expire, reason })),
  );
  const wal = archives.flatMap((archive) => decideCluster(archive, decisions, others, policy));
  return { bases: decisions, objects: [...volumes, ...wal] };
}

/** What the kept base backups of one cluster need of its WAL. */
interface Needs {
  readonly policy: PitrPolicy;
  readonly bases: readonly Base[];
  /** By timeline: the first byte of WAL that a kept base backup on its path needs. */
  readonly from: ReadonlyMap<number, { readonly lsn: Lsn; readonly label: string }>;
  /** Set where it cannot be told what is needed, with why. */
  readonly everything: string | undefined;
  /** WAL that S3 received later may be needed by a base backup whose manifest cannot be read. */
  readonly unreadableSince: { readonly time: number; readonly label: string } | undefined;
}

function decideCluster(
  archive: WalArchive,
  decisions: readonly BaseDecision[],
  others: readonly ListedFile[],
  policy: PitrPolicy,
): PitrDecision[] {
  const judge = judgeWalOf(archive, decisions, policy);
  return [...judge.wal(), ...judge.journal(), ...others.flatMap((file) => judge.other(file) ?? [])];
}

function findNeeds(archive: WalArchive, decisions: readonly BaseDecision[], policy: PitrPolicy): Needs {
  const { systemIdentifier } = archive.series;
  const kept = decisions.filter(
    ({ base, expire }) => !expire && base.series.systemIdentifier === systemIdentifier,
  );
  const manifests = kept.flatMap(({ base }) => (base.manifest ? [base.manifest] : []));
  const from = new Map<number, { lsn: Lsn; label: string }>();
  for (const timeline of timelinesOf(archive)) {
    for (const manifest of manifests) {
      const lsn = neededOn(archive, timeline, manifest);
      const known = from.get(timeline);
      if (lsn !== undefined && (!known || lsn < known.lsn))
        from.set(timeline, { lsn, label: manifest.label });
    }
  }
  const unreadable = kept
    .filter(({ base }) => base.state === 'unreadable')
    .map(({ base }) => ({ time: base.time.getTime() - DAY_MS, label: base.label }))
    .toSorted((one, other) => one.time - other.time)[0];
  const stray = youngWithoutHistory(archive, new Date(policy.now.getTime() - policy.days * DAY_MS));
  const everything =
    stray === undefined ? undefined : `where timeline ${stray} comes from is not known, so it may be needed`;
  return { policy, bases: decisions.map(({ base }) => base), from, everything, unreadableSince: unreadable };
}

/** From where the timeline's WAL is needed by a base backup: when the timeline passes through it. */
function neededOn(archive: WalArchive, timeline: number, manifest: BaseManifest): Lsn | undefined {
  const start = parseLsn(manifest.startLsn);
  return timelineOfLsn(pathOf(archive, timeline), start) === manifest.startTimeline ? start : undefined;
}

function judgeWal({ key, modifiedAt }: ListedFile, end: Lsn, timeline: number, needs: Needs): PitrDecision {
  const { policy, everything, unreadableSince } = needs;
  const need = needs.from.get(timeline);
  const keep = (reason: string): PitrDecision => ({ key, expire: false, reason });
  if (everything !== undefined) return keep(everything);
  if (need && end > need.lsn) return keep(`${need.label} needs it`);
  if (unreadableSince && modifiedAt.getTime() >= unreadableSince.time) {
    return keep(`${unreadableSince.label}, whose manifest cannot be read, may need it`);
  }
  return judgeAge(key, modifiedAt, needs, policy);
}

function judgeAge(key: string, modifiedAt: Date, { bases }: Needs, { days, now }: PitrPolicy): PitrDecision {
  const age = Math.max(0, Math.floor((now.getTime() - modifiedAt.getTime()) / DAY_MS));
  const text = `${age} ${age === 1 ? 'day' : 'days'} old, kept for ${days} ${days === 1 ? 'day' : 'days'}`;
  if (now.getTime() - modifiedAt.getTime() < days * DAY_MS) return { key, expire: false, reason: text };
  if (!standsBehind(modifiedAt, bases, now)) {
    return { key, expire: false, reason: 'no newer verified base backup stands' };
  }
  return { key, expire: true, reason: `${text}; no base backup that stays needs it` };
}

/** A piece whose bytes the archive has by now; `undefined`: it has not. */
function judgeSuperseded(
  archive: WalArchive,
  segment: string,
  { key, modifiedAt }: ListedFile,
  now: Date,
): PitrDecision | undefined {
  const whole = archive.segments.get(segment);
  if (!whole) return undefined;
  const since = Math.max(whole.modifiedAt.getTime(), modifiedAt.getTime());
  return { key, expire: now.getTime() - since >= SUPERSEDED_MS, reason: 'its segment is complete in S3' };
}

function judgeHole(archive: WalArchive, file: ListedFile, needs: Needs): PitrDecision | undefined {
  const object = parsePitrKey(file.key);
  return object?.role === 'hole' && isOf(archive, object.series)
    ? judgeWal(file, object.to, object.timeline, needs)
    : undefined;
}

/** It tells people of a base backup that began in its segment. */
function judgeBackupHistory(archive: WalArchive, file: ListedFile, needs: Needs): PitrDecision | undefined {
  const folder = walPrefix(archive.series);
  if (!file.key.startsWith(folder)) return undefined;
  const [, name = ''] = file.key.slice(folder.length).split('/');
  const timeline = timelineOfBackupHistory(name);
  const segment = parseSegmentName(name.slice(0, 24), archive.segmentSize);
  if (timeline === undefined || !segment) return undefined;
  return judgeWal(file, segment.start + BigInt(archive.segmentSize), timeline, needs);
}

function isOf({ series }: WalArchive, { app, systemIdentifier }: WalSeries): boolean {
  return app === series.app && systemIdentifier === series.systemIdentifier;
}

/** Not only of the timelines that are left: PostgreSQL takes a number without a history file for one that is free. */
function judgeHistories(archive: WalArchive, anythingKept: boolean, needs: Needs): PitrDecision[] {
  return [...archive.histories.values()].map(({ file }) => {
    const reason = 'it says which timelines there were, and something of the cluster stays';
    return anythingKept
      ? { key: file.key, expire: false, reason }
      : judgeAge(file.key, file.modifiedAt, needs, needs.policy);
  });
}

function timelineOf(segment: string): number {
  return Number.parseInt(segment.slice(0, 8), 16);
}

function endOf(archive: WalArchive, segment: string): Lsn {
  return parseSegmentName(segment, archive.segmentSize)!.start + BigInt(archive.segmentSize);
}
