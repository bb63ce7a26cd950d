import type { AccessControl } from '../access/access-control.ts';
import { AwsError } from '../http/aws-error.ts';
import type { Service } from '../http/service.ts';
import type { ManagedHost } from '../ssm/managed-host.ts';

type Form = Readonly<Record<string, string>>;

export type Ec2Instance = Pick<ManagedHost, 'instanceId' | 'tags' | 'state'>;

/**
 * DescribeInstances of this machine's hosts, by tag and state, page by page; EC2 does nothing else here.
 * @param perPage the most that a page holds; it may hold fewer than were asked for
 */
export function ec2Service(
  instances: () => readonly Ec2Instance[],
  access: Pick<AccessControl, 'check'>,
  perPage = 1000,
): Service {
  return async ({ operation, input, caller }) => {
    if (operation !== 'DescribeInstances')
      throw new AwsError('InvalidAction', `the local EC2 knows no ${operation}`);
    access.check(caller, 'ec2:DescribeInstances', '*');
    const form = input as Form;
    const filters = readFilters(form);
    const found = instances()
      .filter(({ instanceId }) => instanceId.startsWith('i-'))
      .filter((each) => filters.every(({ name, values }) => meets(each, name, values)));
    const asked = Number(form['MaxResults'] ?? perPage);
    if (!(asked >= 5 && asked <= 1000))
      throw new AwsError('InvalidParameterValue', 'MaxResults is 5 to 1000');
    const most = Math.min(asked, perPage);
    const from = Number(form['NextToken'] ?? 0);
    return {
      // One reservation for each launch.
      reservationSet: found.slice(from, from + most).map((each) => ({ instancesSet: [describe(each)] })),
      nextToken: from + most < found.length ? String(from + most) : undefined,
    };
  };
}

/** `Filter.1.Name`, `Filter.1.Value.1`, … */
function readFilters(form: Form): { name: string; values: string[] }[] {
  return Object.entries(form)
    .filter(([key]) => /^Filter\.\d+\.Name$/.test(key))
    .map(([key, name]) => {
      const prefix = `${key.slice(0, -'Name'.length)}Value.`;
      const values = Object.entries(form).flatMap(([each, value]) =>
        each.startsWith(prefix) ? [value] : [],
      );
      return { name, values };
    });
}

function meets(instance: Ec2Instance, name: string, patterns: readonly string[]): boolean {
  const value = name === 'instance-state-name' ? instance.state : tagOf(instance, name);
  return value !== undefined && patterns.some((pattern) => matchesFilter(value, pattern));
}

function tagOf({ tags }: Ec2Instance, name: string): string | undefined {
  if (!name.startsWith('tag:'))
    throw new AwsError('InvalidParameterValue', `the local EC2 knows no filter ${name}`);
  return tags[name.slice('tag:'.length)];
}

/** `*` and `?` stand for anything, unless a backslash stands before them. */
function matchesFilter(value: string, pattern: string): boolean {
  const source = pattern.replaceAll(/\\(.)|[*?]|[^\\*?]/gs, (found, escaped?: string) => {
    if (escaped === undefined && found === '*') return '.*';
    if (escaped === undefined && found === '?') return '.';
    return (escaped ?? found).replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
  });
  return new RegExp(`^${source}$`, 's').test(value);
}

const describe = ({ instanceId, state, tags }: Ec2Instance): Record<string, unknown> => ({
  instanceId,
  instanceState: { name: state },
  tagSet: Object.entries(tags).map(([key, value]) => ({ key, value })),
});
