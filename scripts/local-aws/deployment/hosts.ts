import path from 'node:path';
import type { Endpoint } from '../http/endpoint.ts';
import type { LocalS3 } from '../s3/server.ts';
import { ManagedHost } from '../ssm/managed-host.ts';
import type { RunCommand } from '../ssm/run-command.ts';
import { arnIn, type Ground } from './ground.ts';
import { hostObjects } from './host-objects.ts';

/** Each host is this machine, with a folder of its own and the keys of the hosts’ role. */
export function connectHosts(
  { options, account, principals, s3, access }: Ground,
  runCommand: RunCommand,
  endpoint: Endpoint,
): void {
  const { host: principal } = principals;
  const writeLog = (group: string): void => {
    const arn = arnIn(account);
    access.check(principal, 'logs:DescribeLogGroups', arn('logs', 'log-group::log-stream:'));
    for (const action of ['logs:DescribeLogStreams', 'logs:CreateLogStream', 'logs:PutLogEvents'])
      access.check(principal, action, arn('logs', `log-group:${group}:log-stream:local`));
  };
  for (const specification of options.hosts)
    runCommand.addHost(
      new ManagedHost(specification, {
        folder: path.join(options.folder, 'hosts', specification.instanceId),
        region: account.region,
        principal,
        objects: hostObjects(s3, principal),
        endpoints: endpointsOf(s3, endpoint),
        writeLog,
      }),
    );
}

/** Where a function or a host finds AWS. */
export const endpointsOf = (s3: LocalS3, endpoint: Endpoint): Record<string, string> => ({
  AWS_ENDPOINT_URL: endpoint.url,
  AWS_ENDPOINT_URL_S3: s3.endpoint,
});
