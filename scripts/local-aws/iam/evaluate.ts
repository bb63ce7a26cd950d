import { conditionsHold, fillPolicyVariables, type ContextKeys } from './conditions.ts';
import type { Policy, Principals, Statement } from './policy.ts';
import { matchesWildcard } from './wildcard.ts';

/**
 * IAM's decision on one call within one account.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
 */

/** Who calls: a role (by its own ARN, not its session's), or a service of AWS such as `events.amazonaws.com`. */
export type Caller = { readonly roleArn: string } | { readonly service: string };

export interface AccessRequest {
  readonly caller: Caller;
  /** `s3:PutObject` */
  readonly action: string;
  /** An ARN, or `*` for an action that has no resource. */
  readonly resource: string;
  /** `aws:PrincipalArn` and `aws:PrincipalAccount` are added; everything else is the request's. */
  readonly context?: ContextKeys;
}

export interface Policies {
  /** Of the calling role; empty for a service. */
  readonly identity: readonly Policy[];
  /** Of the bucket, topic, queue or key. */
  readonly resource?: Policy;
  /** A KMS key's policy has the last word: without its leave the identity's policies mean nothing. */
  readonly resourceDecidesAlone?: boolean;
}

export interface Decision {
  readonly outcome: 'allowed' | 'implicitlyDenied' | 'explicitlyDenied';
  /** What decided; nothing did when a call is denied implicitly. */
  readonly by?: { readonly policy: string; readonly statement: Statement };
}

/** @throws Error for a policy element that is not known here */
export function evaluateAccess(request: AccessRequest, policies: Policies): Decision {
  const context = withPrincipalKeys(request);
  const applies = (statement: Statement): boolean => appliesTo(statement, request, context);
  const identity = policies.identity.flatMap((policy) => applying(policy, applies));
  const resource = policies.resource
    ? applying(policies.resource, (each) => principalApplies(each, request.caller) && applies(each))
    : [];
  const denied = [...identity, ...resource].find(({ statement }) => statement.Effect === 'Deny');
  if (denied) return { outcome: 'explicitlyDenied', by: denied };
  const byIdentity = identity.find(({ statement }) => statement.Effect === 'Allow');
  const allows = resource.filter(({ statement }) => statement.Effect === 'Allow');
  const byResource = allows.find(({ statement }) => namesCaller(statement, request.caller));
  const allowed =
    byResource ?? (policies.resourceDecidesAlone === true && allows.length === 0 ? undefined : byIdentity);
  return allowed ? { outcome: 'allowed', by: allowed } : { outcome: 'implicitlyDenied' };
}

function applying(
  policy: Policy,
  applies: (statement: Statement) => boolean,
): { policy: string; statement: Statement }[] {
  return policy.statements.filter(applies).map((statement) => ({ policy: policy.name, statement }));
}

function appliesTo(statement: Statement, { action, resource }: AccessRequest, context: ContextKeys): boolean {
  const acts = (pattern: string): boolean => matchesWildcard(pattern.toLowerCase(), action.toLowerCase());
  const concerns = (pattern: string): boolean => {
    const filled = fillPolicyVariables(pattern, context);
    return filled !== undefined && matchesWildcard(filled, resource);
  };
  return (
    covers(statement.Action, statement.NotAction, acts) &&
    covers(statement.Resource, statement.NotResource, concerns) &&
    conditionsHold(statement.Condition, context)
  );
}

/** A statement without either, as a trust policy's, concerns what it is attached to. */
function covers(
  patterns: readonly string[] | undefined,
  notPatterns: readonly string[] | undefined,
  matches: (pattern: string) => boolean,
): boolean {
  if (patterns) return patterns.some(matches);
  return notPatterns ? !notPatterns.some(matches) : true;
}

function principalApplies({ Principal, NotPrincipal }: Statement, caller: Caller): boolean {
  if (Principal) return matchesPrincipal(Principal, caller);
  return NotPrincipal ? !matchesPrincipal(NotPrincipal, caller) : false;
}

function matchesPrincipal(principals: Principals, caller: Caller): boolean {
  if (principals === 'everybody') return true;
  if ('service' in caller) return principals.Service?.includes(caller.service) ?? false;
  const account = accountOf(caller.roleArn);
  return (principals.AWS ?? []).some(
    (name) => name === '*' || name === caller.roleArn || name === account || isRoot(name, account),
  );
}

/** Whether an Allow is for this very caller; one for the whole account only leaves the choice to identity policies. */
function namesCaller({ Principal }: Statement, caller: Caller): boolean {
  if (Principal === undefined || Principal === 'everybody' || 'service' in caller) return true;
  return Principal.AWS?.some((name) => name === '*' || name === caller.roleArn) ?? false;
}

function isRoot(name: string, account: string): boolean {
  return name.startsWith('arn:') && name.endsWith(`:iam::${account}:root`);
}

function withPrincipalKeys({ caller, context = {} }: AccessRequest): ContextKeys {
  if ('service' in caller) return { 'aws:PrincipalIsAWSService': 'true', ...context };
  return {
    'aws:PrincipalArn': caller.roleArn,
    'aws:PrincipalAccount': accountOf(caller.roleArn),
    'aws:PrincipalIsAWSService': 'false',
    ...context,
  };
}

function accountOf(arn: string): string {
  return arn.split(':')[4] ?? '';
}
