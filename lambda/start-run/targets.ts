import { asLifeboatError, LifeboatError } from '../../lib/domain/errors.ts';
import type { StartPayload } from '../../lib/domain/start/payload.ts';
import type { Target } from '../../lib/domain/start/places.ts';
import type { Absence } from '../../lib/domain/start/tagged-hosts.ts';
import { findTaggedHosts, type HostSources, type TaggedHosts } from '../tagged-hosts.ts';
import { failureOf, type Failure } from './failure.ts';

/** With why no command can be sent to it, if that is known beforehand. */
export type FoundTarget = Target & { readonly absence: Absence | undefined };

/** Which hosts, in the configuration's order. A tag that nobody carries is a failure, not an empty success. */
export async function resolveTargets(
  sources: HostSources,
  { series, instanceId }: StartPayload,
): Promise<{ targets: FoundTarget[]; failures: Failure[] }> {
  const targets: FoundTarget[] = [];
  const failures: Failure[] = [];
  const asked = new Map<string, Promise<TaggedHosts>>();
  for (const each of series) {
    const { app, host } = each;
    if (!('tag' in host)) {
      targets.push({ series: each, instanceId: host.instanceId, absence: undefined });
      continue;
    }
    try {
      const { hosts, problem } = await hostsOf(sources, host.tag, asked);
      if (problem) failures.push(failureOf({ app, instanceId: null }, problem, 'passing'));
      else if (hosts.length === 0)
        failures.push(failureOf({ app, instanceId: null }, noHosts(host.tag), 'lasting'));
      const wanted = hosts.filter((found) => instanceId === undefined || found.instanceId === instanceId);
      targets.push(...wanted.map((found) => ({ series: each, ...found })));
    } catch (error) {
      failures.push(failureOf({ app, instanceId: null }, asLifeboatError(error), 'passing'));
    }
  }
  if (instanceId !== undefined && targets.length === 0 && failures.length === 0) {
    throw new LifeboatError('HOST_UNREACHABLE', `No host of the series asked for is ${instanceId}`, {
      hint: 'Does the instance carry the series’ tag, and does SSM manage it? aws ssm describe-instance-information',
    });
  }
  return { targets, failures };
}

/** Several series on the same hosts ask once. */
async function hostsOf(
  sources: HostSources,
  tag: { key: string; value: string },
  asked: Map<string, Promise<TaggedHosts>>,
): Promise<TaggedHosts> {
  const name = JSON.stringify([tag.key, tag.value]);
  const hosts = asked.get(name) ?? findTaggedHosts(sources, tag);
  asked.set(name, hosts);
  return await hosts;
}

function noHosts({ key, value }: { key: string; value: string }): LifeboatError {
  return new LifeboatError('HOST_UNREACHABLE', `No host carries the tag ${key}=${value}`, {
    hint: 'Tag the instances, and see whether SSM manages them: aws ssm describe-instance-information',
  });
}
