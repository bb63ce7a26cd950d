import { majorOf } from '../server-version.ts';
import { LifeboatError } from '../errors.ts';
import type { BaseManifest } from './base-manifest.ts';
import type { Move } from './in-place-journal.ts';
import type { RecoveryPlan } from './recovery-plan.ts';

/** What lies where the recovered cluster is to go. */
export interface InPlaceFacts {
  /** Without symbolic links. */
  readonly dataDir: string;
  readonly holds: 'nothing' | 'a cluster' | 'something else';
  /** A file system of its own begins there: it cannot be renamed. */
  readonly isMountPoint: boolean;
  /** Whether we may rename in the folder above. */
  readonly mayRename: boolean;
  readonly cluster: LiveCluster | undefined;
}

export interface LiveCluster {
  readonly systemIdentifier: string;
  /** Of its last checkpoint. */
  readonly timeline: number;
  readonly major: number;
  readonly standby: boolean;
  /** Its process; `undefined`: it does not run. */
  readonly postmaster: number | undefined;
  /** Where pg_wal leads to, when it is a symbolic link. */
  readonly walLink: string | undefined;
  readonly tablespaces: readonly TablespacePlace[];
}

export interface TablespacePlace {
  readonly oid: number;
  readonly location: string;
}

/** The stages of each tablespace are folders within its location: that may be a mount point, and never moves itself. */
interface TablespaceStages extends TablespacePlace {
  readonly recovered: string;
  readonly before: string;
}

/** Where everything goes. */
export interface InPlaceLayout {
  readonly dataDir: string;
  readonly recovered: string;
  /** `undefined`: there is nothing to move aside. */
  readonly before: string | undefined;
  /** Of the recovered cluster. */
  readonly tablespaces: readonly TablespaceStages[];
}

/** Where the recovered cluster is to have its tablespaces: where the live one has them by now, or else the backup's had. */
function locationsFor({ cluster }: InPlaceFacts, { tablespaces }: BaseManifest): TablespacePlace[] {
  const live = new Map(cluster?.tablespaces.map(({ oid, location }) => [oid, location]));
  return tablespaces.map(({ oid, location }) => ({ oid, location: live.get(oid) ?? location }));
}

/** @param at UTC, as in names: 20260117_085459 */
export function layOut(facts: InPlaceFacts, manifest: BaseManifest, at: string): InPlaceLayout {
  const { dataDir, holds } = facts;
  return {
    dataDir,
    recovered: `${dataDir}_recovered_${at}`,
    before: holds === 'a cluster' ? `${dataDir}_before_${at}` : undefined,
    tablespaces: locationsFor(facts, manifest).map(({ oid, location }) => {
      return { oid, location, recovered: `${location}/recovered_${at}`, before: `${location}/before_${at}` };
    }),
  };
}

interface InPlaceRequest {
  /** Another cluster may be moved aside. */
  readonly replace: boolean;
}

/** @throws nothing: every problem at once. Before anything is touched. */
export function findInPlaceProblems(
  facts: InPlaceFacts,
  plan: RecoveryPlan,
  { replace }: InPlaceRequest,
): LifeboatError[] {
  const { dataDir, holds, cluster } = facts;
  const problems: LifeboatError[] = [];
  const refuse = (message: string, hint: string): void =>
    void problems.push(new LifeboatError('RESTORE_REFUSED', message, { hint }));
  if (holds === 'something else')
    refuse(`${dataDir} holds files, but no cluster`, 'Name the live data directory with --data-dir.');
  if (facts.isMountPoint) {
    refuse(
      `${dataDir} is a mount point, which cannot be moved aside`,
      'Recover into a folder on that disk (--data-dir), and set data_directory to it; or move the cluster into a subfolder first.',
    );
  }
  if (!facts.mayRename) {
    refuse(
      `This user may not rename ${dataDir}: that needs the right to write to the folder above`,
      'Run it as root (sudo), with the same settings.',
    );
  }
  for (const { oid, location } of locationsFor(facts, plan.base.manifest)) {
    if (location.startsWith('/')) continue;
    // As a recovery past its CREATE TABLESPACE makes it: it has no place that outlives the data directory.
    const own = `${dataDir}/${location}`;
    refuse(
      `The tablespace ${oid} of the base backup lies within the data directory, in ${location}`,
      cluster
        ? `Give it a place of its own while the server is stopped: mv ${own} /srv/tablespace_${oid} && ln -s /srv/tablespace_${oid} ${own}. Or recover beside with --data-dir.`
        : 'Recover with --data-dir, without --in-place.',
    );
  }
  if (cluster) problems.push(...findClusterProblems(dataDir, cluster, plan, replace));
  return problems;
}

function findClusterProblems(
  dataDir: string,
  cluster: LiveCluster,
  { base: { manifest }, systemIdentifier }: RecoveryPlan,
  replace: boolean,
): LifeboatError[] {
  const problems: LifeboatError[] = [];
  const refuse = (message: string, hint: string): void =>
    void problems.push(new LifeboatError('RESTORE_REFUSED', message, { hint }));
  const wanted = majorOf(manifest.server.versionNumber);
  if (cluster.major !== wanted) {
    refuse(
      `${dataDir} is a cluster of PostgreSQL ${cluster.major}; the backup is of ${wanted}`,
      'Name a data directory of that version with --data-dir.',
    );
  }
  if (cluster.standby) {
    refuse(
      `${dataDir} is a standby: in place, it would part from its primary`,
      'Recover the primary in place, or beside with --data-dir; then make the standby anew.',
    );
  }
  if (cluster.systemIdentifier !== systemIdentifier) {
    if (!replace)
      refuse(
        `${dataDir} is another cluster, ${cluster.systemIdentifier}; what is recovered is ${systemIdentifier}`,
        'Is it to be moved aside all the same, as the empty one of a new host? Add --replace.',
      );
  }
  return problems;
}

/** What lies in the locations of the recovered cluster's tablespaces by now. */
export interface TablespaceFacts {
  /** As in `PG_15_202209061`, the same for all of one major version; `''` where there is none of them. */
  readonly versionFolder: string;
  /** OIDs of those that the recovered cluster has at the target; the others were dropped before. */
  readonly kept: ReadonlySet<number>;
  /** OIDs of those where such a folder lies already: of the live cluster, or left behind by one that is gone. */
  readonly occupied: ReadonlySet<number>;
  /**
   * By those: the OIDs under which the cluster that is moved aside has the same location. Another one where its tablespace
   * was dropped since, and one made anew in the same place.
   */
  readonly live: ReadonlyMap<number, readonly number[]>;
}

/**
 * The order matters: while anything is on its way there is no data directory, so that nobody can start a server on half of
 * it.
 */
export function planMoves(
  { dataDir, recovered, before, tablespaces }: InPlaceLayout,
  { versionFolder, kept, occupied, live }: TablespaceFacts,
): Move[] {
  const moves: Move[] = [];
  if (before !== undefined) moves.push({ kind: 'rename', from: dataDir, to: before, own: 'to' });
  for (const { oid, location, recovered: made, before: aside } of tablespaces) {
    if (!kept.has(oid)) continue;
    const place = `${location}/${versionFolder}`;
    if (occupied.has(oid))
      moves.push({ kind: 'rename', from: place, to: `${aside}/${versionFolder}`, own: 'to' });
    // So that the old cluster stays whole, can be started where it lies, and never leads into the recovered one's files.
    for (const old of before === undefined ? [] : (live.get(oid) ?? []))
      moves.push({ kind: 'link', link: `${before}/pg_tblspc/${old}`, from: location, to: aside });
    moves.push({ kind: 'rename', from: `${made}/${versionFolder}`, to: place, own: 'from' });
    moves.push({ kind: 'link', link: `${recovered}/pg_tblspc/${oid}`, from: made, to: location });
  }
  moves.push({ kind: 'rename', from: recovered, to: dataDir, own: 'from' });
  return moves;
}

/** Bytes of files, by where they go: the data directory (with all its WAL) first. */
export function roomNeeded(
  { recovered, tablespaces }: InPlaceLayout,
  { chain, bytes }: RecoveryPlan,
): { readonly path: string; readonly bytes: number }[] {
  // What is combined of a chain is as large as its largest member; the members lie beside the data directory.
  const sizes = tablespaces.map(({ oid, location }) => ({
    path: location,
    bytes: Math.max(...chain.map((member) => sizeOf(member, `ts-${oid}`))),
  }));
  const elsewhere = sizes.reduce((total, each) => total + each.bytes, 0);
  return [{ path: recovered, bytes: bytes.disk - elsewhere }, ...sizes];
}

function sizeOf({ volumes }: BaseManifest, series: string): number {
  return volumes.filter((each) => each.series === series).reduce((total, { rawSize }) => total + rawSize, 0);
}

/** What the operator should know beforehand. */
export function notesInPlace({ cluster }: InPlaceFacts, plan: RecoveryPlan): string[] {
  const notes: string[] = [];
  if (!cluster) return notes;
  if (cluster.walLink !== undefined) {
    notes.push(
      `pg_wal of the live cluster is a link to ${cluster.walLink}; the recovered one has it within its data directory`,
    );
  }
  const known = new Set(plan.base.manifest.tablespaces.map(({ oid }) => oid));
  for (const { oid, location } of cluster.tablespaces) {
    if (known.has(oid) || cluster.systemIdentifier !== plan.systemIdentifier) continue;
    // Replayed with its path, CREATE TABLESPACE would write into the live one: it is made inside the data directory instead.
    notes.push(
      `the tablespace in ${location} was made after the base backup: where it exists at the target, the recovered cluster has it in its data directory`,
    );
  }
  if (cluster.postmaster !== undefined && plan.target.kind === 'latest') {
    notes.push(
      'the live cluster runs: what it commits from now on will be in the old directory only. Stop the application first',
    );
  }
  return notes;
}
