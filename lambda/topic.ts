import { PublishCommand, SNSClient } from '@aws-sdk/client-sns';
import type { Message } from '../lib/domain/notify/message.ts';
import { asciiSubject } from '../lib/domain/notify/message.ts';
import { serviceError } from './sdk-error.ts';

export interface Topic {
  /** @returns SNS' id of the message. @throws LifeboatError UNDELIVERED */
  publish(message: Message): Promise<string>;
}

/** SNS takes plain ASCII alone for a subject, so the body begins with the one that people know. */
export function openTopic(client: SNSClient, topicArn: string): Topic {
  return {
    publish: async ({ subject, body }) => {
      const command = new PublishCommand({
        TopicArn: topicArn,
        Subject: asciiSubject(subject),
        Message: `${subject}\n${body}`,
      });
      try {
        return (await client.send(command)).MessageId ?? '';
      } catch (error) {
        throw serviceError(error, `sns:Publish to ${topicArn}`);
      }
    },
  };
}

export function connectTopic(topicArn: string): Topic {
  const requestHandler = { connectionTimeout: 5_000, socketTimeout: 10_000 };
  return openTopic(new SNSClient({ maxAttempts: 5, requestHandler }), topicArn);
}
