import type { CommandRecord } from './command-record.ts';

/** Why no command can be sent to a host, in the words that are written down and told. */
export type Absence = NonNullable<CommandRecord['refused']>;

/** One host that carries a series' tag. */
export interface TaggedHost {
  readonly instanceId: string;
  /** `undefined`: a command can be sent. */
  readonly absence: Absence | undefined;
}

/**
 * SSM lists the hosts whose agent has registered and that are not stopped; EC2 lists every instance. Who carries the tag
 * and is with EC2 alone can get no backup, and nobody would hear of it.
 * @param managed ids that SSM lists
 * @param instances states by id, as EC2 lists them, none terminated
 */
export function joinHosts(
  managed: readonly string[],
  instances: ReadonlyMap<string, string>,
): readonly TaggedHost[] {
  const known = new Set(managed);
  const others = [...instances.keys()].filter((id) => !known.has(id));
  return [...known, ...others].map((instanceId) => ({
    instanceId,
    absence: findAbsence(instances.get(instanceId), known.has(instanceId)),
  }));
}

function findAbsence(state: string | undefined, isManaged: boolean): Absence | undefined {
  if (state === 'stopped' || state === 'stopping')
    return { name: 'InstanceStopped', message: `the instance is ${state}` };
  if (isManaged) return undefined;
  const start = state === 'pending' ? ', it is only just starting' : '';
  return {
    name: 'InstanceNotManaged',
    message: `it carries the series’ tag, and SSM does not manage it${start}: does it have the role, and does its agent run?`,
  };
}
