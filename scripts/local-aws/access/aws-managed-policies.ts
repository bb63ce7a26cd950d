import { parsePolicy, type Policy } from '../iam/policy.ts';

/** What AWS wrote and our templates attach, as far as it concerns calls that the local AWS sees. */
const ACTIONS: Readonly<Record<string, readonly string[]>> = {
  'service-role/AWSLambdaBasicExecutionRole': [
    'logs:CreateLogGroup',
    'logs:CreateLogStream',
    'logs:PutLogEvents',
  ],
  AmazonSSMManagedInstanceCore: [
    'ssm:DescribeAssociation',
    'ssm:GetDeployablePatchSnapshotForInstance',
    'ssm:GetDocument',
    'ssm:DescribeDocument',
    'ssm:GetManifest',
    'ssm:GetParameter',
    'ssm:GetParameters',
    'ssm:ListAssociations',
    'ssm:ListInstanceAssociations',
    'ssm:PutInventory',
    'ssm:PutComplianceItems',
    'ssm:PutConfigurePackageResult',
    'ssm:UpdateAssociationStatus',
    'ssm:UpdateInstanceAssociationStatus',
    'ssm:UpdateInstanceInformation',
    'ssmmessages:*',
    'ec2messages:*',
  ],
};

/** @throws Error for one whose contents are not known here */
export function awsManagedPolicy(arn: string): Policy {
  const name = arn.split(':policy/')[1] ?? '';
  const actions = ACTIONS[name];
  if (!actions) throw new Error(`the local AWS does not know what ${arn} allows`);
  return parsePolicy(name, {
    Version: '2012-10-17',
    Statement: { Effect: 'Allow', Action: [...actions], Resource: '*' },
  });
}
