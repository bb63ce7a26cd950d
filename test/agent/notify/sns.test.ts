import { openSns } from '../../../scripts/agent/notify/sns.ts';
import { startHttpServer, type Answer, type TestServer } from './http-server.ts';

const TOPIC = 'arn:aws:sns:eu-central-1:123456789012:backups';
const MESSAGE = { subject: '🔄 HostMaster DB Backup SUCCESS', body: '✅ Backup completed successfully' };
const PUBLISHED =
  '<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>';

describe('the SNS channel', () => {
  let server: TestServer;

  async function send(answer: Answer, message = MESSAGE): Promise<URLSearchParams> {
    server = await startHttpServer(answer);
    const environment = {
      AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
      AWS_SECRET_ACCESS_KEY: 'secret-example',
      AWS_REGION: 'us-east-1',
      AWS_ENDPOINT_URL_SNS: server.origin,
    };
    await openSns({ topicArn: TOPIC, environment }).send(message);
    return new URLSearchParams(server.requests.at(-1)!.body);
  }

  afterEach(() => server.close());

  it('publishes, signed for the topic’s own region, with the emoji kept out of the subject', async () => {
    const form = await send((response) => response.end(PUBLISHED));
    expect(Object.fromEntries(form)).toMatchObject({
      Action: 'Publish',
      TopicArn: TOPIC,
      Subject: 'HostMaster DB Backup SUCCESS',
      Message: '🔄 HostMaster DB Backup SUCCESS\n✅ Backup completed successfully',
    });
    expect(server.requests[0]?.headers.authorization).toMatch(
      /Credential=AKIDEXAMPLE\/\d+\/eu-central-1\/sns\//,
    );
  });

  it('keeps the subject to a hundred printable ASCII characters', async () => {
    const subject = `\n🔄 ${'long '.repeat(40)}`;
    const form = await send((response) => response.end(PUBLISHED), { ...MESSAGE, subject });
    expect(form.get('Subject')).toMatch(/^long [\x20-\x7e]{1,95}$/);
  });

  it('tries again after a passing fault', async () => {
    await send((response, number) => {
      if (number === 1) response.writeHead(503).end();
      else response.end(PUBLISHED);
    });
    expect(server.requests).toHaveLength(2);
  });

  it('names the topic and AWS’ reason when it is refused', async () => {
    const refused = send((response) => {
      response.writeHead(403, { 'content-type': 'text/xml' });
      response.end(
        '<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>not authorized to perform: SNS:Publish</Message></Error></ErrorResponse>',
      );
    });
    await expect(refused).rejects.toMatchObject({
      code: 'UNDELIVERED',
      message: expect.stringMatching(
        /^SNS message to arn:aws:sns:eu-central-1:123456789012:backups not delivered: \w+: not authorized to perform: SNS:Publish$/,
      ),
    });
  });

  it('says so when nothing answers at the endpoint', async () => {
    server = await startHttpServer((response) => response.end());
    await server.close();
    const environment = {
      AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
      AWS_SECRET_ACCESS_KEY: 'secret-example',
      AWS_ENDPOINT_URL_SNS: server.origin,
    };
    await expect(openSns({ topicArn: TOPIC, environment }).send(MESSAGE)).rejects.toThrow('ECONNREFUSED');
  });
});
