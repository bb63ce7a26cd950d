import type { ListedFile } from '../backup/catalog.ts';
import { combineProblems } from '../errors.ts';
import { followWal, timelinesOf, type WalArchive, type WalFile } from '../wal/archive.ts';
import { formatLsn } from '../wal/lsn.ts';
import type { TimelineStretch } from '../wal/timeline.ts';
import { describeHole } from '../wal/window-report.ts';
import { stopOf, stopTimeOf, walNeededFrom } from '../wal/base-place.ts';
import type { KnownCommits, RestorablePoint } from '../wal/known-commits.ts';
import type { RestorableStretch, RestorableWindow } from '../wal/window.ts';
import type { UsableBase } from './base-catalog.ts';
import type { BaseManifest } from './base-manifest.ts';
import { chooseRecovery, type LocatedTarget, type RecoveryChoice } from './recovery-choice.ts';
import { findHostProblems, type HostDifference, type RecoveryHost } from './recovery-host.ts';
import type { RecoveryRequest, RecoveryTarget } from './recovery-target.ts';
import { walOnDisk } from './wal-room.ts';

/** What a recovery does, decided before anything is touched: the dry run prints it, the real run executes it. */
export interface RecoveryPlan {
  readonly systemIdentifier: string;
  readonly target: RecoveryTarget;
  readonly base: UsableBase;
  /** Manifests to restore from, the full backup first, the base's own last. */
  readonly chain: readonly BaseManifest[];
  /** For recovery_target_timeline. */
  readonly timeline: number;
  readonly path: readonly TimelineStretch[];
  readonly stop: RecoveryStop;
  /**
   * Segments that recovery may ask for, in order. It must be given no other: one of a later timeline that reaches less
   * far would be read first, and end the recovery.
   */
  readonly wal: readonly WalFile[];
  /** So many of them, from the first, are expected to be read. */
  readonly walNeeded: number;
  /** Of every timeline: PostgreSQL looks for the first number that is free. */
  readonly histories: readonly ListedFile[];
  readonly bytes: RecoveryBytes;
  /** Earliest and latest point that could have been chosen on this stretch. */
  readonly earliest: RestorablePoint;
  readonly latest: RestorablePoint;
  /** For people: what was chosen between. */
  readonly notes: readonly string[];
  /** For people: what is wrong with the newest base backups, where an older one has to do. */
  readonly warnings: readonly string[];
}

type RecoveryStop =
  /** All the WAL of the plan, no recovery target: there is nothing in it that comes after the one asked for. */
  | { readonly kind: 'end-of-wal' }
  | {
      readonly kind: 'setting';
      readonly setting:
        | 'recovery_target'
        | 'recovery_target_time'
        | 'recovery_target_lsn'
        | 'recovery_target_xid'
        | 'recovery_target_name';
      readonly value: string;
      readonly inclusive: boolean;
      /**
       * PostgreSQL ends with "recovery ended before configured recovery target was reached" when the WAL holds nothing
       * behind the target, as in an idle stretch. The state is the one asked for all the same.
       */
      readonly endOfWalSuffices: boolean;
    };

interface RecoveryBytes {
  /** Volumes of the whole chain, as stored and as files. */
  readonly base: number;
  readonly baseRaw: number;
  /** What a chain is combined to, about; 0 for a full backup, which is unpacked where it stays. */
  readonly combined: number;
  /** WAL that is expected to be read, as stored and as segments. */
  readonly wal: number;
  readonly walRaw: number;
  /** On the disk while the recovery goes on: every member of a chain, the result, and WAL. */
  readonly disk: number;
  /** Of that: WAL that is there at a time. */
  readonly walOnDisk: number;
}

export interface RecoveryFacts {
  readonly archive: WalArchive;
  readonly window: RestorableWindow;
  readonly commits?: KnownCommits;
  readonly located?: LocatedTarget;
  /** `undefined`: not known here; whoever recovers checks it. */
  readonly host?: RecoveryHost;
  readonly overrides?: ReadonlySet<HostDifference>;
}

/**
 * @throws LifeboatError TARGET_OUTSIDE_WINDOW with the window in its text; HOST_DIFFERS, or PREFLIGHT_FAILED with several
 */
export function planRecovery(request: RecoveryRequest, facts: RecoveryFacts): RecoveryPlan {
  const { archive, window, located, host, overrides } = facts;
  const choice = chooseRecovery(request, window, located);
  const { line, stretch, base } = choice;
  const problem = host && combineProblems(findHostProblems(base.manifest, host, overrides));
  if (problem) throw problem;
  const wal = [...followWal(archive, line.path, walNeededFrom(base))];
  const stop = stopFor(request.target, choice, facts.commits);
  const walNeeded = countNeeded(wal, request.target, choice, facts);
  return {
    systemIdentifier: window.systemIdentifier,
    target: request.target,
    base,
    chain: base.chain,
    timeline: line.timeline,
    path: line.path,
    stop,
    wal: request.target.kind === 'immediate' ? wal.slice(0, walNeeded) : wal,
    walNeeded,
    histories: [...archive.histories.values()].map(({ file }) => file),
    bytes: countBytes(base, wal.slice(0, walNeeded), archive.segmentSize),
    earliest: stretch.earliest,
    latest: stretch.latest,
    notes: [...choice.notes, ...notesOn(request, choice, archive, window), ...notesOnEnd(request, stop)],
    warnings: [],
  };
}

/**
 * The cluster that a request is about: of a time the one whose window holds it, else the newest. PITR never crosses from
 * one cluster to another: pg_upgrade's new one begins with its own first base backup.
 * @param windows newest cluster first
 */
export function chooseCluster(
  { target, base }: RecoveryRequest,
  windows: readonly RestorableWindow[],
): RestorableWindow | undefined {
  const holding = windows.find(({ timelines }) =>
    timelines.some(({ stretches, bases }) => {
      if (base !== undefined) return bases.includes(base);
      if (target.kind !== 'time') return true;
      return stretches.some(
        ({ earliest, latest }) => earliest.time <= target.time && target.time <= latest.time,
      );
    }),
  );
  return holding ?? windows[0];
}

function stopFor(
  target: RecoveryTarget,
  { stretch }: RecoveryChoice,
  commits: KnownCommits | undefined,
): RecoveryStop {
  const last = commits && hasKnownEnd(stretch, commits) ? stretch.latest : undefined;
  const common = { kind: 'setting', inclusive: true, endOfWalSuffices: false } as const;
  switch (target.kind) {
    case 'time': {
      const { time, inclusive } = target;
      if (inclusive && time === last?.time) return { kind: 'end-of-wal' };
      const value = time.replace('T', ' ').replace('Z', '+00');
      return { ...common, setting: 'recovery_target_time', value, inclusive, endOfWalSuffices: true };
    }
    case 'lsn': {
      const { lsn, inclusive } = target;
      if (last && lsn >= last.lsn) return { kind: 'end-of-wal' };
      const value = formatLsn(lsn);
      return { ...common, setting: 'recovery_target_lsn', value, inclusive, endOfWalSuffices: true };
    }
    case 'xid':
      return {
        ...common,
        setting: 'recovery_target_xid',
        value: String(target.xid),
        inclusive: target.inclusive,
      };
    case 'name':
      return { ...common, setting: 'recovery_target_name', value: target.name };
    case 'latest':
      return { kind: 'end-of-wal' };
    case 'immediate':
      return { ...common, setting: 'recovery_target', value: 'immediate' };
  }
}

/** Whether nothing was committed behind the stretch's latest point: every object behind it says so. */
function hasKnownEnd({ tail }: RestorableStretch, commits: KnownCommits): boolean {
  for (const { files, end } of tail) {
    for (const { key } of files.toReversed()) {
      const commit = commits.get(key);
      // What is behind the place where the timeline was left hides what was committed before it.
      if (commit !== null) return commit !== undefined && commit.lsn <= end;
    }
  }
  return true;
}

function countNeeded(
  wal: readonly WalFile[],
  target: RecoveryTarget,
  { base }: RecoveryChoice,
  { commits, located }: RecoveryFacts,
): number {
  const past = wal.findIndex((file) => {
    if (target.kind === 'latest') return false;
    if (target.kind === 'immediate') return file.end >= stopOf(base);
    if (target.kind === 'lsn') return file.end > target.lsn;
    if (target.kind !== 'time') return located !== undefined && file.end >= located.end;
    return file.files.some(({ key }) => {
      const commit = commits?.get(key);
      return commit && commit.lsn <= file.end && commit.time > target.time;
    });
  });
  return past < 0 ? wal.length : past + 1;
}

function countBytes(base: UsableBase, wal: readonly WalFile[], segmentSize: number): RecoveryBytes {
  const last = base.chain.length - 1;
  const members = base.chain.map(({ volumes }, index) => {
    // Of the others' WAL nothing is needed.
    return index === last ? volumes : volumes.filter(({ series }) => series !== 'wal');
  });
  const volumes = members.flat();
  const baseRaw = sum(volumes.map(({ rawSize }) => rawSize));
  const walRaw = wal.length * segmentSize;
  const largest = Math.max(...members.map((each) => sum(each.map(({ rawSize }) => rawSize))));
  const combined = last === 0 ? 0 : largest;
  const onDisk = walOnDisk(base.manifest, walRaw);
  return {
    base:
      sum(volumes.map(({ size }) => size)) +
      sum(base.chain.map(({ backupManifest }) => backupManifest?.size ?? 0)),
    baseRaw,
    combined,
    wal: sum(wal.flatMap(({ files }) => files.map(({ size }) => size))),
    walRaw,
    disk: baseRaw + combined + onDisk,
    walOnDisk: onDisk,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, each) => total + each, 0);
}

function notesOnEnd({ target }: RecoveryRequest, stop: RecoveryStop): string[] {
  return stop.kind === 'end-of-wal' && target.kind !== 'latest'
    ? ['S3 has no commit behind the target: all its WAL is replayed']
    : [];
}

function notesOn(
  { target }: RecoveryRequest,
  { line, stretch, base }: RecoveryChoice,
  archive: WalArchive,
  window: RestorableWindow,
): string[] {
  const notes: string[] = [];
  const hole = window.holes.find(({ from }) => from === stretch.walEnd);
  if (hole && target.kind === 'latest') notes.push(describeHole(hole));
  const known = new Set(window.timelines.map(({ timeline }) => timeline));
  for (const timeline of timelinesOf(archive)) {
    if (timeline <= line.timeline || known.has(timeline)) continue;
    notes.push(
      `timeline ${timeline} has WAL, but nothing that can be recovered: its history or a base backup is missing`,
    );
  }
  if (target.kind === 'immediate') notes.push(`the state is that of ${stopTimeOf(base)}`);
  return notes;
}
