import type { SNSClientConfig } from '@aws-sdk/client-sns';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { asciiSubject } from '../../../lib/domain/notify/message.ts';
import { credentialsFrom } from '../aws/credentials.ts';
import { exportAwsVariables, type Environment } from '../environment.ts';
import type { Channel } from '../ports/notify.ts';

export interface SnsOptions {
  readonly topicArn: string;
  /** AWS_* variables, those of `.env` included. */
  readonly environment: Environment;
}

const ATTEMPTS = 3;
const CONNECT_MS = 5000;
const ANSWER_MS = 10_000;

/** Publishes to a topic; the SDK is loaded with the first message, because most runs of the agent send none. */
export function openSns({ topicArn, environment }: SnsOptions): Channel {
  return {
    name: 'sns',
    async send(message) {
      exportAwsVariables(environment);
      const { SNSClient, PublishCommand } = await import('@aws-sdk/client-sns');
      const client = new SNSClient(clientConfig(topicArn, environment));
      try {
        await client.send(
          new PublishCommand({
            TopicArn: topicArn,
            Subject: asciiSubject(message.subject),
            Message: `${message.subject}\n${message.body}`,
          }),
        );
      } catch (error) {
        throw undelivered(topicArn, error);
      } finally {
        client.destroy();
      }
    },
  };
}

function clientConfig(topicArn: string, environment: Environment): SNSClientConfig {
  const endpoint = environment['AWS_ENDPOINT_URL_SNS'] ?? environment['AWS_ENDPOINT_URL'];
  const profile = environment['AWS_PROFILE'];
  const credentials = credentialsFrom(environment);
  return {
    // A topic lives in one region; the host's own may be another.
    region: topicArn.split(':')[3] ?? 'us-east-1',
    maxAttempts: ATTEMPTS,
    requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: ANSWER_MS, throwOnRequestTimeout: true },
    ...(endpoint && { endpoint }),
    ...(profile && { profile }),
    ...(credentials && { credentials }),
  };
}

function undelivered(topicArn: string, error: unknown): LifeboatError {
  const { name, message, code } = error as { name?: string; message?: string; code?: string };
  // The connection's own errors (ECONNREFUSED and friends) carry an empty message.
  const reason = [name === 'Error' ? code : name, message].filter(Boolean).join(': ');
  return new LifeboatError(
    'UNDELIVERED',
    `SNS message to ${topicArn} not delivered: ${reason || 'no reason given'}`,
  );
}
