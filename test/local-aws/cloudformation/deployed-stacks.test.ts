import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readAssembly } from '../../../scripts/local-aws/cloudformation/assembly.ts';
import { deployStacks } from '../../../scripts/local-aws/cloudformation/deployed-stacks.ts';

const ACCOUNT = { accountId: '111122223333', region: 'eu-west-1' };

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-assembly-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A cloud assembly of these templates; each stack depends on the one before it. */
function assemble(
  templates: Readonly<Record<string, object>>,
  environment = 'aws://unknown-account/unknown-region',
) {
  const names = Object.keys(templates);
  const artifacts = Object.fromEntries(
    names.map((name, index) => [
      name,
      {
        type: 'aws:cloudformation:stack',
        environment,
        dependencies: names.slice(index - 1, index),
        properties: { templateFile: `${name}.json` },
      },
    ]),
  );
  for (const [name, template] of Object.entries(templates))
    writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(template));
  writeFileSync(path.join(folder, 'manifest.json'), JSON.stringify({ artifacts }));
  return readAssembly(folder);
}

const STORAGE = {
  Resources: {
    Backups: {
      Type: 'AWS::S3::Bucket',
      Properties: { BucketName: { 'Fn::Sub': 'backups-${AWS::AccountId}' } },
    },
    State: { Type: 'AWS::S3::Bucket' },
  },
  Outputs: { State: { Value: { Ref: 'State' }, Export: { Name: 'Storage:State' } } },
};

describe('deployStacks', () => {
  it('names resources as the template does, or as CloudFormation would', () => {
    const [backups, state] = deployStacks(assemble({ Storage: STORAGE }), ACCOUNT);
    expect(backups).toMatchObject({ ref: 'backups-111122223333', arn: 'arn:aws:s3:::backups-111122223333' });
    expect(state?.ref).toMatch(/^storage-state-[0-9a-f]{12}$/);
    expect(deployStacks(assemble({ Storage: STORAGE }), ACCOUNT)[1]?.ref).toBe(state?.ref);
  });

  it.each([
    ['an export', { 'Fn::ImportValue': 'Storage:State' }],
    ['a weak reference', { 'Fn::GetStackOutput': { StackName: 'Storage', OutputName: 'State' } }],
  ])('resolves references between resources and, by %s, between stacks', (_, reference) => {
    const operations = {
      Resources: {
        Topic: { Type: 'AWS::SNS::Topic' },
        Start: {
          Type: 'AWS::Lambda::Function',
          Properties: { Environment: { Variables: { TOPIC: { Ref: 'Topic' }, STATE: reference } } },
        },
      },
    };
    const resources = deployStacks(assemble({ Storage: STORAGE, Operations: operations }), ACCOUNT);
    const [topic, start] = resources.slice(2);
    const [, state] = resources;
    expect(start?.properties).toEqual({
      Environment: { Variables: { TOPIC: topic?.ref, STATE: state?.ref } },
    });
    expect(start?.arn).toMatch(/^arn:aws:lambda:eu-west-1:111122223333:function:Operations-Start-/);
  });

  it('knows no resource that it would silently leave out', () => {
    const table = { Resources: { Runs: { Type: 'AWS::DynamoDB::Table' } } };
    expect(() => deployStacks(assemble({ Storage: table }), ACCOUNT)).toThrow(/Runs: .*AWS::DynamoDB::Table/);
  });

  it('leaves out what a condition leaves out, and stacks of other regions', () => {
    const template = {
      Conditions: { Never: { 'Fn::Equals': ['a', 'b'] } },
      Resources: { State: { Type: 'AWS::S3::Bucket', Condition: 'Never' } },
    };
    expect(deployStacks(assemble({ Storage: template }), ACCOUNT)).toEqual([]);
    expect(deployStacks(assemble({ Storage: STORAGE }, 'aws://111122223333/eu-central-1'), ACCOUNT)).toEqual(
      [],
    );
  });

  it('refuses templates that were made for another account', () => {
    const assembly = assemble({ Storage: STORAGE }, 'aws://999999999999/eu-west-1');
    expect(() => deployStacks(assembly, ACCOUNT)).toThrow(/999999999999/);
  });
});
