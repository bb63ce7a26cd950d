import type { Assembly, AssemblyStack, TemplateResource } from './assembly.ts';
import { conditionHolds, resolveIntrinsics, type StackScope } from './intrinsics.ts';
import { makePhysicalResource, type PhysicalResource } from './physical-resources.ts';

export interface DeployedResource {
  readonly stackName: string;
  readonly logicalId: string;
  readonly type: string;
  readonly ref: string;
  readonly arn: string;
  /** With everything in them resolved. */
  readonly properties: Readonly<Record<string, unknown>>;
}

export interface Account {
  readonly accountId: string;
  readonly region: string;
}

/** The resources of all stacks, as they are once they are deployed. Stacks of other regions are left out. */
export function deployStacks(assembly: Assembly, account: Account): DeployedResource[] {
  const deployed: DeployedStack[] = [];
  for (const stack of assembly.stacks) {
    if (stack.region !== undefined && stack.region !== account.region) continue;
    if (stack.accountId !== undefined && stack.accountId !== account.accountId)
      throw new Error(
        `${stack.name} is synthesized for the account ${stack.accountId}, not ${account.accountId}`,
      );
    deployed.push(new DeployedStack(stack, account, deployed));
  }
  return deployed.flatMap((stack) => stack.resources());
}

class DeployedStack implements StackScope {
  readonly accountId: string;
  readonly region: string;
  readonly partition = 'aws';
  readonly stackName: string;
  readonly stackId: string;
  readonly conditions: Readonly<Record<string, unknown>>;
  readonly mappings: Readonly<Record<string, Record<string, Record<string, unknown>>>>;
  readonly #stack: AssemblyStack;
  readonly #others: readonly DeployedStack[];
  readonly #physical = new Map<string, PhysicalResource>();

  constructor(stack: AssemblyStack, { accountId, region }: Account, others: readonly DeployedStack[]) {
    this.accountId = accountId;
    this.region = region;
    this.stackName = stack.name;
    this.stackId = `arn:aws:cloudformation:${region}:${accountId}:stack/${stack.name}/local`;
    this.conditions = stack.template.Conditions;
    this.mappings = stack.template.Mappings;
    this.#stack = stack;
    this.#others = others;
  }

  resources(): DeployedResource[] {
    return Object.entries(this.#stack.template.Resources)
      .filter(([, resource]) => this.#exists(resource))
      .map(([logicalId, resource]) => {
        const { ref, attributes } = this.#find(logicalId, resource);
        return {
          stackName: this.stackName,
          logicalId,
          type: resource.Type,
          ref,
          arn: attributes['Arn'] ?? attributes['TopicArn'] ?? ref,
          properties: resolveIntrinsics(resource.Properties, this) as Readonly<Record<string, unknown>>,
        };
      });
  }

  ref(name: string): unknown {
    const resource = this.#stack.template.Resources[name];
    return resource ? this.#find(name, resource).ref : this.#stack.template.Parameters[name]?.Default;
  }

  getAtt(logicalId: string, attribute: string): unknown {
    const resource = this.#stack.template.Resources[logicalId];
    return resource && this.#find(logicalId, resource).attributes[attribute];
  }

  stackOutput(stackName: string, output: string): unknown {
    const other = this.#others.find((each) => each.stackName === stackName);
    const found = other?.output(output);
    return found === undefined ? undefined : resolveIntrinsics(found, other as DeployedStack);
  }

  importValue(exportName: string): unknown {
    for (const other of this.#others) {
      for (const { Value, Export } of Object.values(other.#stack.template.Outputs)) {
        if (Export && resolveIntrinsics(Export.Name, other) === exportName)
          return resolveIntrinsics(Value, other);
      }
    }
    return undefined;
  }

  output(name: string): unknown {
    return this.#stack.template.Outputs[name]?.Value;
  }

  #exists({ Condition, Type }: TemplateResource): boolean {
    return Type !== 'AWS::CDK::Metadata' && (Condition === undefined || conditionHolds(Condition, this));
  }

  #find(logicalId: string, { Type, Properties }: TemplateResource): PhysicalResource {
    const known = this.#physical.get(logicalId);
    if (known) return known;
    const names = Object.fromEntries(
      Object.entries(Properties)
        .filter(([property]) => property.endsWith('Name') || property === 'Path')
        .map(([property, value]) => [property, resolveIntrinsics(value, this)]),
    );
    const made = makePhysicalResource(Type, logicalId, names, this);
    this.#physical.set(logicalId, made);
    return made;
  }
}
