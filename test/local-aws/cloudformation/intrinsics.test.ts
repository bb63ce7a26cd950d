import { resolveIntrinsics, type StackScope } from '../../../scripts/local-aws/cloudformation/intrinsics.ts';

const scope: StackScope = {
  accountId: '111122223333',
  region: 'eu-west-1',
  partition: 'aws',
  stackName: 'LifeboatStorage',
  stackId: 'arn:aws:cloudformation:eu-west-1:111122223333:stack/LifeboatStorage/1',
  ref: (name) => ({ Bucket: 'backups-1', Parameter: 'given' })[name],
  getAtt: (name, attribute) =>
    name === 'Bucket' && attribute === 'Arn' ? 'arn:aws:s3:::backups-1' : undefined,
  stackOutput: (stack, output, region) => `${stack}/${output}@${region}`,
  importValue: (name) => (name === 'exported' ? 'imported' : undefined),
  conditions: {
    IsEurope: { 'Fn::Equals': [{ Ref: 'AWS::Region' }, 'eu-west-1'] },
    Never: { 'Fn::Not': [true] },
  },
  mappings: { Sizes: { small: { memory: 128 } } },
};

const resolve = (value: unknown): unknown => resolveIntrinsics(value, scope);

describe('The intrinsic functions of CloudFormation', () => {
  it('refer to resources, parameters and where the stack is', () => {
    expect(resolve({ Ref: 'Bucket' })).toBe('backups-1');
    expect(resolve({ 'Fn::GetAtt': ['Bucket', 'Arn'] })).toBe('arn:aws:s3:::backups-1');
    expect(resolve({ 'Fn::GetAtt': 'Bucket.Arn' })).toBe('arn:aws:s3:::backups-1');
    expect(
      resolve(
        ['AccountId', 'Region', 'Partition', 'URLSuffix', 'StackName'].map((name) => ({
          Ref: `AWS::${name}`,
        })),
      ),
    ).toEqual(['111122223333', 'eu-west-1', 'aws', 'amazonaws.com', 'LifeboatStorage']);
  });

  it('join, split, select and substitute, nested as they come', () => {
    const arn = { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':s3:::', { Ref: 'Bucket' }, '/*']] };
    expect(resolve(arn)).toBe('arn:aws:s3:::backups-1/*');
    expect(resolve({ 'Fn::Select': [5, { 'Fn::Split': [':', arn] }] })).toBe('backups-1/*');
    expect(resolve({ 'Fn::Sub': 'arn:${AWS::Partition}:s3:::${Bucket}/${!not} ${Bucket.Arn}' })).toBe(
      'arn:aws:s3:::backups-1/${not} arn:aws:s3:::backups-1',
    );
    expect(resolve({ 'Fn::Sub': ['${a}-${Parameter}', { a: { Ref: 'Bucket' } }] })).toBe('backups-1-given');
    expect(resolve({ 'Fn::Base64': 'hello' })).toBe('aGVsbG8=');
  });

  it('reach other stacks by export and by output, in this region or another', () => {
    expect(resolve({ 'Fn::ImportValue': { 'Fn::Sub': 'exported' } })).toBe('imported');
    const output = { StackName: 'Storage', OutputName: 'Name' };
    expect(resolve({ 'Fn::GetStackOutput': output })).toBe('Storage/Name@eu-west-1');
    expect(resolve({ 'Fn::GetStackOutput': { ...output, Region: 'us-east-1' } })).toBe(
      'Storage/Name@us-east-1',
    );
  });

  it('choose by condition and map, and leave out what has no value', () => {
    expect(resolve({ 'Fn::If': ['IsEurope', 'yes', 'no'] })).toBe('yes');
    expect(
      resolve({ a: { 'Fn::If': ['Never', 1, { Ref: 'AWS::NoValue' }] }, b: [{ Ref: 'AWS::NoValue' }, 2] }),
    ).toEqual({ b: [2] });
    expect(resolve({ 'Fn::FindInMap': ['Sizes', 'small', 'memory'] })).toBe(128);
  });

  it('leave everything else as it is, a policy’s conditions among it', () => {
    const statement = {
      Condition: { StringLike: { 's3:prefix': ['database/*'] } },
      n: 1,
      b: true,
      none: null,
    };
    expect(resolve(statement)).toEqual(statement);
  });

  it('say what they cannot resolve', () => {
    expect(() => resolve({ 'Fn::Transform': {} })).toThrow(
      'Fn::Transform of {}: the function is not known here',
    );
    expect(() => resolve({ Ref: 'Nothing' })).toThrow('Ref of "Nothing": there is nothing of that name');
    expect(() => resolve({ 'Fn::GetAtt': ['Bucket', 'Colour'] })).toThrow('Fn::GetAtt');
    expect(() => resolve({ 'Fn::Select': [9, ['a']] })).toThrow('there are 1 members');
    expect(() => resolve({ 'Fn::Join': ['', [{ a: 1 }]] })).toThrow('expected a text');
  });
});
