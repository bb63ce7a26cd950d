import { inspect } from 'node:util';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { openSlack } from '../../../scripts/agent/notify/slack.ts';
import type { Clock } from '../../../scripts/agent/ports/host.ts';
import { startHttpServer, type Answer, type TestServer } from './http-server.ts';

const SECRET = '/services/T00000000/B00000000/SECRETSECRET';
const MESSAGE = { subject: '🔄 HostMaster DB Backup SUCCESS', body: '✅ done\nFile: a<b>&c' };

class RecordedClock implements Clock {
  readonly pauses: number[] = [];
  now(): Date {
    return new Date('2026-01-17T02:00:00Z');
  }
  monotonic(): number {
    return 0;
  }
  async sleep(milliseconds: number): Promise<void> {
    this.pauses.push(milliseconds);
  }
}

describe('the Slack channel', () => {
  let server: TestServer;
  const clock = new RecordedClock();

  async function send(answer: Answer, timeoutMs = 60_000): Promise<void> {
    server = await startHttpServer(answer);
    await openSlack({ webhookUrl: server.origin + SECRET, clock, timeoutMs }).send(MESSAGE);
  }

  async function failure(answer: Answer, timeoutMs?: number): Promise<LifeboatError> {
    const error = await send(answer, timeoutMs).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(LifeboatError);
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('SECRET');
    return error as LifeboatError;
  }

  beforeEach(() => (clock.pauses.length = 0));
  afterEach(() => server.close());

  it('posts subject and body as plain text with Slack’s three characters escaped', async () => {
    await send((response) => response.end('ok'));
    expect(server.requests).toHaveLength(1);
    expect(server.requests[0]).toMatchObject({ method: 'POST', path: SECRET });
    expect(JSON.parse(server.requests[0]!.body)).toEqual({
      text: '🔄 HostMaster DB Backup SUCCESS\n✅ done\nFile: a&lt;b&gt;&amp;c',
      mrkdwn: false,
    });
  });

  it('tries again after server errors, waiting longer each time', async () => {
    await send((response, number) => {
      response.statusCode = number < 4 ? 503 : 200;
      response.end('ok');
    });
    expect(server.requests).toHaveLength(4);
    expect(clock.pauses).toEqual([500, 1000, 2000]);
  });

  it('tries again after a cut connection, and then names the cause but not the URL', async () => {
    const error = await failure((response) => response.destroy());
    expect(server.requests).toHaveLength(4);
    expect(error.code).toBe('UNDELIVERED');
    expect(error.message).toMatch(
      /^Slack message not delivered: the connection failed \(\w+\), after 4 attempts$/,
    );
  });

  it('gives up on a server that never answers', async () => {
    const error = await failure(() => undefined, 300);
    expect(error.message).toContain('no answer within 300 ms, after 4 attempts');
  });

  it('waits as long as a 429 asks, in seconds', async () => {
    await send((response, number) => {
      if (number === 1) response.writeHead(429, { 'retry-after': '7' });
      response.end('rate_limited');
    });
    expect(clock.pauses).toEqual([7000]);
  });

  it('waits as long as a 429 asks, by date', async () => {
    await send((response, number) => {
      if (number === 1) response.writeHead(429, { 'retry-after': 'Sat, 17 Jan 2026 02:00:11 GMT' });
      response.end('rate_limited');
    });
    expect(clock.pauses).toEqual([11_000]);
  });

  it('never waits longer than a minute in all, whatever a 429 asks', async () => {
    const error = await failure((response) => {
      response.writeHead(429, { 'retry-after': '86400' }).end('rate_limited');
    });
    expect(clock.pauses).toEqual([60_000]);
    expect(error.message).toContain('HTTP 429 rate_limited, after 2 attempts');
  });

  it('does not repeat what Slack refused, and shows Slack’s one-word reason', async () => {
    const error = await failure((response) => response.writeHead(404).end('no_service'));
    expect(server.requests).toHaveLength(1);
    expect(error.message).toBe('Slack message not delivered: the webhook answered HTTP 404 no_service');
  });

  it('shows nothing of an answer that repeats the URL', async () => {
    const error = await failure((response) => response.writeHead(400).end(`no such hook: ${SECRET}`));
    expect(error.message).toBe('Slack message not delivered: the webhook answered HTTP 400');
  });

  it('follows no redirect, which would carry the message elsewhere', async () => {
    const error = await failure((response) => response.writeHead(302, { location: '/elsewhere' }).end());
    expect(server.requests).toHaveLength(1);
    expect(error.message).toContain('HTTP 302');
  });

  it('refuses to show the URL to the network in clear', async () => {
    server = await startHttpServer((response) => response.end('ok'));
    const sending = openSlack({ webhookUrl: 'http://hooks.slack.example/SECRET', clock }).send(MESSAGE);
    await expect(sending).rejects.toMatchObject({
      code: 'UNDELIVERED',
      message: expect.not.stringContaining('SECRET'),
    });
  });
});
