import type { AwsEvent } from '../../../scripts/local-aws/eventbridge/event.ts';
import {
  renderScheduleInput,
  renderTargetInput,
} from '../../../scripts/local-aws/eventbridge/target-input.ts';

const event: AwsEvent = {
  version: '0',
  id: 'e-1',
  'detail-type': 'Scheduled Event',
  source: 'aws.events',
  account: '111122223333',
  time: '2026-01-17T02:00:00Z',
  region: 'eu-west-1',
  resources: [],
  detail: { name: 'a "quoted" name', list: [1, 2] },
};
const rule = { name: 'nightly', arn: 'arn:aws:events:eu-west-1:111122223333:rule/nightly' };

describe('renderTargetInput', () => {
  it('hands over the whole event when the target says nothing', () => {
    expect(renderTargetInput({}, event, rule)).toEqual(event);
  });

  it('hands over a constant, or a part of the event', () => {
    expect(renderTargetInput({ Input: '{"a":1}' }, event, rule)).toEqual({ a: 1 });
    expect(renderTargetInput({ InputPath: '$.detail.list[1]' }, event, rule)).toBe(2);
  });

  it('puts values into a template as JSON outside of quotes and as text inside of them', () => {
    const InputTransformer = {
      InputPathsMap: { time: '$.time', name: '$.detail.name', list: '$.detail.list' },
      InputTemplate: '{"operation":"backup","scheduledFor":<time>,"text":"at <time>: <name>","list":<list>}',
    };
    expect(renderTargetInput({ InputTransformer }, event, rule)).toEqual({
      operation: 'backup',
      scheduledFor: '2026-01-17T02:00:00Z',
      text: 'at 2026-01-17T02:00:00Z: a "quoted" name',
      list: [1, 2],
    });
  });

  it('knows the variables that EventBridge defines itself', () => {
    const InputTransformer = {
      InputTemplate: '{"rule":"<aws.events.rule-name>","event":<aws.events.event>}',
    };
    expect(renderTargetInput({ InputTransformer }, event, rule)).toEqual({ rule: 'nightly', event });
  });
});

describe('renderScheduleInput', () => {
  it('fills the Scheduler’s variables', () => {
    const input = '{"operation":"backup","scheduledFor":"<aws.scheduler.scheduled-time>"}';
    const variables = { 'aws.scheduler.scheduled-time': '2026-01-17T02:00:00Z' };
    expect(renderScheduleInput(input, variables)).toEqual({
      operation: 'backup',
      scheduledFor: '2026-01-17T02:00:00Z',
    });
  });

  it('refuses a variable that the Scheduler does not have', () => {
    expect(() => renderScheduleInput('{"t":"<aws.scheduler.time>"}', {})).toThrow(/no variable/);
  });
});
