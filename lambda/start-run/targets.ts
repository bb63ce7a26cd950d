import { asLifeboatError, LifeboatError } from '../../lib/domain/errors.ts';
import type { StartPayload } from '../../lib/domain/start/payload.ts';
import type { Target } from '../../lib/domain/start/places.ts';
import type { RunCommand } from '../run-command.ts';
import { failureOf, type Failure } from './failure.ts';

/** Which hosts, in the configuration's order. A tag that nobody carries is a failure, not an empty success. */
export async function resolveTargets(
  commands: RunCommand,
  { series, instanceId }: StartPayload,
): Promise<{ targets: Target[]; failures: Failure[] }> {
  const targets: Target[] = [];
  const failures: Failure[] = [];
  const asked = new Map<string, Promise<string[]>>();
  for (const each of series) {
    const { app, host } = each;
    try {
      const found = 'tag' in host ? await hostsOf(commands, host.tag, asked) : [host.instanceId];
      const wanted = found.filter((id) => instanceId === undefined || id === instanceId);
      targets.push(...wanted.map((id) => ({ series: each, instanceId: id })));
      if (found.length === 0 && 'tag' in host)
        failures.push(failureOf({ app, instanceId: null }, noHosts(host.tag), 'lasting'));
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
  commands: RunCommand,
  { key, value }: { key: string; value: string },
  asked: Map<string, Promise<string[]>>,
): Promise<string[]> {
  const tag = JSON.stringify([key, value]);
  const hosts = asked.get(tag) ?? commands.hostsWithTag(key, value);
  asked.set(tag, hosts);
  return await hosts;
}

function noHosts({ key, value }: { key: string; value: string }): LifeboatError {
  return new LifeboatError('HOST_UNREACHABLE', `SSM manages no host that carries the tag ${key}=${value}`, {
    hint: 'Tag the instances, and see whether SSM manages them: aws ssm describe-instance-information',
  });
}
