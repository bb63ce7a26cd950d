import { EventField, Rule, RuleTargetInput, Schedule as EventSchedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { PolicyDocument, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { CfnSchedule, CfnScheduleGroup } from 'aws-cdk-lib/aws-scheduler';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import { Duration, Stack } from 'aws-cdk-lib/core';
import { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { cronExpression } from '../../domain/deployment/schedule.ts';
import { TERMINAL_STATUSES } from '../../domain/run/ssm-status.ts';
import { WATCH_INTERVAL, type Functions } from './functions.ts';
import type { RunDocuments } from './run-documents.ts';
import { allow } from './statements.ts';

/** EventBridge goes on for a day by default: a backup that starts at noon is nobody's wish. */
const MAX_EVENT_AGE = Duration.hours(1);
const RETRIES = 2;

export interface ScheduleProps {
  readonly config: DeploymentConfig;
  readonly functions: Functions;
  readonly documents: RunDocuments;
  readonly deadLetters: IQueue;
}

/** What starts the functions: the clock and SSM's events. */
export class Schedule extends Construct {
  /** Every rule, by what it does; an alarm watches each. */
  readonly rules: ReadonlyMap<string, Rule>;
  /** With a time zone: EventBridge Scheduler's group, which a rule cannot stand in for. */
  readonly scheduleGroup: CfnScheduleGroup | undefined;

  constructor(scope: Construct, id: string, { config, functions, documents, deadLetters }: ScheduleProps) {
    super(scope, id);
    const { timeZone } = config.schedule;
    const rules = new Map<string, Rule>();
    if (timeZone === undefined) rules.set('nightly', this.#nightlyRule(config, functions, deadLetters));
    else this.scheduleGroup = this.#nightlySchedule(config, timeZone, functions.startRun, deadLetters);
    rules.set('run-ended', this.#runEnded(documents, functions, deadLetters));
    rules.set('watch', this.#watch(functions));
    this.rules = rules;
  }

  #nightlyRule(config: DeploymentConfig, { startRun }: Functions, deadLetterQueue: IQueue): Rule {
    return new Rule(this, 'Nightly', {
      description: `${config.name}: starts the nightly backups`,
      schedule: EventSchedule.expression(cronExpression(config.schedule)),
      targets: [
        new LambdaFunction(startRun, {
          // The event's time is the time that was planned, and the same in every delivery of one night's event.
          event: RuleTargetInput.fromObject({ operation: 'backup', scheduledFor: EventField.time }),
          ...delivery(deadLetterQueue),
        }),
      ],
    });
  }

  #nightlySchedule(
    config: DeploymentConfig,
    timeZone: string,
    startRun: IFunction,
    deadLetters: IQueue,
  ): CfnScheduleGroup {
    const group = new CfnScheduleGroup(this, 'Group', {});
    const role = new Role(this, 'Role', {
      // Only this group's schedules, or any schedule of the account could make the role start a backup.
      assumedBy: new ServicePrincipal('scheduler.amazonaws.com', {
        conditions: {
          StringEquals: { 'aws:SourceAccount': Stack.of(this).account, 'aws:SourceArn': group.attrArn },
        },
      }),
      inlinePolicies: {
        Rights: new PolicyDocument({
          statements: [
            allow('Start', ['lambda:InvokeFunction'], [startRun.functionArn]),
            allow('KeepFailures', ['sqs:SendMessage'], [deadLetters.queueArn]),
          ],
        }),
      },
    });
    new CfnSchedule(this, 'NightlyInTimeZone', {
      description: `${config.name}: starts the nightly backups`,
      groupName: group.ref,
      scheduleExpression: cronExpression(config.schedule),
      scheduleExpressionTimezone: timeZone,
      flexibleTimeWindow: { mode: 'OFF' },
      target: {
        arn: startRun.functionArn,
        roleArn: role.roleArn,
        input: JSON.stringify({ operation: 'backup', scheduledFor: '<aws.scheduler.scheduled-time>' }),
        retryPolicy: {
          maximumEventAgeInSeconds: MAX_EVENT_AGE.toSeconds(),
          maximumRetryAttempts: RETRIES,
        },
        deadLetterConfig: { arn: deadLetters.queueArn },
      },
    });
    return group;
  }

  #runEnded(documents: RunDocuments, { reportRun }: Functions, deadLetters: IQueue): Rule {
    return new Rule(this, 'RunEnded', {
      description: 'Tells how a run ended, as soon as SSM says that it did',
      eventPattern: {
        source: ['aws.ssm'],
        detailType: ['EC2 Command Invocation Status-change Notification'],
        detail: {
          'document-name': [documents.backup.ref, documents.restore.ref],
          status: spellings(),
        },
      },
      targets: [new LambdaFunction(reportRun, delivery(deadLetters))],
    });
  }

  #watch({ watch }: Functions): Rule {
    return new Rule(this, 'Watch', {
      description: 'Looks after the backups and the runs',
      schedule: EventSchedule.rate(WATCH_INTERVAL),
      // The next one comes before a late one would be of use, so none is kept either.
      targets: [new LambdaFunction(watch, { maxEventAge: WATCH_INTERVAL, retryAttempts: 0 })],
    });
  }
}

function delivery(deadLetterQueue: IQueue) {
  return { maxEventAge: MAX_EVENT_AGE, retryAttempts: RETRIES, deadLetterQueue };
}

/** SSM writes `DeliveryTimedOut` in one place and `Delivery Timed Out` in another. */
function spellings(): string[] {
  const spaced = TERMINAL_STATUSES.map((status) => status.replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' '));
  return [...new Set([...TERMINAL_STATUSES, ...spaced])];
}
