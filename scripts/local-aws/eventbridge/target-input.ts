import type { AwsEvent } from './event.ts';

/** The parts of a rule's target that say what it is sent. */
export interface TargetInput {
  readonly Input?: string;
  readonly InputPath?: string;
  readonly InputTransformer?: {
    readonly InputPathsMap?: Readonly<Record<string, string>>;
    readonly InputTemplate: string;
  };
}

interface Rule {
  readonly name: string;
  readonly arn: string;
}

/**
 * What a target gets for an event: the event, a constant, a part of the event, or a template that is filled
 * (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html).
 */
export function renderTargetInput(target: TargetInput, event: AwsEvent, rule: Rule): unknown {
  if (target.Input !== undefined) return JSON.parse(target.Input) as unknown;
  if (target.InputPath !== undefined) return valueAt(target.InputPath, event);
  if (target.InputTransformer === undefined) return event;
  const { InputPathsMap = {}, InputTemplate } = target.InputTransformer;
  const variables = new Map<string, unknown>([
    ['aws.events.rule-name', rule.name],
    ['aws.events.rule-arn', rule.arn],
    ['aws.events.event.ingestion-time', event.time],
    ['aws.events.event', event],
    ['aws.events.event.json', event],
    ...Object.entries(InputPathsMap).map(([name, path]): [string, unknown] => [name, valueAt(path, event)]),
  ]);
  return fillTemplate(InputTemplate, variables);
}

/** A schedule's input knows its own variables and puts them in as plain text. */
export function renderScheduleInput(input: string | undefined, variables: Record<string, string>): unknown {
  if (input === undefined) return {};
  const filled = input.replaceAll(/<(aws\.scheduler\.[a-z-]+)>/g, (whole, name: string) => {
    const value = variables[name];
    if (value === undefined) throw new Error(`${whole} is no variable of EventBridge Scheduler`);
    return value;
  });
  return JSON.parse(filled) as unknown;
}

/** Inside quotes a variable is plain text, outside of them it is JSON. */
function fillTemplate(template: string, variables: ReadonlyMap<string, unknown>): unknown {
  let quoted = false;
  const filled = template.replaceAll(/\\.|"|<([\w.-]+)>/gs, (whole, name: string | undefined) => {
    if (whole === '"') quoted = !quoted;
    if (name === undefined || !variables.has(name)) return whole;
    const value = variables.get(name);
    if (!quoted) return value === undefined ? '""' : JSON.stringify(value);
    const text = typeof value === 'string' ? value : JSON.stringify(value ?? '');
    return JSON.stringify(text).slice(1, -1);
  });
  return JSON.parse(filled) as unknown;
}

/** `$.detail.instance-id`, `$.resources[0]` */
function valueAt(path: string, event: AwsEvent): unknown {
  let value: unknown = event;
  for (const [, name, index] of path.replace(/^\$/, '').matchAll(/\.([\w-]+)|\[(\d+)\]/g)) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string, unknown>)[name ?? index ?? ''];
  }
  return value;
}
