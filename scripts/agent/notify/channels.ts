import type { Environment } from '../environment.ts';
import type { Clock } from '../ports/host.ts';
import type { Channel } from '../ports/notify.ts';
import type { NotifySettings } from '../settings.ts';
import { openEmail } from './email.ts';
import { openSlack } from './slack.ts';
import { openSns } from './sns.ts';

export interface ChannelContext {
  readonly clock: Clock;
  readonly hostName: string;
  readonly environment: Environment;
}

/**
 * A channel for each way that is configured, none when nothing is. Opening never fails and loads nothing; what is wrong
 * with a channel shows when it sends, because a wrong address must not keep a backup from running.
 */
export function openChannels(
  settings: NotifySettings,
  { clock, hostName, environment }: ChannelContext,
): Channel[] {
  const channels: Channel[] = [];
  if (settings.slackWebhookUrl) channels.push(openSlack({ webhookUrl: settings.slackWebhookUrl, clock }));
  if (settings.emailTo.length > 0) {
    channels.push(
      openEmail({
        to: settings.emailTo,
        from: settings.emailFrom,
        smtpUrl: settings.smtpUrl,
        sendmailPath: settings.sendmailPath,
        hostName,
        searchPath: environment['PATH'],
      }),
    );
  }
  if (settings.snsTopicArn) channels.push(openSns({ topicArn: settings.snsTopicArn, environment }));
  return channels;
}
