import { LifeboatError } from '../../../lib/domain/errors.ts';
import { describeTest } from '../../../lib/domain/notify/wording.ts';
import type { Clock, Host } from '../ports/host.ts';
import { deliver, type Channel, type Delivery } from '../ports/notify.ts';

export interface NotifyPorts {
  readonly channels: readonly Channel[];
  readonly clock: Clock;
  readonly host: Pick<Host, 'facts'>;
}

export interface NotifyOptions {
  readonly app: string;
}

export interface NotifyResult {
  readonly deliveries: readonly Delivery[];
  /** To be thrown once the result has been shown; UNDELIVERED. */
  readonly failure: LifeboatError | undefined;
}

/**
 * `lifeboat notify --test`: sends a test message on every configured channel.
 * @throws LifeboatError SETTINGS_INVALID when none is configured
 */
export async function notify(ports: NotifyPorts, { app }: NotifyOptions): Promise<NotifyResult> {
  const { channels, clock, host } = ports;
  if (channels.length === 0) {
    throw new LifeboatError('SETTINGS_INVALID', 'No way to reach anyone is configured', {
      hint: 'Set SLACK_WEBHOOK_URL, EMAIL_TO or SNS_TOPIC_ARN in the environment or in .env, then run: lifeboat notify --test',
    });
  }
  const deliveries = await deliver(channels, describeTest({ app, host: host.facts().name }, clock.now()));
  const failed = deliveries.filter(({ delivered }) => !delivered).map(({ name }) => name);
  return { deliveries, failure: failed.length === 0 ? undefined : undelivered(failed, deliveries.length) };
}

function undelivered(failed: readonly string[], total: number): LifeboatError {
  return new LifeboatError(
    'UNDELIVERED',
    `${failed.length} of ${total} test messages not delivered: ${failed.join(', ')}`,
  );
}
