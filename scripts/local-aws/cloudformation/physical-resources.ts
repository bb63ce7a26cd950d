import { createHash } from 'node:crypto';

/** What a resource turns into when it is deployed: its `Ref` and its attributes. */
export interface PhysicalResource {
  readonly ref: string;
  readonly attributes: Readonly<Record<string, string>>;
}

export interface Place {
  readonly accountId: string;
  readonly region: string;
  readonly partition: string;
  readonly stackName: string;
}

type Make = (
  name: (property: string, maximum?: number) => string,
  arn: (service: string, resource: string) => string,
  properties: Readonly<Record<string, unknown>>,
) => PhysicalResource;

const only = (ref: string): PhysicalResource => ({ ref, attributes: {} });

/** Every type that our templates hold. One that is not here is an error: it would silently not be there in the loop. */
const TYPES: Readonly<Record<string, Make>> = {
  'AWS::S3::Bucket': (name) => {
    const bucket = name('BucketName', 63).toLowerCase();
    return {
      ref: bucket,
      attributes: {
        Arn: `arn:aws:s3:::${bucket}`,
        DomainName: `${bucket}.s3.amazonaws.com`,
        RegionalDomainName: `${bucket}.s3.amazonaws.com`,
      },
    };
  },
  'AWS::IAM::Role': (name, arn, { Path = '/' }) => {
    const role = name('RoleName', 64);
    return {
      ref: role,
      attributes: { Arn: globalArn(arn('iam', `role${String(Path)}${role}`)), RoleId: `AROA${role}` },
    };
  },
  'AWS::IAM::ManagedPolicy': (name, arn, { Path = '/' }) => {
    const policyArn = globalArn(arn('iam', `policy${String(Path)}${name('ManagedPolicyName', 128)}`));
    return { ref: policyArn, attributes: { PolicyArn: policyArn } };
  },
  'AWS::IAM::InstanceProfile': (name, arn) => {
    const profile = name('InstanceProfileName', 128);
    return { ref: profile, attributes: { Arn: globalArn(arn('iam', `instance-profile/${profile}`)) } };
  },
  'AWS::IAM::Policy': (name) => only(name('PolicyName', 128)),
  'AWS::Lambda::Function': (name, arn) => {
    const functionName = name('FunctionName', 64);
    return { ref: functionName, attributes: { Arn: arn('lambda', `function:${functionName}`) } };
  },
  'AWS::SNS::Topic': (name, arn) => {
    const topic = name('TopicName', 256);
    const topicArn = arn('sns', topic);
    return { ref: topicArn, attributes: { TopicName: topic, TopicArn: topicArn } };
  },
  'AWS::SNS::Subscription': (name, arn) => only(arn('sns', `${name('', 256)}:${'0'.repeat(8)}`)),
  'AWS::SQS::Queue': (name, arn) => {
    const queue = name('QueueName', 80);
    const queueArn = arn('sqs', queue);
    const [, , , region, account] = queueArn.split(':');
    const url = `https://sqs.${region}.amazonaws.com/${account}/${queue}`;
    return { ref: url, attributes: { Arn: queueArn, QueueName: queue, QueueUrl: url } };
  },
  'AWS::KMS::Key': (name, arn) => {
    const id = uuidOf(name('', 128));
    return { ref: id, attributes: { Arn: arn('kms', `key/${id}`), KeyId: id } };
  },
  'AWS::SSM::Document': (name) => only(name('Name', 128)),
  'AWS::SSM::Parameter': (name) => only(name('Name', 128)),
  'AWS::Logs::LogGroup': (name, arn) => {
    const group = name('LogGroupName', 512);
    return { ref: group, attributes: { Arn: arn('logs', `log-group:${group}:*`) } };
  },
  'AWS::Events::Rule': (name, arn) => {
    const rule = name('Name', 64);
    return { ref: rule, attributes: { Arn: arn('events', `rule/${rule}`) } };
  },
  'AWS::Scheduler::ScheduleGroup': (name, arn) => {
    const group = name('Name', 64);
    return { ref: group, attributes: { Arn: arn('scheduler', `schedule-group/${group}`) } };
  },
  'AWS::Scheduler::Schedule': (name, arn, { GroupName = 'default' }) => {
    const schedule = name('Name', 64);
    return {
      ref: schedule,
      attributes: { Arn: arn('scheduler', `schedule/${String(GroupName)}/${schedule}`) },
    };
  },
  'AWS::CloudWatch::Alarm': (name, arn) => {
    const alarm = name('AlarmName', 255);
    return { ref: alarm, attributes: { Arn: arn('cloudwatch', `alarm:${alarm}`) } };
  },
  'AWS::CloudWatch::Dashboard': (name) => only(name('DashboardName', 255)),
};

/** What hangs on another resource and has no name of its own that anybody refers to. */
const NAMELESS = new Set([
  'AWS::S3::BucketPolicy',
  'AWS::SNS::TopicPolicy',
  'AWS::SNS::TopicInlinePolicy',
  'AWS::SQS::QueuePolicy',
  'AWS::Lambda::Permission',
  'AWS::Lambda::EventInvokeConfig',
  'AWS::Lambda::EventSourceMapping',
  'AWS::KMS::Alias',
  'AWS::CDK::Metadata',
]);

/**
 * @param properties the template’s own names resolved
 * @throws Error for a type that the local AWS does not know
 */
export function makePhysicalResource(
  type: string,
  logicalId: string,
  properties: Readonly<Record<string, unknown>>,
  place: Place,
): PhysicalResource {
  if (NAMELESS.has(type)) return only(logicalId);
  const make = TYPES[type];
  if (!make)
    throw new Error(
      `${logicalId}: the local AWS knows no ${type}; teach it the type before a template uses it`,
    );
  const { partition, region, accountId, stackName } = place;
  const arn = (service: string, resource: string): string =>
    `arn:${partition}:${service}:${region}:${accountId}:${resource}`;
  // As CloudFormation makes a name: stack, logical id, and some letters against collisions.
  const name = (property: string, maximum = 64): string => {
    const given = properties[property];
    if (typeof given === 'string') return given;
    const letters = createHash('sha256').update(`${stackName}/${logicalId}`).digest('hex').slice(0, 12);
    return `${stackName}-${logicalId}`.slice(0, maximum - letters.length - 1) + `-${letters}`;
  };
  return make(name, arn, properties);
}

/** IAM belongs to no region. */
const globalArn = (arn: string): string => arn.split(':').with(3, '').join(':');

function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    '-',
  );
}
