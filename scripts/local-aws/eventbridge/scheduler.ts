import { randomUUID } from 'node:crypto';
import type { AccessControl } from '../access/access-control.ts';
import type { Principal } from '../access/principal.ts';
import { AwsError } from '../http/aws-error.ts';
import type { LambdaFunction } from '../lambda/lambda-function.ts';
import type { Queue } from '../sqs/queue.ts';
import { eventTime } from './event.ts';
import { isDue } from './schedule.ts';
import { renderScheduleInput } from './target-input.ts';

export interface Schedule {
  readonly logicalId: string;
  readonly arn: string;
  readonly expression: string;
  readonly timeZone: string;
  readonly function: LambdaFunction;
  readonly role: Principal;
  readonly input: string | undefined;
  readonly deadLetters: Queue | undefined;
}

/** EventBridge Scheduler: schedules with a time zone, which invoke with a role of their own. */
export class Scheduler {
  readonly schedules: Schedule[] = [];
  readonly #access: AccessControl;
  readonly #follow: (work: Promise<void>) => void;

  constructor(access: AccessControl, follow: (work: Promise<void>) => void) {
    this.#access = access;
    this.#follow = follow;
  }

  /** @throws Error when the schedule does not fire at that time */
  fire(schedule: Schedule, time: Date): void {
    const { expression, timeZone, logicalId } = schedule;
    if (!isDue(expression, time, timeZone))
      throw new Error(`${logicalId} does not fire at ${time.toISOString()}: ${expression} in ${timeZone}`);
    this.#follow(this.#invoke(schedule, time));
  }

  async #invoke(schedule: Schedule, time: Date): Promise<void> {
    const input = renderScheduleInput(schedule.input, {
      'aws.scheduler.scheduled-time': eventTime(time),
      'aws.scheduler.schedule-arn': schedule.arn,
      'aws.scheduler.execution-id': randomUUID(),
      'aws.scheduler.attempt-number': '1',
    });
    try {
      this.#access.check(schedule.role, 'lambda:InvokeFunction', schedule.function.specification.arn);
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      schedule.deadLetters?.put(input, { ERROR_CODE: error.code });
      return;
    }
    await schedule.function.invokeAsynchronously(input);
  }
}
