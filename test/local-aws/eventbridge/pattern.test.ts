import { matchesPattern } from '../../../scripts/local-aws/eventbridge/pattern.ts';

const event = {
  source: 'aws.ssm',
  'detail-type': 'EC2 Command Invocation Status-change Notification',
  resources: ['arn:aws:ec2:eu-west-1:111122223333:instance/i-1', 'arn:aws:ssm:::x'],
  detail: { status: 'Success', 'instance-id': 'i-0123', count: 7, nested: [{ kind: 'a' }, { kind: 'b' }] },
};

describe('matchesPattern', () => {
  it.each([
    ['a value of a list', { source: ['aws.ec2', 'aws.ssm'] }],
    ['values at several depths', { source: ['aws.ssm'], detail: { status: ['Success'] } }],
    ['one element of a list in the event', { resources: [{ prefix: 'arn:aws:ssm' }] }],
    ['objects inside of a list', { detail: { nested: { kind: ['b'] } } }],
    ['a prefix', { detail: { 'instance-id': [{ prefix: 'i-' }] } }],
    [
      'a suffix without regard to case',
      { detail: { status: [{ suffix: { 'equals-ignore-case': 'CESS' } }] } },
    ],
    ['anything but other values', { detail: { status: [{ 'anything-but': ['Pending', 'InProgress'] }] } }],
    ['anything but a prefix', { detail: { status: [{ 'anything-but': { prefix: 'In' } }] } }],
    ['a number in a range', { detail: { count: [{ numeric: ['>', 5, '<=', 7] }] } }],
    ['a wildcard', { detail: { status: [{ wildcard: 'S*ss' }] } }],
    ['what is not there', { detail: { error: [{ exists: false }] } }],
    ['one of several patterns', { $or: [{ source: ['nobody'] }, { detail: { count: [7] } }] }],
  ])('matches %s', (_, pattern) => {
    expect(matchesPattern(pattern, event)).toBe(true);
  });

  it.each([
    ['another value', { source: ['aws.ec2'] }],
    ['a part of a value', { detail: { status: ['Suc'] } }],
    ['a field that is not there', { detail: { error: ['x'] } }],
    ['anything but, of a field that is not there', { detail: { error: [{ 'anything-but': 'x' }] } }],
    ['a number written as text', { detail: { count: ['7'] } }],
    ['another case', { detail: { status: ['success'] } }],
  ])('does not match %s', (_, pattern) => {
    expect(matchesPattern(pattern, event)).toBe(false);
  });

  it('refuses an operator that it does not know instead of guessing', () => {
    expect(() => matchesPattern({ source: [{ cidr: '10.0.0.0/8' }] }, event)).toThrow(/cidr/);
  });
});
