import { asLifeboatError, type LifeboatError } from '../lib/domain/errors.ts';
import { joinHosts, type TaggedHost } from '../lib/domain/start/tagged-hosts.ts';
import type { Instances } from './instances.ts';
import type { RunCommand } from './run-command.ts';

export interface HostSources {
  readonly commands: Pick<RunCommand, 'hostsWithTag'>;
  readonly instances: Instances;
}

export interface TaggedHosts {
  readonly hosts: readonly TaggedHost[];
  /** EC2 did not tell: `hosts` are those that SSM knows, and some may be missing. */
  readonly problem: LifeboatError | undefined;
}

/** @throws LifeboatError SSM_FAILED when SSM does not tell */
export async function findTaggedHosts(
  { commands, instances }: HostSources,
  { key, value }: { readonly key: string; readonly value: string },
): Promise<TaggedHosts> {
  const [managed, listed] = await Promise.all([
    commands.hostsWithTag(key, value),
    instances.withTag(key, value).catch(asLifeboatError),
  ]);
  return listed instanceof Error
    ? { hosts: joinHosts(managed, new Map()), problem: listed }
    : { hosts: joinHosts(managed, listed), problem: undefined };
}
