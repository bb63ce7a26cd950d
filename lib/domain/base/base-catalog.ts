import type { FailedVerifications, ListedFile } from '../backup/catalog.ts';
import { isFromFuture } from '../backup/catalog.ts';
import { baseManifestKey, basePrefix, parsePitrKey, type WalSeries } from '../wal/keys.ts';
import { parseBaseLabel } from './base-label.ts';
import type { BaseManifest } from './base-manifest.ts';

/**
 * - `usable`: a manifest, every object it names in its recorded size, and the same of every member of its chain
 * - `damaged`: a manifest, but an object is missing or of another size, or a later verification found it wrong
 * - `chain broken`: whole in itself, but a backup it builds on is not usable
 * - `unreadable`: a manifest that this version cannot read, or that is not this backup's
 * - `unfinished`: volumes without a manifest, of a run that was killed or is still at work; never a backup
 */
export type BaseState = 'usable' | 'damaged' | 'chain broken' | 'unreadable' | 'unfinished';

/** One base backup as it lies in the bucket. */
export interface Base {
  readonly series: WalSeries;
  readonly label: string;
  readonly state: BaseState;
  /** Why it is not usable; `undefined` when it is. */
  readonly why: string | undefined;
  /** What kept the manifest from being read, where the state is `unreadable`. */
  readonly unreadable?: Error;
  /** Recorded time: the manifest's end, or what the label says. */
  readonly time: Date;
  readonly manifest: BaseManifest | undefined;
  /** The manifests it is restored from, the full one first and its own last; empty unless it is usable. */
  readonly chain: readonly BaseManifest[];
  readonly files: readonly ListedFile[];
}

/** A base backup that can be restored. */
export type UsableBase = Base & { readonly state: 'usable'; readonly manifest: BaseManifest };

export interface BaseListing {
  /** Keys relative to the store's prefix; what is no file of a base backup is passed over. */
  readonly files: readonly ListedFile[];
  /** By key; an Error where one could not be read. */
  readonly manifests: ReadonlyMap<string, BaseManifest | Error>;
}

/** All base backups of an app, of all its clusters, newest first by recorded time. @param failed by label */
export function catalogBases(
  app: string,
  listing: BaseListing,
  failed: FailedVerifications = new Map(),
): Base[] {
  const groups = new Map<string, { series: WalSeries; label: string; files: ListedFile[] }>();
  for (const file of listing.files) {
    const parsed = parsePitrKey(file.key);
    if (parsed?.series.app !== app || !('label' in parsed)) continue;
    const { series, label } = parsed;
    const prefix = basePrefix(series, label);
    const group = groups.get(prefix) ?? { series, label, files: [] };
    group.files.push(file);
    groups.set(prefix, group);
  }
  const alone = new Map(
    [...groups].map(([prefix, { series, label, files }]) => {
      return [prefix, describeBase(series, label, files, listing, failed)];
    }),
  );
  return [...alone.values()].map((base) => followChain(base, alone)).toSorted(newestFirst);
}

function newestFirst(one: Base, other: Base): number {
  return other.time.getTime() - one.time.getTime() || (one.label < other.label ? 1 : -1);
}

/** The backup by itself, its chain not looked at. */
function describeBase(
  series: WalSeries,
  label: string,
  files: readonly ListedFile[],
  { manifests }: BaseListing,
  failed: FailedVerifications,
): Base {
  const found = manifests.get(baseManifestKey(series, label));
  const time = parseBaseLabel(label)!.time;
  const common = { series, label, time, files, chain: [], manifest: undefined };
  if (found === undefined) {
    const listed = files.some(({ key }) => key === baseManifestKey(series, label));
    if (!listed) return { ...common, state: 'unfinished', why: 'it has no manifest' };
    return { ...common, state: 'unreadable', why: 'its manifest was not read' };
  }
  if (found instanceof Error)
    return { ...common, state: 'unreadable', why: found.message, unreadable: found };
  const stranger = findStranger(found, series, label);
  if (stranger !== undefined) return { ...common, state: 'unreadable', why: stranger };
  const problem = findProblem(found, basePrefix(series, label), files) ?? failed.get(label);
  const whole = { ...common, time: new Date(found.finishedAt), manifest: found };
  if (problem !== undefined) return { ...whole, state: 'damaged', why: problem };
  return { ...whole, state: 'usable', why: undefined, chain: [found] };
}

function findStranger(manifest: BaseManifest, series: WalSeries, label: string): string | undefined {
  if (manifest.label !== label) return `its manifest is that of ${manifest.label}`;
  const { systemIdentifier } = manifest.server;
  if (systemIdentifier === series.systemIdentifier) return undefined;
  return `its manifest is that of the cluster ${systemIdentifier}`;
}

function findProblem(
  manifest: BaseManifest,
  prefix: string,
  files: readonly ListedFile[],
): string | undefined {
  const sizes = new Map(files.map(({ key, size }) => [key, size]));
  const named = [...manifest.volumes, ...(manifest.backupManifest ? [manifest.backupManifest] : [])];
  for (const { key, size } of named) {
    const there = sizes.get(prefix + key);
    if (there === undefined) return `${key} is missing`;
    if (there !== size) return `${key} has ${there} bytes instead of ${size}`;
  }
  return undefined;
}

function followChain(base: Base, all: ReadonlyMap<string, Base>): Base {
  if (base.state !== 'usable') return base;
  const chain: BaseManifest[] = [];
  for (const [index, label] of base.manifest!.chain.entries()) {
    const member = all.get(basePrefix(base.series, label));
    const why = judgeMember(member, label, base.manifest!, index);
    if (why !== undefined) return { ...base, state: 'chain broken', why, chain: [] };
    chain.push(member!.manifest!);
  }
  return { ...base, chain: [...chain, base.manifest!] };
}

function judgeMember(
  member: Base | undefined,
  label: string,
  { chain }: BaseManifest,
  index: number,
): string | undefined {
  if (!member) return `${label}, which it builds on, is missing`;
  if (member.state !== 'usable') return `${label}, which it builds on, is ${member.state}: ${member.why}`;
  const expected = chain.slice(0, index);
  const recorded = member.manifest!.chain;
  if (recorded.length === expected.length && recorded.every((each, at) => each === expected[at]))
    return undefined;
  return `${label}, which it builds on, has another chain: ${recorded.join(', ') || 'none'}`;
}

/** Whether a recovery may begin from it. */
export function isUsable(base: Base): base is UsableBase {
  return base.state === 'usable';
}

/** The bases by cluster; the cluster with the newest usable one first, by recorded time. */
export function separateClusters(bases: readonly Base[]): { systemIdentifier: string; bases: Base[] }[] {
  const clusters = Map.groupBy(bases, ({ series }) => series.systemIdentifier);
  return [...clusters]
    .map(([systemIdentifier, members]) => ({ systemIdentifier, bases: members.toSorted(newestFirst) }))
    .toSorted((one, other) => newestTime(other.bases) - newestTime(one.bases));
}

function newestTime(bases: readonly Base[]): number {
  const newest = bases.find(isUsable) ?? bases[0];
  return newest?.time.getTime() ?? 0;
}

/**
 * The newest usable backup. With `now` one that is dated in the future is taken only when there is no other: its date
 * says nothing about its age.
 */
export function newestUsable(bases: readonly Base[], now?: Date): UsableBase | undefined {
  const usable = bases.filter(isUsable).toSorted(newestFirst);
  return usable.find(({ time }) => now === undefined || !isFromFuture(time, now)) ?? usable[0];
}
