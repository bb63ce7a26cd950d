import type { AccessControl } from '../access/access-control.ts';
import type { Account } from '../cloudformation/deployed-stacks.ts';
import { AwsError } from '../http/aws-error.ts';
import type { Topic } from '../sns/topic.ts';

/** CloudWatch publishes by leave of the topic’s policy and of its key’s. */
export function alarmActions(
  topics: ReadonlyMap<string, Topic>,
  access: AccessControl,
  { accountId }: Account,
) {
  return (action: string, alarmArn: string, subject: string, message: string): void => {
    const topic = topics.get(action);
    if (!topic)
      throw new AwsError('NotFound', `an alarm acts on ${action}, which is no topic of the templates`);
    const source = { 'aws:SourceArn': alarmArn, 'aws:SourceAccount': accountId };
    access.checkService('cloudwatch.amazonaws.com', 'sns:Publish', topic.arn, source);
    if (topic.kmsKeyArn !== undefined)
      for (const permission of ['kms:GenerateDataKey', 'kms:Decrypt'])
        access.checkService('cloudwatch.amazonaws.com', permission, topic.kmsKeyArn, source);
    topic.publish(subject, message);
  };
}
