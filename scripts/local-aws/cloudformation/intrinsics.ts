/**
 * CloudFormation's intrinsic functions, as far as our templates use them. What is not known throws: a template that
 * means something else here than in AWS would prove nothing.
 * https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
 */

/** Where a template is deployed, and what its resources turned into. */
export interface StackScope {
  readonly accountId: string;
  readonly region: string;
  readonly partition: string;
  readonly stackName: string;
  readonly stackId: string;
  /** `Ref` of a resource or a parameter; `undefined` when there is none of that name. */
  ref(logicalId: string): unknown;
  /** `Fn::GetAtt`; `undefined` when the resource is not there or has no such attribute. */
  getAtt(logicalId: string, attribute: string): unknown;
  /** Of another stack, by its output's name; `undefined` when there is none. */
  stackOutput(stackName: string, output: string, region: string): unknown;
  /** By the export's name, in the same region; `undefined` when there is none. */
  importValue(exportName: string): unknown;
  /** The template's own. */
  readonly conditions?: Readonly<Record<string, unknown>>;
  readonly mappings?: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, unknown>>>>>>;
}

/** What `{"Ref": "AWS::NoValue"}` turns into; a property or list member of that value goes away. */
const NO_VALUE = Symbol('AWS::NoValue');

type Evaluate = (argument: unknown, scope: StackScope) => unknown;

const FUNCTIONS: Readonly<Record<string, Evaluate>> = {
  Ref: (name, scope) => reference(text(name, 'Ref'), scope),
  'Fn::GetAtt': (argument, scope) => getAtt(argument, scope),
  'Fn::Join': (argument, scope) => {
    const [delimiter, parts] = pair(argument, 'Fn::Join');
    return list(resolve(parts, scope), 'Fn::Join')
      .map((part) => text(part, 'Fn::Join'))
      .join(text(delimiter, 'Fn::Join'));
  },
  'Fn::Sub': (argument, scope) => substitute(argument, scope),
  'Fn::Select': (argument, scope) => {
    const [index, parts] = pair(argument, 'Fn::Select');
    const members = list(resolve(parts, scope), 'Fn::Select');
    const member = members[Number(resolve(index, scope))];
    if (member === undefined) throw wrong('Fn::Select', argument, `there are ${members.length} members`);
    return member;
  },
  'Fn::Split': (argument, scope) => {
    const [delimiter, source] = pair(argument, 'Fn::Split');
    return text(resolve(source, scope), 'Fn::Split').split(text(delimiter, 'Fn::Split'));
  },
  'Fn::Base64': (argument, scope) =>
    Buffer.from(text(resolve(argument, scope), 'Fn::Base64'), 'utf8').toString('base64'),
  'Fn::ImportValue': (argument, scope) => {
    const name = text(resolve(argument, scope), 'Fn::ImportValue');
    return found(scope.importValue(name), 'Fn::ImportValue', name);
  },
  'Fn::GetStackOutput': (argument, scope) => getStackOutput(argument, scope),
  'Fn::FindInMap': (argument, scope) => {
    const [map, first, second] = list(resolve(argument, scope), 'Fn::FindInMap').map(String);
    return found(scope.mappings?.[map ?? '']?.[first ?? '']?.[second ?? ''], 'Fn::FindInMap', argument);
  },
  'Fn::If': (argument, scope) => {
    const [name, yes, no] = list(argument, 'Fn::If');
    return resolve(conditionHolds(text(name, 'Fn::If'), scope) ? yes : no, scope);
  },
  'Fn::Equals': (argument, scope) => {
    const [left, right] = pair(resolve(argument, scope), 'Fn::Equals');
    return JSON.stringify(left) === JSON.stringify(right);
  },
  'Fn::And': (argument, scope) => list(resolve(argument, scope), 'Fn::And').every(Boolean),
  'Fn::Or': (argument, scope) => list(resolve(argument, scope), 'Fn::Or').some(Boolean),
  'Fn::Not': (argument, scope) => !list(resolve(argument, scope), 'Fn::Not')[0],
};

/**
 * @param value any part of a template
 * @returns the same with every intrinsic function replaced by what it means in `scope`
 * @throws Error naming the function, when it is not known here or points at nothing
 */
export function resolveIntrinsics(value: unknown, scope: StackScope): unknown {
  const resolved = resolve(value, scope);
  return resolved === NO_VALUE ? undefined : resolved;
}

/** @param name of one of the template's conditions @throws Error when there is none of that name */
export function conditionHolds(name: string, scope: StackScope): boolean {
  const condition = found(scope.conditions?.[name], 'Condition', name);
  return resolve(condition, scope) === true;
}

function resolve(value: unknown, scope: StackScope): unknown {
  if (Array.isArray(value))
    return value.map((member) => resolve(member, scope)).filter((member) => member !== NO_VALUE);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value);
  const [only] = entries;
  if (entries.length === 1 && only && isFunction(only[0])) return call(only[0], only[1], scope);
  return Object.fromEntries(
    entries
      .map(([key, member]): [string, unknown] => [key, resolve(member, scope)])
      .filter(([, member]) => member !== NO_VALUE),
  );
}

/** `Condition` is an intrinsic inside of conditions only, where it is no object: a policy's Condition is left alone. */
function isFunction(key: string): boolean {
  return key === 'Ref' || key.startsWith('Fn::');
}

function call(name: string, argument: unknown, scope: StackScope): unknown {
  const evaluate = FUNCTIONS[name];
  if (!evaluate) throw wrong(name, argument, 'the function is not known here');
  return evaluate(argument, scope);
}

function reference(name: string, scope: StackScope): unknown {
  switch (name) {
    case 'AWS::AccountId':
      return scope.accountId;
    case 'AWS::Region':
      return scope.region;
    case 'AWS::Partition':
      return scope.partition;
    case 'AWS::StackName':
      return scope.stackName;
    case 'AWS::StackId':
      return scope.stackId;
    case 'AWS::URLSuffix':
      return scope.partition === 'aws-cn' ? 'amazonaws.com.cn' : 'amazonaws.com';
    case 'AWS::NoValue':
      return NO_VALUE;
    default:
      return found(scope.ref(name), 'Ref', name);
  }
}

function getAtt(argument: unknown, scope: StackScope): unknown {
  const parts = typeof argument === 'string' ? splitOnce(argument) : list(argument, 'Fn::GetAtt');
  const [logicalId, attribute] = parts.map((part) => text(resolve(part, scope), 'Fn::GetAtt'));
  return found(scope.getAtt(logicalId ?? '', attribute ?? ''), 'Fn::GetAtt', argument);
}

function splitOnce(name: string): [string, string] {
  const dot = name.indexOf('.');
  return [name.slice(0, dot), name.slice(dot + 1)];
}

function substitute(argument: unknown, scope: StackScope): string {
  const [template, given] = typeof argument === 'string' ? [argument, {}] : pair(argument, 'Fn::Sub');
  const variables = resolve(given, scope) as Readonly<Record<string, unknown>>;
  return text(template, 'Fn::Sub').replaceAll(/\$\{(!?)([^}]*)\}/g, (_, literal: string, name: string) => {
    if (literal) return `\${${name}}`;
    const value =
      variables[name] ?? (name.includes('.') ? getAtt(name, scope) : reference(name.trim(), scope));
    return text(value, 'Fn::Sub');
  });
}

/** What the CDK makes of a weak reference to another stack. */
function getStackOutput(argument: unknown, scope: StackScope): unknown {
  const { StackName, OutputName, Region } = resolve(argument, scope) as Readonly<Record<string, unknown>>;
  const region = Region === undefined ? scope.region : text(Region, 'Fn::GetStackOutput');
  const output = scope.stackOutput(
    text(StackName, 'Fn::GetStackOutput'),
    text(OutputName, 'Fn::GetStackOutput'),
    region,
  );
  return found(output, 'Fn::GetStackOutput', argument);
}

function text(value: unknown, where: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw wrong(where, value, 'expected a text');
}

function list(value: unknown, where: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw wrong(where, value, 'expected a list');
}

function pair(value: unknown, where: string): readonly [unknown, unknown] {
  const [first, second, ...rest] = list(value, where);
  if (first === undefined || second === undefined || rest.length > 0)
    throw wrong(where, value, 'expected two arguments');
  return [first, second];
}

function found(value: unknown, where: string, argument: unknown): unknown {
  if (value === undefined) throw wrong(where, argument, 'there is nothing of that name');
  return value;
}

function wrong(name: string, argument: unknown, why: string): Error {
  return new Error(`${name} of ${JSON.stringify(argument)}: ${why}`);
}
