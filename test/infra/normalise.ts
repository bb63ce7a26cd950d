import type { Template } from './synthesize.ts';

/**
 * A template without what changes with every build: hashes of assets, the agent's version, the CDK's own additions. What is
 * left changes only when somebody means it to: `npx jest test/infra/templates.test.ts -u`.
 */
export function normalise({ Resources, Outputs }: Template): unknown {
  const resources = Object.entries(Resources)
    .filter(([, { Type }]) => Type !== 'AWS::CDK::Metadata')
    .map(([id, { Metadata: _paths, ...resource }]) => [id, resource]);
  return mask({ Resources: Object.fromEntries(resources), ...(Outputs && { Outputs }) });
}

function mask(value: unknown): unknown {
  if (typeof value === 'string')
    return value
      .replaceAll(/\b[0-9a-f]{64}\b/g, '<hash>')
      .replaceAll(/\b\d+\.\d+\.\d+\b(?=-linux|')/g, '<version>');
  if (Array.isArray(value)) return value.map(mask);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, mask(member)]));
}
