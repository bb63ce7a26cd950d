import type { PolicyDocument } from 'aws-cdk-lib/aws-iam';
import { Stack } from 'aws-cdk-lib/core';
import type { IConstruct } from 'constructs';
import { LifeboatError } from '../../domain/errors.ts';

/** Characters that IAM takes (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html). */
export const LONGEST_POLICY = {
  /** A role's own policies together. */
  inline: 10_240,
  managed: 6_144,
} as const;

/** The longest there are in any partition. */
const LONGEST_PSEUDO: Readonly<Record<string, number>> = {
  'AWS::Partition': 'aws-us-gov'.length,
  'AWS::Region': 'us-isob-east-1'.length,
  'AWS::AccountId': 12,
  'AWS::URLSuffix': 'amazonaws.com.cn'.length,
};
/** `arn:aws-us-gov:<service>:<region>:<account>:<kind>/` and a wildcard behind it. */
const LONGEST_ARN_PREFIX = 64;
/** Of a bucket, or of whatever else has a name of its own. */
const LONGEST_GIVEN_NAME = 64;
/** CloudFormation names a resource `<stack>-<logical id>-<13 characters>`. */
const NAME_SUFFIX = 15;
/** Quotes of JSON. */
const QUOTES = 2;

interface PolicyLimit {
  /** As in `start-run`. */
  readonly whose: string;
  readonly most: number;
  /** What to shorten. */
  readonly hint: string;
}

/**
 * IAM refuses a policy that is too long in the midst of a deployment, which then rolls back.
 * @throws LifeboatError SETTINGS_INVALID
 */
export function refuseLongPolicy(
  scope: IConstruct,
  document: PolicyDocument,
  { whose, most, hint }: PolicyLimit,
): void {
  const length = longestRendering(scope, document);
  if (length <= most) return;
  throw new LifeboatError(
    'SETTINGS_INVALID',
    `The rights of ${whose} make a policy of ${count(length)} characters; IAM takes ${count(most)}`,
    { hint },
  );
}

/** Characters of a policy as IAM gets it, with all that is not known before the deployment as long as it can be. */
export function longestRendering(scope: IConstruct, document: PolicyDocument): number {
  const stack = Stack.of(scope);
  return measure(stack.resolve(document), stack.stackName);
}

function measure(value: unknown, stackName: string, isPart = false): number {
  if (Array.isArray(value)) return members(value.map((member) => measure(member, stackName)));
  if (typeof value !== 'object' || value === null) return JSON.stringify(value).length;
  const entries = Object.entries(value);
  const [[name, argument] = ['', undefined]] = entries;
  if (entries.length === 1 && (name === 'Ref' || name.startsWith('Fn::')))
    return QUOTES + measureReference({ name, argument, isPart }, stackName);
  return members(entries.map(([key, member]) => JSON.stringify(key).length + 1 + measure(member, stackName)));
}

/** With brackets and commas. */
function members(lengths: readonly number[]): number {
  return lengths.reduce((sum, length) => sum + length + 1, 1);
}

interface Reference {
  /** `Ref` or a function. */
  readonly name: string;
  readonly argument: unknown;
  /** Of a text that is joined: a `Ref` is then a name; elsewhere it may be an ARN, as a topic's is. */
  readonly isPart: boolean;
}

/** Of the text that CloudFormation puts there, without quotes. */
function measureReference({ name, argument, isPart }: Reference, stackName: string): number {
  if (name === 'Fn::Join') {
    const [separator, parts] = argument as [string, unknown[]];
    return parts.reduce<number>(
      (sum, part) => sum + measure(part, stackName, true) - QUOTES + separator.length,
      0,
    );
  }
  if (name === 'Fn::Sub' && typeof argument === 'string')
    return argument.replaceAll(/\$\{([^}]+)\}/g, (_, target: string) =>
      'x'.repeat(measureReference({ name: 'Ref', argument: target, isPart: true }, stackName)),
    ).length;
  const target = Array.isArray(argument) ? String(argument[0]) : String(argument);
  const named = Math.max(LONGEST_GIVEN_NAME, stackName.length + target.length + NAME_SUFFIX);
  return LONGEST_PSEUDO[target] ?? (name === 'Ref' && isPart ? named : LONGEST_ARN_PREFIX + named);
}

function count(characters: number): string {
  return characters.toLocaleString('en-US');
}
