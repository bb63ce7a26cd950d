import { z } from 'zod';
import type { AccessControl } from '../access/access-control.ts';
import type { DeployedResource } from '../cloudformation/deployed-stacks.ts';
import type { MetricStore } from '../cloudwatch/metric-store.ts';
import { Topic, type Mail, type Subscription } from '../sns/topic.ts';
import type { Queue } from '../sqs/queue.ts';
import { queueOf } from './rules.ts';

const subscriptionSchema = z.object({
  TopicArn: z.string(),
  Protocol: z.enum(['sqs', 'email']),
  Endpoint: z.string(),
  RedrivePolicy: z.object({ deadLetterTargetArn: z.string() }).optional(),
});

interface Surroundings {
  readonly queues: readonly Queue[];
  readonly access: AccessControl;
  readonly metrics: MetricStore;
  readonly deliverMail: (mail: Mail) => void;
  readonly follow: (work: Promise<void>) => void;
}

/** The templates’ topics with their subscriptions. */
export function makeTopics(resources: readonly DeployedResource[], surroundings: Surroundings): Topic[] {
  const topics = resources.filter(({ type }) => type === 'AWS::SNS::Topic');
  return topics.map(
    ({ arn, properties }) =>
      new Topic({
        arn,
        kmsKeyArn: keyArn(resources, properties['KmsMasterKeyId']),
        subscriptions: subscriptionsOf(arn, resources, surroundings),
        ...surroundings,
      }),
  );
}

function subscriptionsOf(
  topicArn: string,
  resources: readonly DeployedResource[],
  surroundings: Surroundings,
): Subscription[] {
  return resources
    .filter(
      ({ type, properties }) => type === 'AWS::SNS::Subscription' && properties['TopicArn'] === topicArn,
    )
    .map(({ ref, properties }) => {
      const { Protocol, Endpoint, RedrivePolicy } = subscriptionSchema.parse(properties);
      return {
        arn: ref,
        deadLetters: queueOf(RedrivePolicy?.deadLetterTargetArn, surroundings),
        target:
          Protocol === 'email'
            ? { kind: 'email' as const, address: Endpoint }
            : { kind: 'queue' as const, queue: requireQueue(Endpoint, surroundings) },
      };
    });
}

function requireQueue(arn: string, surroundings: Surroundings): Queue {
  const queue = queueOf(arn, surroundings);
  if (queue) return queue;
  throw new Error('a subscription without an endpoint');
}

/** By id, ARN or alias. */
function keyArn(resources: readonly DeployedResource[], id: unknown): string | undefined {
  if (id === undefined) return undefined;
  const found = resources.find(
    ({ type, ref, arn }) => type === 'AWS::KMS::Key' && (ref === id || arn === id),
  );
  if (found) return found.arn;
  throw new Error(`there is no key ${JSON.stringify(id)}`);
}
