/**
 * How SSM Run Command says that an invocation ended
 * (https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html). An event carries the status, in
 * which several of the details are one word; ListCommandInvocations has the details.
 */

const MEANING = {
  Success: { reached: true, words: 'SSM reports success' },
  Failed: { reached: true, words: 'the command failed on the host' },
  TimedOut: { reached: true, words: 'SSM gave up waiting' },
  DeliveryTimedOut: { reached: false, words: 'the host did not take the command in time' },
  ExecutionTimedOut: { reached: true, words: 'the run took longer than it may and was ended' },
  Cancelled: { reached: true, words: 'somebody cancelled the command' },
  Undeliverable: { reached: false, words: 'the command could not be delivered: the host is unknown or away' },
  Terminated: { reached: false, words: 'SSM gave the command up before it reached the host' },
  InvalidPlatform: { reached: false, words: 'the document does not run on the host’s platform' },
  AccessDenied: { reached: false, words: 'the host’s role or the document’s permissions denied the command' },
  NoInstancesInTag: { reached: false, words: 'no host was found' },
  RateExceeded: { reached: false, words: 'SSM’s rate limit ended the command' },
  Incomplete: { reached: false, words: 'SSM did not finish the command' },
} as const satisfies Record<string, { reached: boolean; words: string }>;

export type TerminalStatus = keyof typeof MEANING;

/** The statuses of an invocation that has ended; an EventBridge rule listens for these alone. */
export const TERMINAL_STATUSES = Object.keys(MEANING) as TerminalStatus[];

/** Details come as `Delivery Timed Out` from one call and `DeliveryTimedOut` from another. `undefined`: not ended yet. */
export function parseTerminalStatus(status: string): TerminalStatus | undefined {
  const found = status.replaceAll(/\s+/g, '');
  return TERMINAL_STATUSES.find((each) => each.toLowerCase() === found.toLowerCase());
}

/** For people, what SSM’s one word means. */
export function describeStatus(status: TerminalStatus): string {
  return MEANING[status].words;
}

/** Whether the command came as far as the host. */
export function reachedHost(status: TerminalStatus): boolean {
  return MEANING[status].reached;
}
