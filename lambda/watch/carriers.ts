import { setTimeout as wait } from 'node:timers/promises';
import type { DeploymentConfig, SeriesConfig } from '../../lib/domain/deployment/config.ts';
import { asLifeboatError, LifeboatError } from '../../lib/domain/errors.ts';
import type { WatchedFolder } from '../../lib/domain/watch/places.ts';
import { forEachOf } from '../pool.ts';
import type { HostSources } from '../tagged-hosts.ts';

/** Who carries which tag, as far as AWS has ever told this warm function: the last word stands while it does not answer. */
export type CarrierMemory = Map<string, ReadonlySet<string>>;

export interface Carriers {
  /** `undefined`: nobody has told. */
  readonly has: (series: SeriesConfig, instanceId: string) => boolean | undefined;
  readonly problems: readonly LifeboatError[];
}

type Tag = { readonly key: string; readonly value: string };
type Source = 'ec2' | 'ssm';

export type CarrierPorts = HostSources & {
  readonly config: DeploymentConfig;
  /** Until the function is ended. */
  readonly remainingMs: () => number;
};

/** Left for the metrics, which must not depend on AWS' answering here. */
const RESERVE_MS = 15_000;
const LONGEST_WAIT_MS = 60_000;
const AT_ONCE = 4;

/**
 * Whether a host is still one of a series that chooses its hosts by tag. One that was not asked for a backup lately may be
 * stopped, or start-run may be at fault: only AWS's word that it has lost the tag, or is no more, ends its growing older.
 * EC2 tells of its instances, SSM of the hosts outside of EC2.
 */
export async function findCarriers(
  { config, commands, instances, remainingMs }: CarrierPorts,
  memory: CarrierMemory,
  folders: readonly WatchedFolder[],
): Promise<Carriers> {
  const tags = new Map(
    config.series.flatMap(({ host }) => ('tag' in host ? [[nameOf(host.tag), host.tag]] : [])),
  );
  const needed = new Set(folders.map(({ instanceId }) => sourceOf(instanceId)));
  const problems: LifeboatError[] = [];
  const ask = async (source: Source, { key, value }: Tag): Promise<Iterable<string>> =>
    source === 'ec2' ? (await instances.withTag(key, value)).keys() : await commands.hostsWithTag(key, value);
  const ends = Date.now() + Math.min(LONGEST_WAIT_MS, remainingMs() - RESERVE_MS);
  const askInTime = async (source: Source, name: string, tag: Tag): Promise<void> => {
    try {
      const ids = await within(ends - Date.now(), ask(source, tag));
      if (!ids) throw noAnswer(source, tag);
      memory.set(`${source} ${name}`, new Set(ids));
    } catch (error) {
      problems.push(asLifeboatError(error));
    }
  };
  const questions = [...tags].flatMap(([name, tag]) => [...needed].map((source) => ({ source, name, tag })));
  await forEachOf(questions, AT_ONCE, ({ source, name, tag }) => askInTime(source, name, tag));
  return {
    has: ({ host }, instanceId) =>
      'tag' in host ? memory.get(`${sourceOf(instanceId)} ${nameOf(host.tag)}`)?.has(instanceId) : true,
    problems,
  };
}

function nameOf({ key, value }: Tag): string {
  return JSON.stringify([key, value]);
}

function sourceOf(instanceId: string): Source {
  return instanceId.startsWith('mi-') ? 'ssm' : 'ec2';
}

/** @returns `undefined` when it takes longer; `work` then goes on, and nobody listens */
async function within<Value>(milliseconds: number, work: Promise<Value>): Promise<Value | undefined> {
  const over = new AbortController();
  try {
    const { signal } = over;
    return await Promise.race([work, wait(Math.max(0, milliseconds), undefined, { signal, ref: false })]);
  } finally {
    over.abort();
  }
}

function noAnswer(source: Source, { key, value }: Tag): LifeboatError {
  const who = source === 'ec2' ? 'EC2' : 'SSM';
  return new LifeboatError('SSM_FAILED', `${who} did not tell in time who carries the tag ${key}=${value}`, {
    hint: 'It is asked again in five minutes; what it said last stands until then.',
  });
}
