import type { DeploymentConfig, SeriesConfig } from '../deployment/config.ts';
import { hashName } from '../name-hash.ts';

/** One folder of the backup bucket with the series that may lie in it. */
export interface WatchedFolder {
  /** Without a slash at its end. */
  readonly prefix: string;
  readonly apps: readonly string[];
  readonly instanceId: string;
}

/**
 * Series of one host share the prefix itself, so each is listed by its own name; hosts that were chosen by tag have
 * folders.
 * @param taggedHosts those with a folder, and those that were asked for a backup lately
 */
export function watchedFolders(
  { series, storage }: DeploymentConfig,
  taggedHosts: Iterable<string>,
): WatchedFolder[] {
  const tagged = series.filter(({ host }) => 'tag' in host).map(({ app }) => app);
  const fixed = series.flatMap(({ app, host }) =>
    'tag' in host ? [] : [{ prefix: storage.prefix, apps: [app], instanceId: host.instanceId }],
  );
  const hosts = tagged.length > 0 ? [...new Set(taggedHosts)] : [];
  return [
    ...fixed,
    ...hosts.map((instanceId) => ({ prefix: `${storage.prefix}/${instanceId}`, apps: tagged, instanceId })),
  ];
}

/** Whether any series has its hosts chosen by tag. */
export function hasTaggedHosts(series: readonly SeriesConfig[]): boolean {
  return series.some(({ host }) => 'tag' in host);
}

const SLOT_MS = 5 * 60 * 1000;
const HOUR_SLOTS = 12;
const DAY_SLOTS = 288;

/**
 * Not all folders at once: each is listed in one of the twelve slots of an hour and tagged in one of the day, spread by
 * name, without any state. A slot that was missed comes again.
 */
export function isDue(what: 'listing' | 'tagging', folder: WatchedFolder, now: Date): boolean {
  const slots = what === 'listing' ? HOUR_SLOTS : DAY_SLOTS;
  const slot = Math.floor(now.getTime() / SLOT_MS) % slots;
  return hashName(`${folder.prefix}/${folder.apps.join()}`) % slots === slot;
}
