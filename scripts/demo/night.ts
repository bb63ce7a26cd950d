import { LifeboatError } from '../../lib/domain/errors.ts';
import { VERDICT_PREFIX } from '../../lib/domain/run/result.ts';
import type { LocalAws } from '../local-aws/local-aws.ts';
import { STAGING } from './database.ts';
import { differences, takeFingerprint, totalRows, type Fingerprint } from './fingerprint.ts';
import { INSTANCE_ID } from './night-stage.ts';
import {
  formatCount,
  formatSeconds,
  printCommand,
  printLine,
  printOutput,
  printStep,
  printTimeline,
  printVerdict,
} from './screen.ts';
import type { Stage } from './stage.ts';

const DAY = 24 * 60 * 60 * 1000;

/** Plays a night, a restore and a bad night on the deployed stack. Returns whether all was as it should be. */
export async function playNight(stage: Stage, before: Fingerprint): Promise<boolean> {
  printStep('The same by itself: the AWS stack, on this machine');
  const begun = performance.now();
  const aws = await stage.night.start(printTimeline);
  const night = new NightStory(stage, aws, before);
  night.introduce(performance.now() - begun);
  await night.succeed();
  await night.watch();
  await night.restoreToStaging();
  await night.fail();
  night.sum();
  return night.good;
}

class NightStory {
  good = true;
  readonly #stage: Stage;
  readonly #aws: LocalAws;
  readonly #before: Fingerprint;
  /** Of the first night that is played; the second is the last that has been. */
  readonly #night = new Date(lastTwoOClock().getTime() - DAY);
  #mails = 0;

  constructor(stage: Stage, aws: LocalAws, before: Fingerprint) {
    this.#stage = stage;
    this.#aws = aws;
    this.#before = before;
  }

  introduce(milliseconds: number): void {
    const count = (type: string): number => this.#aws.resources.filter((each) => each.type === type).length;
    const stacks = [...new Set(this.#aws.resources.map(({ stackName }) => stackName))];
    printLine(
      `cdk synth: ${stacks.join(' and ')}, ${this.#aws.resources.length} resources, checked by cdk-nag`,
    );
    printLine(
      `from the templates: ${count('AWS::Lambda::Function')} functions (the bundles that are deployed), ` +
        `${count('AWS::SSM::Document')} SSM documents, ${count('AWS::Events::Rule')} rules, ` +
        `${count('AWS::CloudWatch::Alarm')} alarms, ${count('AWS::S3::Bucket')} buckets`,
    );
    printLine(
      `this machine is the host ${INSTANCE_ID}; every call is decided by the synthesized IAM policies`,
    );
    printLine(`ready in ${formatSeconds(milliseconds)}`);
  }

  async succeed(): Promise<void> {
    printStep('02:00: a night');
    this.#stage.slack.takeMessages();
    await this.#fire();
    this.#printHost();
    this.#printMessages('SUCCESS');
  }

  async watch(): Promise<void> {
    printStep('Every five minutes: the watch');
    await this.#invoke('Watch', {});
    for (const { name, value, unit } of this.#aws
      .metrics()
      .filter(({ namespace }) => namespace === 'Lifeboat'))
      printOutput(
        `${name} ${formatCount(value)}${unit === 'Count' || unit === 'None' ? '' : ` ${unit.toLowerCase()}`}`,
      );
    const raised = this.#aws.evaluateAlarms(new Date()).filter(({ state }) => state === 'ALARM');
    this.#expect(raised.length === 0, `${this.#aws.alarms().length} alarms looked at, none raised`);
    await this.#aws.waitForIdle();
    // By e-mail CloudWatch tells of an alarm that is well as soon as it is made; Slack is spared it.
    this.#mails = this.#aws.mails().length;
  }

  async restoreToStaging(): Promise<void> {
    printStep('A restore to staging, by the restore function');
    await this.#stage.postgres.psql('postgres', `DROP DATABASE IF EXISTS ${STAGING}`);
    printLine(`${STAGING} was dropped, as after a test.`);
    const { backups } = await this.#invoke('Restore', { action: 'list' });
    for (const { id, size, rows } of backups as Record<string, unknown>[])
      printOutput(`${String(id)}  ${String(size)}  ${formatCount(Number(rows))} rows`);
    const { planId, confirm } = await this.#invoke('Restore', {
      action: 'plan',
      source: 'latest',
      database: STAGING,
    });
    printOutput(`plan ${String(planId)}: nothing has been started; to confirm: ${JSON.stringify(confirm)}`);
    await this.#invoke('Restore', { action: 'execute', planId, confirm });
    await this.#aws.waitForIdle();
    this.#printMessages('SUCCESS');
    const after = await takeFingerprint(this.#stage.postgres, STAGING);
    const differing = differences(this.#before, after);
    for (const line of differing) printVerdict(false, `${STAGING}: ${line}`);
    this.#expect(
      differing.length === 0,
      `${STAGING}: all ${formatCount(totalRows(after))} rows are there again`,
    );
  }

  async fail(): Promise<void> {
    printStep('A night that goes wrong');
    await this.#stage.postgres.stop();
    printLine('PostgreSQL is down.');
    await this.#fire();
    await this.#stage.postgres.start();
    this.#printMessages('FAILED');
    const raised = this.#aws.evaluateAlarms(new Date()).filter(({ state }) => state === 'ALARM');
    await this.#aws.waitForIdle();
    for (const { name } of raised) printLine(`The alarm ${name} is raised:`);
    this.#printMessages('A run failed');
  }

  sum(): void {
    const calls = this.#aws.recordedCalls();
    // The SSM agent looks for the bucket’s region and for a folder; what it may not see, it does without.
    const denied = calls.filter(({ allowed, resource }) => !allowed && !resource.includes(':::cdk-'));
    const callers = new Set(calls.map(({ principal }) => principal)).size;
    this.#expect(
      denied.length === 0,
      `${formatCount(calls.length)} calls of ${callers} roles and services were allowed by the synthesized policies, and nothing else was asked for`,
    );
    for (const { principal, action, resource } of denied)
      printVerdict(false, `${principal}: ${action} on ${resource}`);
  }

  async #fire(): Promise<void> {
    this.#aws.fireSchedule('Nightly', new Date(this.#night));
    await this.#aws.waitForIdle();
    this.#night.setTime(this.#night.getTime() + DAY);
  }

  async #invoke(part: string, payload: Record<string, unknown>): Promise<Record<string, unknown>> {
    const name = this.#aws.function(part).specification.name;
    if (part !== 'Watch')
      printCommand(`aws lambda invoke --function-name ${name} --payload '${JSON.stringify(payload)}'`);
    const outcome = await this.#aws.invoke(part, payload);
    if (outcome.ok) return outcome.result as Record<string, unknown>;
    throw new LifeboatError('BUG', `${part} failed: ${outcome.error.errorMessage}`);
  }

  /** What the agent said on the host, without the lines that are for machines. */
  #printHost(): void {
    const output = this.#aws.commands().at(-1)?.describeOutput('runAgent')?.['StandardOutputContent'];
    const lines = typeof output === 'string' ? output.split('\n') : [];
    printLine('');
    printLine(`On ${INSTANCE_ID} the agent printed:`);
    for (const line of lines) if (line !== '' && !line.startsWith(VERDICT_PREFIX)) printOutput(line);
  }

  #printMessages(expected: string): void {
    const messages = this.#stage.slack.takeMessages();
    for (const message of messages) {
      printLine('');
      printLine('Slack got this message:');
      for (const line of message.split('\n')) printOutput(line);
    }
    const mails = this.#aws.mails().length - this.#mails;
    this.#mails += mails;
    const isRight = messages.length === 1 && mails === 1 && messages[0]?.includes(expected) === true;
    this.#expect(isRight, `one message in Slack and one mail (found: ${messages.length} and ${mails})`);
  }

  #expect(isRight: boolean, text: string): void {
    printVerdict(isRight, text);
    this.good &&= isRight;
  }
}

function lastTwoOClock(): Date {
  const today = new Date().setUTCHours(2, 0, 0, 0);
  return new Date(today > Date.now() ? today - DAY : today);
}
