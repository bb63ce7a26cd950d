import { z } from 'zod';
import type { AccessControl } from '../access/access-control.ts';
import type { Principal } from '../access/principal.ts';
import type { DeployedResource } from '../cloudformation/deployed-stacks.ts';
import type { LambdaFunction } from '../lambda/lambda-function.ts';
import { EventSource } from '../sqs/event-source.ts';
import type { Queue } from '../sqs/queue.ts';
import { queueOf } from './rules.ts';

const mappingSchema = z.object({
  FunctionName: z.string(),
  EventSourceArn: z.string(),
  BatchSize: z.literal(1),
  ScalingConfig: z.object({ MaximumConcurrency: z.int().min(2).max(1000) }),
});

const queueSchema = z.object({
  VisibilityTimeout: z.number().default(30),
  RedrivePolicy: z
    .object({ deadLetterTargetArn: z.string(), maxReceiveCount: z.int().positive() })
    .optional(),
});

const functionSchema = z.object({ Role: z.string(), Timeout: z.number().default(3) });

interface Surroundings {
  readonly functions: readonly LambdaFunction[];
  readonly queues: readonly Queue[];
  readonly access: AccessControl;
  readonly principalOf: (roleArn: string) => Principal;
  readonly retryDelayMilliseconds: number;
  readonly follow: (work: Promise<void>) => void;
}

/** Lets the templates’ functions read their queues. */
export function connectEventSources(
  resources: readonly DeployedResource[],
  surroundings: Surroundings,
): EventSource[] {
  return resources
    .filter(({ type }) => type === 'AWS::Lambda::EventSourceMapping')
    .map(({ properties }) => connect(mappingSchema.parse(properties), resources, surroundings));
}

function connect(
  { FunctionName, EventSourceArn, ScalingConfig }: z.infer<typeof mappingSchema>,
  resources: readonly DeployedResource[],
  surroundings: Surroundings,
): EventSource {
  const { functions, access, principalOf, retryDelayMilliseconds, follow } = surroundings;
  const queue = queueOf(EventSourceArn, surroundings);
  const reader = functions.find(({ specification }) => specification.name === FunctionName);
  if (!queue || !reader)
    throw new Error(`${FunctionName} cannot read ${EventSourceArn}: one of them is not there`);
  const { VisibilityTimeout, RedrivePolicy } = queueSchema.parse(propertiesOf(resources, EventSourceArn));
  const { Role, Timeout } = functionSchema.parse(propertiesOf(resources, reader.specification.arn));
  // CreateEventSourceMapping refuses it.
  if (VisibilityTimeout < Timeout)
    throw new Error(
      `Queue visibility timeout: ${VisibilityTimeout} seconds is less than Function timeout: ${Timeout}`,
    );
  const principal = principalOf(Role);
  const deadLetters = queueOf(RedrivePolicy?.deadLetterTargetArn, surroundings);
  return new EventSource({
    queue,
    function: reader,
    maximumConcurrency: ScalingConfig.MaximumConcurrency,
    redrive: deadLetters && { deadLetters, maximumReceives: RedrivePolicy?.maxReceiveCount ?? 1 },
    check: (action) => access.check(principal, action, EventSourceArn),
    retryDelayMilliseconds,
    follow,
  });
}

function propertiesOf(resources: readonly DeployedResource[], arn: string): unknown {
  return resources.find((each) => each.arn === arn)?.properties ?? {};
}
