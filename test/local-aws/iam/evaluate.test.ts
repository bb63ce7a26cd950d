import { conditionsHold } from '../../../scripts/local-aws/iam/conditions.ts';
import {
  evaluateAccess,
  type AccessRequest,
  type Policies,
} from '../../../scripts/local-aws/iam/evaluate.ts';
import { parsePolicy, type Policy } from '../../../scripts/local-aws/iam/policy.ts';
import { matchesArn, matchesWildcard } from '../../../scripts/local-aws/iam/wildcard.ts';

const host = { roleArn: 'arn:aws:iam::111122223333:role/lifeboat/host/Host-1' };
const bucket = 'arn:aws:s3:::backups';

function policy(name: string, ...statements: object[]): Policy {
  return parsePolicy(name, { Version: '2012-10-17', Statement: statements });
}

function decide(
  request: Omit<AccessRequest, 'caller'> & Partial<AccessRequest>,
  policies: Partial<Policies>,
): string {
  return evaluateAccess({ caller: host, ...request }, { identity: [], ...policies }).outcome;
}

const put = { action: 's3:PutObject', resource: `${bucket}/database/x` };
const mayPut = policy('put', { Effect: 'Allow', Action: 's3:PutObject', Resource: `${bucket}/database/*` });

describe('IAM’s decision', () => {
  it('is no, unless a statement allows the action on the resource', () => {
    expect(decide(put, {})).toBe('implicitlyDenied');
    expect(decide(put, { identity: [mayPut] })).toBe('allowed');
    expect(decide({ ...put, resource: `${bucket}/other/x` }, { identity: [mayPut] })).toBe(
      'implicitlyDenied',
    );
    expect(decide({ ...put, action: 's3:DeleteObject' }, { identity: [mayPut] })).toBe('implicitlyDenied');
  });

  it('reads action names without regard to case, and resources with it', () => {
    expect(decide({ ...put, action: 's3:putobject' }, { identity: [mayPut] })).toBe('allowed');
    expect(decide({ ...put, resource: `${bucket}/DATABASE/x` }, { identity: [mayPut] })).toBe(
      'implicitlyDenied',
    );
  });

  it('is no for good where any policy denies, and names the statement', () => {
    const never = policy('never', { Sid: 'Never', Effect: 'Deny', Action: 's3:Put*', Resource: '*' });
    const decision = evaluateAccess({ caller: host, ...put }, { identity: [mayPut, never] });
    expect(decision).toMatchObject({
      outcome: 'explicitlyDenied',
      by: { policy: 'never', statement: { Sid: 'Never' } },
    });
    const atBucket = policy('bucket', {
      Effect: 'Deny',
      Principal: '*',
      Action: 's3:*',
      Resource: `${bucket}/*`,
    });
    expect(decide(put, { identity: [mayPut], resource: atBucket })).toBe('explicitlyDenied');
  });

  it('knows statements that name what is not meant', () => {
    const all = policy('all', { Effect: 'Allow', Action: '*', Resource: '*' });
    const only = policy('only', { Effect: 'Deny', NotAction: ['s3:Get*', 's3:Put*'], Resource: '*' });
    expect(decide(put, { identity: [all, only] })).toBe('allowed');
    expect(decide({ ...put, action: 's3:DeleteObject' }, { identity: [all, only] })).toBe('explicitlyDenied');
    const outside = policy('outside', {
      Effect: 'Deny',
      Action: 's3:*',
      NotResource: `${bucket}/database/*`,
    });
    expect(decide(put, { identity: [all, outside] })).toBe('allowed');
    expect(decide({ ...put, resource: `${bucket}/x` }, { identity: [all, outside] })).toBe(
      'explicitlyDenied',
    );
    const others = policy('others', {
      Effect: 'Deny',
      NotPrincipal: { AWS: host.roleArn },
      Action: 's3:*',
      Resource: '*',
    });
    expect(decide(put, { identity: [all], resource: others })).toBe('allowed');
    const stranger = { roleArn: 'arn:aws:iam::111122223333:role/other' };
    expect(decide({ ...put, caller: stranger }, { identity: [all], resource: others })).toBe(
      'explicitlyDenied',
    );
  });

  it('takes a resource’s leave as enough within the account, except where it only trusts the account', () => {
    const named = policy('named', {
      Effect: 'Allow',
      Principal: { AWS: host.roleArn },
      Action: 's3:PutObject',
      Resource: '*',
    });
    expect(decide(put, { resource: named })).toBe('allowed');
    const account = policy('account', {
      Effect: 'Allow',
      Principal: { AWS: 'arn:aws:iam::111122223333:root' },
      Action: '*',
      Resource: '*',
    });
    expect(decide(put, { resource: account })).toBe('implicitlyDenied');
    expect(decide(put, { resource: account, identity: [mayPut] })).toBe('allowed');
  });

  it('lets a KMS key’s policy have the last word', () => {
    const decrypt = { action: 'kms:Decrypt', resource: 'arn:aws:kms:eu-west-1:111122223333:key/1' };
    const identity = [policy('all', { Effect: 'Allow', Action: 'kms:*', Resource: '*' })];
    const others = policy('key', {
      Effect: 'Allow',
      Principal: { AWS: '999999999999' },
      Action: '*',
      Resource: '*',
    });
    const root = policy('key', {
      Effect: 'Allow',
      Principal: { AWS: 'arn:aws:iam::111122223333:root' },
      Action: 'kms:*',
      Resource: '*',
    });
    expect(decide(decrypt, { identity, resource: others, resourceDecidesAlone: true })).toBe(
      'implicitlyDenied',
    );
    expect(decide(decrypt, { identity, resource: root, resourceDecidesAlone: true })).toBe('allowed');
    expect(decide(decrypt, { resource: root, resourceDecidesAlone: true })).toBe('implicitlyDenied');
  });

  it('knows services of AWS as callers', () => {
    const topic = policy('topic', {
      Effect: 'Allow',
      Principal: { Service: 'cloudwatch.amazonaws.com' },
      Action: 'sns:Publish',
      Resource: '*',
      Condition: { StringEquals: { 'aws:SourceAccount': '111122223333' } },
    });
    const publish = { action: 'sns:Publish', resource: 'arn:aws:sns:eu-west-1:111122223333:t' };
    const context = { 'aws:SourceAccount': '111122223333' };
    const caller = { service: 'cloudwatch.amazonaws.com' };
    expect(decide({ ...publish, caller, context }, { resource: topic })).toBe('allowed');
    expect(decide({ ...publish, caller }, { resource: topic })).toBe('implicitlyDenied');
    expect(
      decide({ ...publish, caller: { service: 'events.amazonaws.com' }, context }, { resource: topic }),
    ).toBe('implicitlyDenied');
  });

  it('fills policy variables from the request, and fits nothing where the request has none', () => {
    const own = policy('own', {
      Effect: 'Allow',
      Action: 's3:PutObject',
      Resource: `${bucket}/\${aws:PrincipalAccount}/*`,
    });
    expect(decide({ ...put, resource: `${bucket}/111122223333/x` }, { identity: [own] })).toBe('allowed');
    const unknown = policy('own', {
      Effect: 'Allow',
      Action: 's3:*',
      Resource: `${bucket}/\${aws:username}/*`,
    });
    expect(decide({ ...put, resource: `${bucket}//x` }, { identity: [unknown] })).toBe('implicitlyDenied');
  });

  it('refuses a policy that it does not understand', () => {
    expect(() => policy('p', { Effect: 'Allow', Action: '*', Resource: '*', Until: 'noon' })).toThrow(
      'The policy p',
    );
    expect(() => policy('p', { Effect: 'Allow', Resource: '*' })).toThrow(
      'needs one of Action and NotAction',
    );
    expect(() => parsePolicy('p', { Version: '2008-10-17', Statement: [] })).toThrow('Version');
  });
});

describe('A condition', () => {
  const holds = (operator: string, wanted: string | string[], given?: string | string[]): boolean =>
    conditionsHold(
      { [operator]: { 'aws:Key': [wanted].flat() } },
      given === undefined ? {} : { 'AWS:KEY': given },
    );

  it('compares texts, with and without patterns', () => {
    expect(holds('StringEquals', ['a', 'b'], 'b')).toBe(true);
    expect(holds('StringEquals', 'a*', 'ab')).toBe(false);
    expect(holds('StringEquals', 'a')).toBe(false);
    expect(holds('StringNotEquals', ['a', 'b'], 'c')).toBe(true);
    expect(holds('StringNotEquals', ['a', 'b'], 'b')).toBe(false);
    expect(holds('StringNotEquals', 'a')).toBe(true);
    expect(holds('StringLike', 'a*c?', 'abbcd')).toBe(true);
    expect(holds('StringNotLike', 'a*', 'abc')).toBe(false);
    expect(holds('StringEqualsIfExists', 'a')).toBe(true);
    expect(holds('StringEqualsIfExists', 'a', 'b')).toBe(false);
    expect(holds('StringNotEqualsIfExists', 'a', 'a')).toBe(false);
    expect(holds('StringEqualsIgnoreCase', 'A', 'a')).toBe(true);
  });

  it('compares truth, presence, numbers and ARNs', () => {
    expect(holds('Bool', 'false', 'false')).toBe(true);
    expect(holds('Bool', 'false')).toBe(false);
    expect(holds('Null', 'true')).toBe(true);
    expect(holds('Null', 'true', 'there')).toBe(false);
    expect(holds('Null', 'false', 'there')).toBe(true);
    expect(holds('NumericLessThan', '1.2', '1.1')).toBe(true);
    expect(holds('NumericLessThan', '1.2', '1.2')).toBe(false);
    expect(holds('NumericLessThan', '1.2')).toBe(false);
    expect(holds('NumericGreaterThanEquals', '10', '9')).toBe(false);
    expect(holds('ArnLike', 'arn:aws:iam::1:role/a/*', 'arn:aws:iam::1:role/a/b/c')).toBe(true);
    expect(holds('ArnNotLike', 'arn:aws:iam::1:role/a/*', 'arn:aws:iam::1:role/b')).toBe(true);
    expect(
      holds('ArnNotLike', ['arn:aws:iam::1:role/a', 'arn:aws:iam::1:role/b'], 'arn:aws:iam::1:role/b'),
    ).toBe(false);
  });

  it('compares keys of several values as it is told to', () => {
    expect(holds('ForAnyValue:StringEquals', 'a', ['a', 'b'])).toBe(true);
    expect(holds('ForAnyValue:StringEquals', 'a')).toBe(false);
    expect(holds('ForAllValues:StringEquals', 'a', ['a', 'b'])).toBe(false);
    expect(holds('ForAllValues:StringEquals', ['a', 'b'], ['a', 'b'])).toBe(true);
    expect(holds('ForAllValues:StringEquals', 'a')).toBe(true);
  });

  it('holds when every operator and every key does', () => {
    const both = { Null: { a: ['true'] }, Bool: { b: ['true'], c: ['true'] } };
    expect(conditionsHold(both, { b: 'true', c: 'true' })).toBe(true);
    expect(conditionsHold(both, { b: 'true', c: 'false' })).toBe(false);
    expect(conditionsHold(both, { a: 'x', b: 'true', c: 'true' })).toBe(false);
  });

  it('with an operator that is not known stops everything', () => {
    expect(() => holds('DateLessThan', '2026-01-01', '2025-01-01')).toThrow('DateLessThan is not known');
    expect(() => holds('ForMost:StringEquals', 'a', 'a')).toThrow('ForMost:StringEquals is not known');
  });
});

describe('A pattern', () => {
  it('matches with stars and question marks, in linear time', () => {
    expect(matchesWildcard('*', '')).toBe(true);
    expect(matchesWildcard('', 'a')).toBe(false);
    expect(matchesWildcard('a*b*c', 'a-b-b-c')).toBe(true);
    expect(matchesWildcard('a*b*c', 'a-b-b-')).toBe(false);
    expect(matchesWildcard('runs/*/result.json', 'runs/2026/01/17/x/result.json')).toBe(true);
    expect(matchesWildcard('a.c', 'abc')).toBe(false);
    expect(matchesWildcard('a*'.repeat(30) + 'b', 'a'.repeat(5000))).toBe(false);
  });

  it('of an ARN stays within its part', () => {
    expect(matchesArn('arn:aws:iam::*:role/x', 'arn:aws:iam::1:role/x')).toBe(true);
    expect(matchesArn('arn:aws:*:role/x', 'arn:aws:iam::1:role/x')).toBe(false);
    expect(matchesArn('arn:aws:logs:*:*:log-group:a:*', 'arn:aws:logs:eu:1:log-group:a:stream')).toBe(true);
  });
});
