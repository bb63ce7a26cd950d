import { z } from 'zod';
import type { Principal } from '../access/principal.ts';
import type { DeployedResource } from '../cloudformation/deployed-stacks.ts';
import type { Rule } from '../eventbridge/event-bus.ts';
import type { Schedule } from '../eventbridge/scheduler.ts';
import type { LambdaFunction } from '../lambda/lambda-function.ts';
import type { Queue } from '../sqs/queue.ts';

const ruleSchema = z.object({
  EventPattern: z.record(z.string(), z.unknown()).optional(),
  ScheduleExpression: z.string().optional(),
  State: z.literal('ENABLED').default('ENABLED'),
  Targets: z.array(
    z.object({
      Id: z.string(),
      Arn: z.string(),
      Input: z.string().optional(),
      InputPath: z.string().optional(),
      InputTransformer: z
        .object({ InputPathsMap: z.record(z.string(), z.string()).optional(), InputTemplate: z.string() })
        .optional(),
      DeadLetterConfig: z.object({ Arn: z.string() }).optional(),
    }),
  ),
});

const scheduleSchema = z.object({
  ScheduleExpression: z.string(),
  ScheduleExpressionTimezone: z.string().default('UTC'),
  Target: z.object({
    Arn: z.string(),
    RoleArn: z.string(),
    Input: z.string().optional(),
    DeadLetterConfig: z.object({ Arn: z.string() }).optional(),
  }),
});

interface Targets {
  readonly functions: readonly LambdaFunction[];
  readonly queues: readonly Queue[];
}

export function makeRules(resources: readonly DeployedResource[], targets: Targets): Rule[] {
  return resources
    .filter(({ type }) => type === 'AWS::Events::Rule')
    .map(({ logicalId, ref, arn, properties }) => {
      const { EventPattern, ScheduleExpression, Targets } = ruleSchema.parse(properties);
      return {
        logicalId,
        name: ref,
        arn,
        pattern: EventPattern,
        schedule: ScheduleExpression,
        targets: Targets.map(({ Input, InputPath, InputTransformer, Arn, DeadLetterConfig }) => ({
          function: functionOf(Arn, targets),
          input: JSON.parse(JSON.stringify({ Input, InputPath, InputTransformer })) as object,
          deadLetters: queueOf(DeadLetterConfig?.Arn, targets),
        })),
      };
    });
}

export function makeSchedules(
  resources: readonly DeployedResource[],
  targets: Targets,
  principalOf: (roleArn: string) => Principal,
): Schedule[] {
  return resources
    .filter(({ type }) => type === 'AWS::Scheduler::Schedule')
    .map(({ logicalId, arn, properties }) => {
      const { ScheduleExpression, ScheduleExpressionTimezone, Target } = scheduleSchema.parse(properties);
      return {
        logicalId,
        arn,
        expression: ScheduleExpression,
        timeZone: ScheduleExpressionTimezone,
        function: functionOf(Target.Arn, targets),
        role: principalOf(Target.RoleArn),
        input: Target.Input,
        deadLetters: queueOf(Target.DeadLetterConfig?.Arn, targets),
      };
    });
}

function functionOf(arn: string, { functions }: Pick<Targets, 'functions'>): LambdaFunction {
  const found = functions.find(({ specification }) => specification.arn === arn);
  if (found) return found;
  throw new Error(`the local AWS delivers to functions only, not to ${arn}`);
}

export function queueOf(arn: string | undefined, { queues }: Pick<Targets, 'queues'>): Queue | undefined {
  if (arn === undefined) return undefined;
  const found = queues.find((queue) => queue.arn === arn);
  if (found) return found;
  throw new Error(`there is no queue ${arn}`);
}
