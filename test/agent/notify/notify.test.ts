import { LifeboatError } from '../../../lib/domain/errors.ts';
import { notify } from '../../../scripts/agent/commands/notify.ts';
import { openChannels } from '../../../scripts/agent/notify/channels.ts';
import type { Clock } from '../../../scripts/agent/ports/host.ts';
import { deliver, type Channel } from '../../../scripts/agent/ports/notify.ts';
import { renderNotify } from '../../../scripts/agent/render/notify.ts';
import { parseSettings } from '../../../scripts/agent/settings.ts';
import type { Message } from '../../../lib/domain/notify/message.ts';
import { startHttpServer } from './http-server.ts';

const clock: Clock = {
  now: () => new Date('2026-01-17T02:00:00Z'),
  monotonic: () => 0,
  sleep: async () => undefined,
};
const host = { facts: () => ({ name: 'db-1', platform: 'linux', architecture: 'x64', libc: 'glibc 2.36' }) };

function channel(name: Channel['name'], fails?: unknown): Channel & { sent: Message[] } {
  const sent: Message[] = [];
  return {
    name,
    sent,
    async send(message) {
      sent.push(message);
      if (fails !== undefined) throw fails;
    },
  };
}

describe('delivering a message', () => {
  it('tries every channel, reports each, and never throws', async () => {
    const channels = [
      channel('slack', new LifeboatError('UNDELIVERED', 'Slack message not delivered: HTTP 500')),
      channel('email'),
      channel('sns', 'a text instead of an error'),
    ];
    expect(await deliver(channels, { subject: 's', body: 'b' })).toEqual([
      { name: 'slack', delivered: false, error: 'Slack message not delivered: HTTP 500' },
      { name: 'email', delivered: true },
      { name: 'sns', delivered: false, error: 'a text instead of an error' },
    ]);
  });
});

describe('lifeboat notify --test', () => {
  it('sends the test message on every channel and reports each', async () => {
    const slack = channel('slack');
    const result = await notify({ channels: [slack, channel('email')], clock, host }, { app: 'hostmaster' });
    expect(slack.sent[0]?.subject).toBe('🔄 HostMaster DB Notification TEST');
    expect(result.failure).toBeUndefined();
    expect(renderNotify(result)).toEqual(['✅ slack: test message sent', '✅ email: test message sent']);
  });

  it('carries a failure for the exit status when any channel did not deliver', async () => {
    const channels = [channel('slack', new LifeboatError('UNDELIVERED', 'no such webhook')), channel('sns')];
    const result = await notify({ channels, clock, host }, { app: 'hostmaster' });
    expect(renderNotify(result)).toEqual(['❌ slack: no such webhook', '✅ sns: test message sent']);
    expect(result.failure).toMatchObject({
      code: 'UNDELIVERED',
      exitStatus: 9,
      message: '1 of 2 test messages not delivered: slack',
    });
  });

  it('says what to set when nothing is configured', async () => {
    await expect(notify({ channels: [], clock, host }, { app: 'hostmaster' })).rejects.toMatchObject({
      code: 'SETTINGS_INVALID',
      hint: expect.stringContaining('SLACK_WEBHOOK_URL'),
    });
  });
});

describe('opening channels from the settings', () => {
  it('opens what is configured, in a fixed order, and nothing else', () => {
    const environment = {
      SLACK_WEBHOOK_URL: 'https://hooks.slack.com/services/a/b/c',
      EMAIL_TO: 'admin@example.com',
      SNS_TOPIC_ARN: 'arn:aws:sns:us-east-1:123456789012:backups',
    };
    const open = (given: Record<string, string>) =>
      openChannels(parseSettings(given).notify, { clock, hostName: 'db-1', environment: given }).map(
        ({ name }) => name,
      );
    expect(open({})).toEqual([]);
    expect(open({ EMAIL_TO: 'admin@example.com' })).toEqual(['email']);
    expect(open(environment)).toEqual(['slack', 'email', 'sns']);
  });

  it('reaches a webhook through what it opened', async () => {
    const server = await startHttpServer((response) => response.end('ok'));
    const environment = { SLACK_WEBHOOK_URL: `${server.origin}/services/a/b/c` };
    const channels = openChannels(parseSettings(environment).notify, {
      clock,
      hostName: 'db-1',
      environment,
    });
    const result = await notify({ channels, clock, host }, { app: 'hostmaster' });
    await server.close();
    expect(result.failure).toBeUndefined();
    expect(server.requests[0]?.body).toContain('HostMaster DB Notification TEST');
  });
});
