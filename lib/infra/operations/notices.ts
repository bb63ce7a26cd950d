import { Annotations } from 'aws-cdk-lib/core';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';

/** Printed at synth: what would only be noticed in the night in which it is needed. */
export function sayWhoHearsNothing(scope: Construct, { notifications }: DeploymentConfig): void {
  const { emails, slackParameter, runbookUrl } = notifications;
  if (emails.length === 0 && slackParameter === undefined)
    Annotations.of(scope).addWarningV2(
      'lifeboat:nobody-is-told',
      'notifications names neither an e-mail address nor a Slack parameter: nobody hears of a failed backup. Set ' +
        'notifications.emails or notifications.slackParameter, or subscribe to the topic (output TopicArn) yourself.',
    );
  if (!/^https?:\/\//.test(runbookUrl))
    Annotations.of(scope).addWarningV2(
      'lifeboat:runbook-url',
      `notifications.runbookUrl is ${runbookUrl}, which nobody can click: alarms will name a file of this checkout. Put ` +
        'docs/runbook.md where it can be read by whom an alarm wakes, and name its address: https://…',
    );
}
