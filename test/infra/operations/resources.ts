import type { Template } from 'aws-cdk-lib/assertions';

export interface Statement {
  readonly Sid?: string;
  readonly Effect: 'Allow' | 'Deny';
  readonly Action?: string | string[];
  readonly Resource?: unknown;
  readonly Principal?: unknown;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

export interface Resource {
  readonly id: string;
  readonly properties: Readonly<Record<string, unknown>>;
}

export function resources(template: Template, type: string, id = ''): Resource[] {
  return Object.entries(template.findResources(type))
    .filter(([name]) => name.startsWith(id))
    .map(([name, found]) => ({
      id: name,
      properties: (found as { Properties: object }).Properties as never,
    }));
}

/** The only resource of a type whose logical id begins so. */
export function resource(template: Template, type: string, id = ''): Resource {
  const found = resources(template, type, id);
  const [only] = found;
  if (found.length !== 1 || !only) throw new Error(`${found.length} resources ${type} ${id}*`);
  return only;
}

/** What a role's own policies say. */
export function statementsOf(template: Template, role: string): Statement[] {
  const { properties } = resource(template, 'AWS::IAM::Role', role);
  const policies = properties['Policies'] as { PolicyDocument: { Statement: Statement[] } }[];
  return policies.flatMap(({ PolicyDocument }) => PolicyDocument.Statement);
}

export function hostStatements(template: Template): Statement[] {
  const { properties } = resource(template, 'AWS::IAM::ManagedPolicy');
  return (properties['PolicyDocument'] as { Statement: Statement[] }).Statement;
}

export function list<T>(value: T | T[] | undefined): T[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

export function actionsOf(statements: readonly Statement[]): string[] {
  return [...new Set(statements.flatMap(({ Action }) => list(Action)))].toSorted();
}

/** A template's value as text, in which references are `<LogicalId>` or `<LogicalId.Attribute>`. */
export function text(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) return value.map(text).join(',');
  const [[name, argument] = ['', undefined]] = Object.entries(value);
  if (name === 'Ref') return `<${String(argument)}>`;
  if (name === 'Fn::GetAtt') return `<${(argument as string[]).join('.')}>`;
  if (name === 'Fn::Sub') return String(argument);
  if (name === 'Fn::Join') {
    const [separator, parts] = argument as [string, unknown[]];
    return parts.map(text).join(separator);
  }
  return JSON.stringify(value);
}
