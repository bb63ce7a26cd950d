import type { DeploymentConfig } from '../../lib/domain/deployment/config.ts';
import { asLifeboatError, LifeboatError } from '../../lib/domain/errors.ts';
import type { BackupCopy } from '../../lib/domain/backup/catalog.ts';
import { seriesPrefix } from '../../lib/domain/backup/keys.ts';
import { isInstanceId } from '../../lib/domain/start/places.ts';
import { hasTaggedHosts, isDue, watchedFolders, type WatchedFolder } from '../../lib/domain/watch/places.ts';
import { factsOfSeries, MANIFESTS_NEEDED, type SeriesFacts } from '../../lib/domain/watch/series-facts.ts';
import { changeTags, planTagging } from '../../lib/domain/watch/tagging-plan.ts';
import type { Bucket } from '../bucket.ts';
import { listFolder, readCatalog, type Manifests } from '../catalog.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { forEachOf } from '../pool.ts';
import { backupsAskedFor, type RunsSeen } from './runs.ts';

/**
 * What the last listing of each folder told. A folder is listed once an hour, after a host's new result, and after a cold
 * start; between those its facts only age. So a thousand series cost about a thousand requests an hour, and two years of
 * objects three pages each instead of one. Only these few numbers are kept, no listing.
 */
export type BackupMemory = Map<
  string,
  { readonly listedAt: Date; readonly facts: ReadonlyMap<string, SeriesFacts> }
>;

export interface BackupPorts {
  readonly config: DeploymentConfig;
  readonly backups: Bucket;
  readonly manifests: Manifests;
  readonly clock: Clock;
  readonly log: Log;
  /** Until the function is ended. */
  readonly remainingMs: () => number;
  /** Tag now, wherever it is due or not. */
  readonly tagAll: boolean;
}

export interface BackupsSeen {
  readonly folders: readonly WatchedFolder[];
  /** By app. */
  readonly tagged: ReadonlyMap<string, number>;
  readonly problems: readonly LifeboatError[];
}

const AT_ONCE = 16;
/** Left for the metrics; what was not listed is in the next invocation. */
const RESERVE_MS = 15_000;

export async function watchBackups(
  ports: BackupPorts,
  memory: BackupMemory,
  runs: RunsSeen,
): Promise<BackupsSeen> {
  const { log, remainingMs } = ports;
  const folders = watchedFolders(ports.config, await findTaggedHosts(ports, runs));
  forgetOthers(memory, folders);
  const tagged = new Map<string, number>();
  const problems: LifeboatError[] = [];
  let left = 0;
  await forEachOf(folders, AT_ONCE, async (folder) => {
    try {
      const tag = ports.tagAll || isDue('tagging', folder, ports.clock.now());
      if (!tag && !isStale(ports, memory, folder, runs)) return;
      if (remainingMs() < RESERVE_MS) left += 1;
      else
        await lookInto(
          ports,
          memory,
          folder,
          (app, count) => tag && tagged.set(app, (tagged.get(app) ?? 0) + count),
          tag,
        );
    } catch (error) {
      problems.push(asLifeboatError(error));
      log.error('A folder could not be looked after', {
        prefix: folder.prefix,
        error: problems.at(-1)!.message,
      });
    }
  });
  if (left > 0) problems.push(noTime(left));
  return { folders, tagged, problems };
}

function noTime(left: number): LifeboatError {
  return new LifeboatError('S3_UNAVAILABLE', `There was no time to list ${left} folders of backups`, {
    hint: 'They come first in the next invocation. If this goes on, give the watch function more time or memory.',
  });
}

/** Those with a folder, and those that were asked for a backup and may have made none yet. */
async function findTaggedHosts({ config, backups }: BackupPorts, { asked }: RunsSeen): Promise<string[]> {
  if (!hasTaggedHosts(config.series)) return [];
  const { prefix } = config.storage;
  const hosts = [...asked.values()]
    .filter(({ app }) => isTagged(config, app))
    .map(({ instanceId }) => instanceId);
  for (const begin of ['i-', 'mi-']) {
    for await (const folder of backups.folders(`${prefix}/${begin}`)) {
      const name = folder.slice(prefix.length + 1, -1);
      if (isInstanceId(name)) hosts.push(name);
    }
  }
  return hosts;
}

function isTagged({ series }: DeploymentConfig, app: string): boolean {
  return series.some((each) => each.app === app && 'tag' in each.host);
}

/** Several series may share the prefix, so the prefix alone does not name a folder's listing. */
export function folderName({ prefix, apps }: WatchedFolder): string {
  return `${prefix} ${apps.join()}`;
}

function forgetOthers(memory: BackupMemory, folders: readonly WatchedFolder[]): void {
  const names = new Set(folders.map(folderName));
  for (const name of memory.keys()) if (!names.has(name)) memory.delete(name);
}

function isStale(
  { clock }: BackupPorts,
  memory: BackupMemory,
  folder: WatchedFolder,
  { asked }: RunsSeen,
): boolean {
  const known = memory.get(folderName(folder));
  if (!known || isDue('listing', folder, clock.now())) return true;
  return folder.apps.some((app) => {
    const result = asked.get(backupsAskedFor(app, folder.instanceId))?.lastResultAt;
    return result !== undefined && result >= known.listedAt;
  });
}

async function lookInto(
  ports: BackupPorts,
  memory: BackupMemory,
  folder: WatchedFolder,
  count: (app: string, tagged: number) => void,
  tag: boolean,
): Promise<void> {
  const { backups, manifests, clock } = ports;
  const now = clock.now();
  const [only, ...others] = folder.apps;
  const begin = others.length === 0 && only !== undefined ? seriesPrefix(only) : '';
  const files = await listFolder(backups, folder.prefix, begin);
  const facts = new Map<string, SeriesFacts>();
  for (const app of folder.apps) {
    const wish = { prefix: folder.prefix, app, files, now, enough: MANIFESTS_NEEDED };
    const copies = await readCatalog(manifests, wish);
    if (copies.length > 0) facts.set(app, factsOfSeries(copies, now));
    if (tag) count(app, await tagExpirable(ports, folder, app, copies));
  }
  memory.set(folderName(folder), { listedAt: now, facts });
}

/** @returns how many objects were tagged */
async function tagExpirable(
  { backups, config, clock, log }: BackupPorts,
  { prefix }: WatchedFolder,
  app: string,
  copies: readonly BackupCopy[],
): Promise<number> {
  const plan = planTagging(copies, { days: config.storage.retentionDays, now: clock.now() });
  let tagged = 0;
  for (const decision of ['keep', 'expire'] as const) {
    for (const copy of plan[decision]) {
      const objects = await readTags(backups, prefix, copy);
      const changes = changeTags(decision, objects);
      for (const { key, tags } of changes) await backups.setTags(key, tags);
      if (changes.length > 0)
        log.info('Tagged', { app, id: copy.id, decision, keys: changes.map(({ key }) => key) });
      if (decision === 'expire') tagged += changes.length;
    }
  }
  return tagged;
}

async function readTags(
  backups: Bucket,
  prefix: string,
  { files }: BackupCopy,
): Promise<{ key: string; tags: Readonly<Record<string, string>> }[]> {
  return await Promise.all(
    files.map(async ({ key }) => ({ key: `${prefix}/${key}`, tags: await backups.tags(`${prefix}/${key}`) })),
  );
}
