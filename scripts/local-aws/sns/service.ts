import type { AccessControl } from '../access/access-control.ts';
import { AwsError } from '../http/aws-error.ts';
import type { Service } from '../http/service.ts';
import type { Topic } from './topic.ts';

const MAX_MESSAGE_BYTES = 256 * 1024;
/** One line of ASCII that begins with a letter, digit or punctuation mark. */
const SUBJECT = /^[!-~][ -~]{0,99}$/;

export function snsService(topics: ReadonlyMap<string, Topic>, access: AccessControl): Service {
  return async ({ operation, input, caller }) => {
    if (operation !== 'Publish') throw new AwsError('InvalidAction', `the local SNS knows no ${operation}`);
    const { TopicArn = '', Subject = '', Message = '' } = input as Record<string, string | undefined>;
    access.check(caller, 'sns:Publish', TopicArn);
    const topic = topics.get(TopicArn);
    if (!topic) throw new AwsError('NotFound', 'Topic does not exist', 404);
    if (topic.kmsKeyArn !== undefined)
      for (const action of ['kms:GenerateDataKey', 'kms:Decrypt'])
        access.check(caller, action, topic.kmsKeyArn, {
          'kms:ViaService': `sns.${TopicArn.split(':')[3]}.amazonaws.com`,
        });
    if (Subject !== '' && !SUBJECT.test(Subject))
      throw new AwsError('InvalidParameter', 'Invalid parameter: Subject');
    if (Message === '' || Buffer.byteLength(Message) > MAX_MESSAGE_BYTES)
      throw new AwsError('InvalidParameter', 'Invalid parameter: Message');
    return { MessageId: topic.publish(Subject, Message).messageId };
  };
}
