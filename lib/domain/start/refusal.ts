import type { ErrorCode } from '../errors.ts';

/** SSM's answer to a command that it does not take, and will not take if it is asked again. */
export interface Refusal {
  /** AWS' own word, as in `InvalidInstanceId`. */
  readonly name: string;
  readonly message: string;
}

const HOSTS_FAULTS: ReadonlySet<string> = new Set([
  'InvalidInstanceId',
  'UnsupportedPlatformType',
  // Not SSM's own: tagged-hosts.ts.
  'InstanceStopped',
  'InstanceNotManaged',
]);

/**
 * Whether it lies with the host: SSM does not manage it, or it is stopped or gone
 * (https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html#API_SendCommand_Errors).
 */
export function isHostsFault(name: string): boolean {
  return HOSTS_FAULTS.has(name);
}

/** The error of a command that SSM did not take. */
export function codeOfRefusal({ name }: Refusal): ErrorCode {
  return isHostsFault(name) ? 'HOST_UNREACHABLE' : 'SSM_FAILED';
}

/** What to look at first. */
export function hintOfRefusal({ name }: Refusal): string {
  if (isHostsFault(name))
    return 'Is the instance running, and does SSM manage it? aws ssm describe-instance-information';
  if (name.includes('AccessDenied'))
    return 'Is it the instance that lifeboat.config.json means, with the tag of its series? Then deploy the stack again, and look for a policy that denies ssm:SendCommand.';
  if (name.startsWith('InvalidDocument') || name === 'InvalidParameters')
    return 'Document and functions do not fit together: deploy the stack again, then start the run again.';
  return 'See SSM’s words above, then start the run again.';
}
