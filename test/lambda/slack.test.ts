import '../contract/one-realm.ts';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SSMClient } from '@aws-sdk/client-ssm';
import type { Clock } from '../../lambda/clock.ts';
import { tellingErrors } from '../../lambda/handler.ts';
import { openLog } from '../../lambda/log.ts';
import { makeHandler } from '../../lambda/slack/handler.ts';
import { openParameter } from '../../lambda/slack/parameter.ts';
import { startSsm, type SsmServer } from './ssm-server.ts';

const NAME = '/lifeboat/slack-webhook-url';
const SECRET = 'T000/B000/secret-of-the-webhook';

let ssm: SsmServer;
let slack: Server;
let origin: string;
/** What Slack answers next; 200 once it is empty. */
let answers: { status: number; headers?: Record<string, string>; body?: string; hangs?: boolean }[];
let posts: { path: string; text: string; mrkdwn: boolean }[];
let time: number;
let slept: number[];
let lines: string[];
let client: SSMClient;
let invoke: (text: string, subject?: string, remainingMs?: number) => Promise<{ posted: number }>;

const clock: Clock = {
  now: () => new Date(time),
  sleep: async (milliseconds) => {
    slept.push(milliseconds);
    time += milliseconds;
    await Promise.resolve();
  },
  random: () => 0.5,
};

function open(testOrigin: string | undefined): void {
  const log = openLog({ deployment: 'Lifeboat', now: clock.now, write: (line) => lines.push(line) });
  const handler = tellingErrors(
    log,
    makeHandler({
      parameter: openParameter(client, NAME, clock),
      clock,
      log,
      testOrigin,
      alarms: {
        deployment: 'Lifeboat',
        runbookUrl: 'https://wiki.example/runbook',
        dashboardUrl: 'https://dashboard.example',
      },
    }),
  );
  invoke = async (text, subject, remainingMs = 60_000) => {
    const started = time;
    const body = JSON.stringify({
      Type: 'Notification',
      MessageId: 'm1',
      TopicArn: 'arn:aws:sns:eu-west-1:111122223333:messages',
      ...(subject !== undefined && { Subject: subject }),
      Message: text,
    });
    return await handler(
      { Records: [{ messageId: 'q1', eventSource: 'aws:sqs', body }] },
      { awsRequestId: 'r1', getRemainingTimeInMillis: () => remainingMs - (time - started) },
    );
  };
}

beforeEach(async () => {
  [time, slept, lines, answers, posts] = [Date.parse('2026-01-17T02:01:00Z'), [], [], [], []];
  ssm = await startSsm(clock.now);
  slack = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')));
    request.on('end', () => {
      posts.push({ path: request.url!, ...(JSON.parse(body) as { text: string; mrkdwn: boolean }) });
      const { status, headers = {}, body: text = 'ok', hangs } = answers.shift() ?? { status: 200 };
      if (!hangs) response.writeHead(status, headers).end(text);
    });
  });
  await new Promise<void>((resolve) => {
    slack.listen(0, '127.0.0.1', resolve);
  });
  origin = `http://127.0.0.1:${(slack.address() as AddressInfo).port}`;
  ssm.parameters.set(NAME, `${origin}/services/${SECRET}\n`);
  const credentials = { accessKeyId: 'a', secretAccessKey: 'b' };
  client = new SSMClient({ endpoint: ssm.endpoint, region: 'eu-west-1', credentials, maxAttempts: 1 });
  open(origin);
});

afterEach(async () => {
  client.destroy();
  slack.closeAllConnections();
  await new Promise((resolve) => {
    slack.close(resolve);
  });
  await ssm.close();
  // Whatever happened, nothing that was logged gives the webhook away.
  expect(lines.join('\n')).not.toMatch(/secret-of-the-webhook|T000/);
});

/** The error's whole text, as Lambda shows it. */
async function failure(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  expect(error).toMatchObject({ code: 'UNDELIVERED' });
  const text = `${error!.message} ${error!.stack} ${JSON.stringify(error)}`;
  expect(text).not.toMatch(/secret-of-the-webhook|T000/);
  return error!.message;
}

describe('the slack function', () => {
  it('posts a run’s message as it is, with Slack’s three characters escaped', async () => {
    const text = '🔄 HostMaster DB Backup SUCCESS\n✅ Backup completed successfully\nFile: a<b>&c.sql.gz';
    expect(await invoke(text, 'HostMaster DB Backup SUCCESS')).toEqual({ posted: 1 });
    expect(posts).toEqual([
      {
        path: `/services/${SECRET}`,
        text: '🔄 HostMaster DB Backup SUCCESS\n✅ Backup completed successfully\nFile: a&lt;b&gt;&amp;c.sql.gz',
        mrkdwn: false,
      },
    ]);
  });

  it('puts the subject of others’ messages on top', async () => {
    await invoke('Something\nhappened', 'A subject of its own');
    expect(posts[0]!.text).toBe('A subject of its own\nSomething\nhappened');
  });

  it('writes a CloudWatch alarm as a person would, with its section of the runbook', async () => {
    const alarm = {
      AlarmName: 'Lifeboat-backup-too-old-shop',
      AlarmDescription: 'No verified backup for 26 hours.',
      NewStateValue: 'ALARM',
      OldStateValue: 'OK',
      NewStateReason: 'Threshold Crossed: no datapoints were received for 1 period',
      StateChangeTime: '2026-01-18T05:00:00.000+0000',
      Region: 'EU (Ireland)',
      AlarmArn: 'arn:aws:cloudwatch:eu-west-1:111122223333:alarm:Lifeboat-backup-too-old-shop',
      Trigger: { MetricName: 'BackupAgeSeconds' },
    };
    await invoke(JSON.stringify(alarm), 'ALARM: "Lifeboat-backup-too-old-shop" in EU (Ireland)');
    expect(posts[0]!.text.split('\n')).toEqual([
      '🚨 ALARM The newest verified backup is too old: shop',
      'No verified backup for 26 hours.',
      'Why: Threshold Crossed: no datapoints were received for 1 period',
      'Since: 2026-01-18 05:00:00 UTC',
      'Alarm: Lifeboat-backup-too-old-shop https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#alarmsV2:alarm/Lifeboat-backup-too-old-shop',
      'Runbook: https://wiki.example/runbook#alarm-backup-too-old',
      'Dashboard: https://dashboard.example',
    ]);
  });

  it('keeps quiet about an alarm that is well as soon as it is made, and has never rung', async () => {
    const alarm = {
      AlarmName: 'Lifeboat-backup-too-old-shop',
      NewStateValue: 'OK',
      NewStateReason: 'Threshold Crossed',
      StateChangeTime: '2026-01-18T05:00:00.000+0000',
    };
    expect(await invoke(JSON.stringify({ ...alarm, OldStateValue: 'INSUFFICIENT_DATA' }))).toEqual({
      posted: 0,
    });
    expect(posts).toEqual([]);
    expect(await invoke(JSON.stringify({ ...alarm, OldStateValue: 'ALARM' }))).toEqual({ posted: 1 });
    expect(posts[0]!.text).toContain('✅ OK again');
  });

  it('reads the webhook’s URL once in five minutes, decrypted', async () => {
    await invoke('one');
    time += 4 * 60_000;
    await invoke('two');
    expect(ssm.calls).toHaveLength(1);
    time += 61_000;
    await invoke('three');
    expect(ssm.calls).toHaveLength(2);
    expect(posts).toHaveLength(3);
  });

  it('reads it again after a failure, as it may have been changed', async () => {
    answers.push({ status: 404, body: 'no_service' });
    expect(await failure(invoke('one'))).toContain('the webhook answered HTTP 404 no_service');
    await invoke('two');
    expect(ssm.calls).toHaveLength(2);
  });

  it('waits as long as Slack asks when it is asked to slow down', async () => {
    answers.push({ status: 429, headers: { 'retry-after': '7' } });
    await invoke('one');
    expect(slept).toEqual([7000]);
    expect(posts).toHaveLength(2);
  });

  it('leaves a longer wait to Lambda’s retry instead of being ended in the middle of it', async () => {
    answers.push({ status: 429, headers: { 'retry-after': '55' } });
    expect(await failure(invoke('one'))).toContain('HTTP 429');
    expect(slept).toEqual([]);
  });

  it('tries again after a passing trouble, a few times, and then throws', async () => {
    answers.push({ status: 500 }, { status: 503 });
    await invoke('one');
    expect(slept).toEqual([500, 1000]);
    answers.push(...Array.from({ length: 5 }, () => ({ status: 500, body: `<html>${SECRET}</html>` })));
    expect(await failure(invoke('two'))).toContain('HTTP 500, after 5 attempts');
  });

  it('does not follow a redirection, which would carry the message elsewhere', async () => {
    answers.push({ status: 302, headers: { location: `${origin}/elsewhere` } });
    expect(await failure(invoke('one'))).toContain('HTTP 302');
    expect(posts).toHaveLength(1);
  });

  it('ends a request that gets no answer, and tells only the code of a broken connection', async () => {
    slack.closeAllConnections();
    await new Promise((resolve) => {
      slack.close(resolve);
    });
    expect(await failure(invoke('one', undefined, 7_000))).toContain('the connection failed (ECONNREFUSED)');
    slack.listen(0, '127.0.0.1');
  });

  it.each([
    'https://hooks.slack.com.evil.example/services/T000/x',
    'https://evil.example/https://hooks.slack.com/T000',
    'http://hooks.slack.com/services/T000/x',
    'https://user:T000@hooks.slack.com/services/x',
    'https://hooks.slack.com:8443/services/T000',
    'file:///etc/T000',
    'T000',
    '',
  ])('refuses to post to %j', async (value) => {
    ssm.parameters.set(NAME, value);
    expect(await failure(invoke('one'))).toContain('does not begin with https://hooks.slack.com/');
    expect(posts).toEqual([]);
  });

  it('posts to a stand-in for Slack only when a test said so, and only on this machine', async () => {
    open(undefined);
    await failure(invoke('one'));
    ssm.parameters.set(NAME, 'https://evil.example/services/T000');
    open('https://evil.example');
    await failure(invoke('two'));
    expect(posts).toEqual([]);
  });

  it('says how to make the parameter when there is none', async () => {
    ssm.parameters.clear();
    expect(await failure(invoke('one'))).toMatch(
      /parameter \/lifeboat\/slack-webhook-url: ParameterNotFound\n.*put-parameter --type SecureString/,
    );
  });

  it.each([
    {},
    { Records: [{ Sns: { MessageId: 'm', Message: 'x' } }] },
    { Records: [{ body: 'no JSON' }] },
    { Records: [{ body: '{"Message":7}' }] },
  ])('says what it expects of an event that is none of the queue: %j', async (event) => {
    const handler = makeHandler({} as never);
    await expect(handler(event, {} as never)).rejects.toMatchObject({
      message: 'The event is none of the queue that the topic fills',
      hint: 'Publish to the topic instead of invoking the function.',
    });
  });
});
